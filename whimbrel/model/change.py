"""Changes as they travel from a source's log to a target: columnar, in segments of whole transactions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from whimbrel.model.names import TableName
from whimbrel.model.position import Position

INSERT: Final = 1  # a new row; every column has its value
UPDATE: Final = 2  # the row after an update; columns the source did not log are marked unchanged
DELETE: Final = 3  # the row's identity: key columns (other columns may be null), or the whole row if there is no key
UPDATE_BEFORE: Final = 4  # the old identity; stands directly before its UPDATE when the key changed, or without a key


@dataclass(frozen=True)
class TableChanges:
    """A run of changes to one table under one column layout, in commit order.

    ``ops`` has one code a row (INSERT, UPDATE, DELETE, UPDATE_BEFORE). ``data`` has one nullable ``binary`` column per
    table column, holding canonical text (see docs/formats.md; ``bytea``/``blob`` values are the raw bytes, arrays
    PostgreSQL literals, booleans t/f). ``unchanged`` maps a column's name to a boolean array that is true where the
    source left the value out because it did not change (PostgreSQL TOAST); such cells are null in ``data``.
    """

    table: TableName
    ops: pa.UInt8Array
    data: pa.RecordBatch
    unchanged: dict[str, pa.BooleanArray] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return len(self.ops)


@dataclass(frozen=True)
class Truncate:
    """TRUNCATE of these tables, in order among the runs."""

    tables: tuple[TableName, ...]


Step = TableChanges | Truncate


@dataclass(frozen=True)
class Counts:
    """Row changes of one table in one segment, as the source made them (a key change counts as one update)."""

    inserts: int = 0
    updates: int = 0
    deletes: int = 0
    truncates: int = 0


@dataclass(frozen=True)
class Segment:
    """Whole transactions in commit order, or one slice of a transaction too large for memory.

    ``steps`` are applied in order; between two Truncates each (table, layout) stands at most once, because order
    matters only within a table. ``ends_transaction`` is false for all but the last slice of a split transaction; only a
    segment that ends one carries a position that may be committed. ``commit_us`` is the last commit's time at the
    source, in microseconds since 1970 UTC (0 when the segment only moves the position).
    """

    number: int
    steps: tuple[Step, ...]
    position: Position
    ends_transaction: bool
    transactions: int
    commit_us: int
    counts: dict[TableName, Counts]
    bytes: int
