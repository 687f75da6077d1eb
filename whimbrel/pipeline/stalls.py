"""A step that makes no progress while neither server is at work for it: its links are dead, and no answer will come.

A statement may take hours, so nothing here counts the time that a server works. But a server that was frozen, or a
network that swallows packets without a word, would let a step wait, and heartbeat, for ever. When nothing has moved for
a while both servers are asked what they do for the operation; once neither does anything, its sessions are cut, and the
step ends as after any lost connection: retryable, and with what happened in the log.

Before a step moves anything it reads catalogs, plans, and waits for others, while the servers may well be at rest.
Until its first sign of progress a server therefore counts as dead only if it does not even answer.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType

from whimbrel.connectors import live_sessions
from whimbrel.connectors.registry import engine
from whimbrel.errors import HostUnreachable, TargetInterrupted, WhimbrelError
from whimbrel.model.job import Job, Role
from whimbrel.pipeline.control import Control

QUIET = 120.0  # seconds without a sign of progress after which the servers are asked
LOOK = 15.0  # seconds between two looks
LOOKS = 3  # in a row that must find nobody at work
ANSWER = 20.0  # seconds in which a server answers, or counts as not at work
TOLD = 600.0  # seconds between lines about a server that has been at work for that long

Side = Callable[[], int]


class Stalls:
    """Watches one attempt of a step. Use as a context manager; ``sign`` is called with each bit of progress."""

    def __init__(self, job: Job, control: Control) -> None:
        self._operation = job.operation
        self._control = control
        self._sides: dict[Role, Side] = {
            "source": lambda: engine(job.source.type).source(job.source, job.operation).at_work(job)
        }
        if job.has_database:
            self._sides["target"] = lambda: engine(job.target.type).target(job.target, job.operation).at_work(job)
        self._began = time.monotonic()
        self._sign: float | None = None
        self._told = 0.0
        self._error: WhimbrelError | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"stalls {job.operation[:8]}", daemon=True)

    def __enter__(self) -> Stalls:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    def sign(self) -> None:
        """Something moved, or the step rests on purpose. Cheap."""
        self._sign = time.monotonic()

    def check(self) -> None:
        """Raise what the watch found; for a step whose own sessions are in other processes."""
        if self._error is not None:
            raise self._error

    def _watch(self) -> None:
        looks = 0
        while not self._ended.wait(LOOK):
            quiet = self._quiet()
            if quiet < QUIET:
                looks = 0
                continue
            moved, found = self._sign is not None, self._look()
            busy = [side for side, sessions in found.items() if sessions]
            silent = [side for side, sessions in found.items() if sessions is None]
            if self._ended.is_set() or self._quiet() < QUIET:
                looks = 0
            elif busy if moved else not silent:
                looks = 0
                self._tell(quiet, busy)
            else:
                looks += 1
                if looks >= LOOKS:
                    self._cut(quiet, list(found) if moved else silent)
                    looks = 0

    def _quiet(self) -> float:
        return time.monotonic() - (self._began if self._sign is None else self._sign)

    def _look(self) -> dict[Role, int | None]:
        """How many sessions each server works for; None where it does not answer."""
        return {side: _within(ANSWER, count) for side, count in self._sides.items()}

    def _tell(self, quiet: float, busy: list[Role]) -> None:
        if busy and quiet >= TOLD and time.monotonic() - self._told >= TOLD:
            self._told = time.monotonic()
            self._control.log(
                "orchestrator", f"nothing has moved for {quiet:.0f} s; the {' and the '.join(busy)} still works on it"
            )

    def _cut(self, quiet: float, sides: list[Role]) -> None:
        if not live_sessions.cut(self._operation, sides) and self._sign is None:
            return  # nobody waits for that server
        idle = "neither server does anything" if len(sides) > 1 else f"the {' and the '.join(sides)} does not answer"
        error = TargetInterrupted(
            f"nothing has moved for {quiet:.0f} s, and {idle} for the operation: its connections are dead and were "
            "given up",
            remedy="It is tried again by itself; if it repeats, look at the network and for a server that hangs.",
        )
        self._error = error
        self._control.log("orchestrator", error.message)
        self._control.waits_for(error)


def _within(seconds: float, ask: Side) -> int | None:
    """The answer, or None when there is none in time. A server that refuses to say has answered: it is not at work."""
    answer: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def run() -> None:
        try:
            answer.put(ask())
        except HostUnreachable:
            answer.put(None)
        except WhimbrelError:
            answer.put(0)

    threading.Thread(target=run, name="asks a server", daemon=True).start()
    try:
        return answer.get(timeout=seconds)
    except queue.Empty:
        return None
