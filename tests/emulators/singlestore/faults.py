"""What a test orders to go wrong, by the statement ``STAND {...}`` with one JSON object; each is done ``times`` times.

``kind``
    ``refuse``    a statement is answered with error ``number`` and ``text``, without being run
    ``cut``       the connection is cut instead of running a statement
    ``answered``  a statement is run, and its answer lost with the connection
    ``mid-load``  the connection is cut when more than ``number`` bytes of a file have come
    ``asks``      the client is asked for the file ``text``, and thanked for it
    ``lose``      the open transaction is rolled back, as if by somebody else, and then the statement is run
``match``
    a regular expression for the statement; '' is every one
``STAND clear`` takes all orders back.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass


@dataclass
class Fault:
    kind: str
    match: str = ""
    times: int = 1
    number: int = 0
    text: str = ""


class Faults:
    def __init__(self) -> None:
        self._ordered: list[Fault] = []

    def order(self, text: str) -> None:
        if text.strip() == "clear":
            self._ordered.clear()
        else:
            self._ordered.append(Fault(**json.loads(text)))

    def take(self, sql: str) -> Fault | None:
        """The next fault that fits, which is thereby used up."""
        for fault in self._ordered:
            if re.search(fault.match, sql, re.IGNORECASE | re.DOTALL):
                fault.times -= 1
                if fault.times <= 0:
                    self._ordered.remove(fault)
                return fault
        return None
