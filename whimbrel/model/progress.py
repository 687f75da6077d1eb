"""The truth about how far an operation is, in the shapes of the REST contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class TablePhase(StrEnum):
    WAITING = "waiting"
    COPYING = "copying"
    INDEXING = "indexing"
    DONE = "done"


@dataclass(frozen=True)
class TableProgress:
    """Absolute figures of one table; whoever stores them overwrites, never adds."""

    table: str
    status: str
    rows_total: int
    rows_extracted: int = 0
    rows_loaded: int = 0
    bytes_extracted: int = 0
    files_done: int = 0
    files_total: int = 0


@dataclass(frozen=True)
class TableChangeTotals:
    """Changes of one table that the target has committed in this operation."""

    table: str
    inserts: int = 0
    updates: int = 0
    deletes: int = 0
    truncates: int = 0
    errors: int = 0


@dataclass(frozen=True)
class ChangeProgress:
    """Absolute figures of the change phase. Times are microseconds since 1970 UTC; 0 means none yet.

    ``lag_seconds`` is 0 when the target has committed all that the source had when last asked, else the time for which
    it is known to have been behind (more than 0).
    """

    position: str
    source_position: str
    lag_seconds: float
    lag_bytes: int
    transactions: int
    inserts: int
    updates: int
    deletes: int
    truncates: int
    ddl: int
    events_per_second: float
    last_commit_us: int


@dataclass(frozen=True)
class Earlier:
    """What earlier attempts of an operation have told, which a new one goes on from.

    ``change`` was told ``age`` seconds ago; None when there was none. Tables and totals are by table.
    """

    tables: Mapping[str, TableProgress] = field(default_factory=dict)
    totals: Mapping[str, TableChangeTotals] = field(default_factory=dict)
    change: ChangeProgress | None = None
    age: float = 0.0
