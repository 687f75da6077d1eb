"""What a source keeps of its log for us alone: told now and then, with a warning before it is lost."""

from __future__ import annotations

import time
from typing import Final

from whimbrel.connectors.protocols import Source
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Job
from whimbrel.pipeline.control import Control

EVERY: Final = 5.0  # seconds


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
