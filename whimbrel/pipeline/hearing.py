"""A step that waits in a server hears of cancel all the same: what it waits for is ended there.

Making a slot waits for others' transactions, a freeze for their statements, a lock for its holder, an index for hours;
none of them asks whether somebody still wants it. So another thread asks, and once the step was told to leave and has
not left within a while, it ends the operation's sessions on both servers. The wait ends with an error, which then means
nothing but that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from whimbrel.errors import Interrupted, WhimbrelError
from whimbrel.model.job import Job
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.pair import open_source, open_target

ASK_EVERY = 0.25
AGAIN = 1.0  # seconds between two endings: a step may open a session to find out why its last one broke
LEAVING = 5.0  # seconds that an ending in progress is waited for, once the step has left


class Hearing:
    """Watches one attempt of a step. Use as a context manager. ``patience`` says for how many seconds the step may go
    on after it was told to leave; ``ended`` whether its sessions were ended."""

    def __init__(self, job: Job, control: Control, patience: Callable[[], float]) -> None:
        self._job, self._control, self._patience = job, control, patience
        self.ended = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"hearing {job.operation[:8]}", daemon=True)

    def __enter__(self) -> Hearing:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(LEAVING)

    def _watch(self) -> None:
        told: float | None = None
        while not self._over.wait(ASK_EVERY):
            if told is None:
                try:
                    self._control.check()
                except Interrupted:
                    told = time.monotonic()
            elif time.monotonic() - told >= self._patience():
                self.ended = True
                self._end_sessions()
                self._over.wait(AGAIN)

    def _end_sessions(self) -> None:
        """Whatever cannot be reached has nothing to be ended by us."""
        with suppress(WhimbrelError), open_source(self._job) as source:
            source.end_sessions(self._job)
        if self._job.has_database and not self._over.is_set():
            with suppress(WhimbrelError), open_target(self._job) as target:
                target.cleanup(self._job)
