"""What a test orders of a stand-in to go wrong, by POST /_stand/faults with one JSON object; each is done ``times``
times, then gone.

``kind``
    ``http``       a request of the client is answered with ``status`` (and ``retry_after`` seconds)
    ``statement``  a statement is refused with ``error``, without being run
    ``answered``   a statement is run, and its answer lost with the link
    ``upload``     an upload is answered with ``status``; with status 0 the link is cut in its middle
    ``ended``      the transaction that a statement belongs to is ended, before the statement is looked at
``match``
    a regular expression for the statement, or the path of an upload; '' is every one

Which of these a stand-in has, its own page says.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Any


@dataclass
class Fault:
    kind: str
    match: str = ""
    times: int = 1
    status: int = 503
    retry_after: int | None = None
    error: str = ""


class Faults:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ordered: list[Fault] = []

    def order(self, given: dict[str, Any]) -> None:
        with self._lock:
            self._ordered.append(Fault(**given))

    def clear(self) -> None:
        with self._lock:
            self._ordered.clear()

    def take(self, kind: str, text: str = "") -> Fault | None:
        """The next fault of this kind that fits, which is thereby used up."""
        with self._lock:
            for fault in self._ordered:
                if fault.kind == kind and re.search(fault.match, text, re.IGNORECASE):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._ordered.remove(fault)
                    return fault
        return None
