"""Locks of tables, as Snowflake takes them, and what each table's last commit was.

An UPDATE, DELETE or MERGE holds the table until its transaction ends; another one waits. INSERT and COPY wait for none.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

Table = tuple[str, str, str]
LOOK_SECONDS = 0.1


class Holder(Protocol):
    def give_up_if_idle(self) -> bool:
        """Roll back and let go if its client gave no sign of life for long; whether it did."""


class NotGiven(Exception):
    """Another transaction kept the lock for as long as the session would wait."""


class Locks:
    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holders: dict[Table, Holder] = {}
        self._commits: dict[Table, int] = {}
        self._clock = 0

    def take(self, table: Table, holder: Holder, seconds: float, cancelled: Callable[[], None]) -> None:
        """Wait until ``holder`` has the lock. Raises NotGiven, and whatever ``cancelled`` raises when it is asked."""
        deadline = time.monotonic() + seconds
        while True:
            with self._changed:
                other = self._holders.setdefault(table, holder)
                if other is holder:
                    return
            cancelled()
            if other.give_up_if_idle():
                continue
            if time.monotonic() > deadline:
                raise NotGiven(".".join(table))
            with self._changed:
                self._changed.wait(LOOK_SECONDS)

    def release(self, holder: Holder) -> None:
        with self._changed:
            self._holders = {table: who for table, who in self._holders.items() if who is not holder}
            self._changed.notify_all()

    def committed(self, tables: Iterable[Table]) -> None:
        with self._changed:
            self._clock += 1
            self._commits |= dict.fromkeys(tables, self._clock)

    def now(self) -> int:
        with self._changed:
            return self._clock

    def changed_since(self, tables: Iterable[Table], moment: int) -> bool:
        with self._changed:
            return any(self._commits.get(table, 0) > moment for table in tables)
