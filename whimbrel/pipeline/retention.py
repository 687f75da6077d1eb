"""What a source keeps of its log for us alone: told now and then, with a warning before it is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from whimbrel.connectors.protocols import Source
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Job
from whimbrel.model.position import Position
from whimbrel.pipeline.control import Control

EVERY: Final = 5.0  # seconds
AGE_EVERY: Final = 30.0
SOON: Final = (3600.0, 900.0, 120.0)  # seconds left, at each of which the warning is given once


class Retention:
    """Asks the source every few seconds, for as long as somebody calls ``look``.

    Nothing fails because it could not be asked: whoever reads the log itself finds out when it is gone.
    """

    def __init__(self, source: Source, job: Job, control: Control, every: float = EVERY) -> None:
        self._source, self._job, self._control, self._every = source, job, control, every
        self._asked = float("-inf")
        self._state = ""
        self._warned = self._silent = False

    def look(self) -> None:
        """Cheap between two samples."""
        now = time.monotonic()
        if now - self._asked < self._every:
            return
        self._asked = now
        try:
            found = self._source.retained(self._job)
        except WhimbrelError as e:
            if not self._silent:
                self._control.log("extractor", f"how much log the source keeps for us is not known: {e.message}")
            self._silent = True
            return
        self._silent = False
        if found is None:
            return
        self._control.retained(found.bytes)
        if found.state != self._state:
            self._state = found.state
            if found.warning is not None:
                self._control.log("extractor", f"warning: {found.warning}")
            elif self._warned:
                self._control.log(
                    "extractor", f"the source keeps {found.bytes} bytes of log for us, which is safe again"
                )
            self._warned = found.warning is not None


class Expiry:
    """Warns while a source is about to remove, by its age, log that is still to be read: in a pause, or far behind."""

    def __init__(self, source: Source, control: Control, every: float = AGE_EVERY) -> None:
        self._source, self._control, self._every = source, control, every
        self._asked = float("-inf")
        self._told = len(SOON) * [False]

    def look(self, needed: Callable[[], Position | None]) -> None:
        """``needed`` is the oldest point whose log is still to be read. Cheap between two samples."""
        now = time.monotonic()
        if now - self._asked < self._every:
            return
        self._asked = now
        try:
            position = needed()
            left = self._source.expires_in(position) if position is not None else None
        except WhimbrelError:
            return  # whoever reads the log finds out
        near = [left is not None and left <= bound for bound in SOON]
        if any(is_near and not told for is_near, told in zip(near, self._told, strict=True)):
            assert left is not None
            assert position is not None
            when = f"in {_span(left)}" if left > 0 else "at any moment"
            self._control.log(
                "extractor",
                f"warning: the source may remove {when} the log from {position.text} on, which is not applied yet, and "
                "then this replication cannot go on: let it go on now, or raise binlog_expire_logs_seconds",
            )
        elif any(self._told) and not any(near):
            self._control.log("extractor", "the log that is not applied yet is not about to be removed any more")
        self._told = near


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"
