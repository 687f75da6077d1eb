"""A step that makes no progress while neither server is at work for it: its links are dead, and no answer will come.

A statement may take hours, so nothing here counts the time that a server works. But a server that was frozen, or a
network that swallows packets without a word, would let a step wait, and heartbeat, for ever. When nothing has moved for
a while both servers are asked what they do for the operation; once neither does anything, its sessions are cut, and the
step ends as after any lost connection: retryable, and with what happened in the log.

Before a step moves anything it reads catalogs, plans, and waits for others, while the servers may well be at rest.
Until its first sign of progress a server therefore counts as dead only if it does not even answer.

A target may have no way to be asked: its statement may take as long as it likes, and its driver finds a silent link by
itself. The source is then given up only if it does not answer; one that answers and does nothing may well be waited for
by nobody, while the target works.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from types import TracebackType

from whimbrel.connectors import live_sessions
from whimbrel.connectors.registry import engine
from whimbrel.errors import HostUnreachable, SourceInterrupted, TargetInterrupted, WhimbrelError
from whimbrel.model.job import Job, Role
from whimbrel.pipeline.control import Control

QUIET = 120.0  # seconds without a sign of progress after which the servers are asked
LOOK = 15.0  # seconds between two looks
LOOKS = 3  # in a row that must find nobody at work
ANSWER = 20.0  # seconds in which a server answers, or counts as not at work
TOLD = 600.0  # seconds between lines about a server that has been at work for that long

Side = Callable[[], int | None]


class State(Enum):
    """What a server does for the operation, as far as it says."""

    BUSY = auto()
    IDLE = auto()
    SILENT = auto()  # it does not answer
    UNKNOWN = auto()  # it cannot be asked


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
            dead = _dead(found) if moved else _having(found, State.SILENT)
            if self._ended.is_set() or self._quiet() < QUIET:
                looks = 0
            elif not dead:
                looks = 0
                self._tell(quiet, found)
            else:
                looks += 1
                if looks >= LOOKS:
                    self._cut(quiet, dead)
                    looks = 0

    def _quiet(self) -> float:
        return time.monotonic() - (self._began if self._sign is None else self._sign)

    def _look(self) -> dict[Role, State]:
        return {side: _within(ANSWER, count) for side, count in self._sides.items()}

    def _tell(self, quiet: float, found: dict[Role, State]) -> None:
        busy, unknown = _having(found, State.BUSY), _having(found, State.UNKNOWN)
        if not (busy or unknown) or quiet < TOLD or time.monotonic() - self._told < TOLD:
            return
        self._told = time.monotonic()
        works = f"the {' and the '.join(busy)} still works on it" if busy else "the source does nothing for it"
        unasked = f"; the {unknown[0]} cannot be asked" if unknown else ""
        self._control.log("orchestrator", f"nothing has moved for {quiet:.0f} s; {works}{unasked}")

    def _cut(self, quiet: float, sides: list[Role]) -> None:
        if not live_sessions.cut(self._operation, sides) and self._sign is None:
            return  # nobody waits for that server
        idle = "neither server does anything" if len(sides) > 1 else f"the {sides[0]} does not answer"
        leaf = SourceInterrupted if sides == ["source"] else TargetInterrupted
        error = leaf(
            f"nothing has moved for {quiet:.0f} s, and {idle} for the operation: its connections are dead and were "
            "given up",
            remedy="It is tried again by itself; if it repeats, look at the network and for a server that hangs.",
        )
        self._error = error
        self._control.log("orchestrator", error.message)
        self._control.waits_for(error)


def _dead(found: dict[Role, State]) -> list[Role]:
    """The sides from which no answer can come any more, once something has moved."""
    if State.BUSY in found.values():
        return []
    return _having(found, State.SILENT) if State.UNKNOWN in found.values() else list(found)


def _having(found: dict[Role, State], state: State) -> list[Role]:
    return [side for side, seen in found.items() if seen is state]


def _within(seconds: float, ask: Side) -> State:
    """What it answers in time. A server that refuses to say has answered: it is not at work."""
    answer: queue.SimpleQueue[State] = queue.SimpleQueue()

    def run() -> None:
        try:
            sessions = ask()
            answer.put(State.UNKNOWN if sessions is None else State.BUSY if sessions else State.IDLE)
        except HostUnreachable:
            answer.put(State.SILENT)
        except WhimbrelError:
            answer.put(State.IDLE)

    threading.Thread(target=run, name="asks a server", daemon=True).start()
    try:
        return answer.get(timeout=seconds)
    except queue.Empty:
        return State.SILENT
