"""What is to go wrong, ordered by a statement that no Oracle knows: ``STAND '{"kind": "error", "code": 1555, …}'``.

- ``error``: a statement that has ``match`` in its text gets ORA-``code``, ``times`` times (1), from its fetch number
  ``fetch`` on (0 is the execution itself)
- ``cut``: the connection is cut there instead
- ``expire``: no earlier SCN can be read any more
- ``clear``: nothing goes wrong any more
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.emulators.oracle.engine import Database


class Cut(Exception):
    """The connection ends here."""


@dataclass
class _Order:
    kind: str
    match: str
    code: int
    fetch: int
    times: int


class Faults:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orders: list[_Order] = []

    def order(self, text: str, database: Database) -> None:
        given = json.loads(text)
        kind = given["kind"]
        with self._lock:
            if kind == "clear":
                self._orders.clear()
            elif kind == "expire":
                database.forget_all()
            else:
                match, code = given.get("match", ""), given.get("code", 0)
                self._orders.append(_Order(kind, match, code, given.get("fetch", 0), given.get("times", 1)))

    def due(self, sql: str, fetch: int) -> int | None:
        """The code of an error that is due; raises Cut."""
        with self._lock:
            for order in self._orders:
                if order.match in sql and order.fetch == fetch:
                    order.times -= 1
                    if not order.times:
                        self._orders.remove(order)
                    if order.kind == "cut":
                        raise Cut
                    return order.code
        return None
