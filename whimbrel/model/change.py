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
    ``numbers`` has the place of each row among all changes of its segment, in the log's order; None unless the capture
    was asked for it, because only a queue needs an order across tables.
    """

    table: TableName
    ops: pa.UInt8Array
    data: pa.RecordBatch
    unchanged: dict[str, pa.BooleanArray] = field(default_factory=dict)
    numbers: pa.UInt32Array | None = None

    @property
    def rows(self) -> int:
        return len(self.ops)


@dataclass(frozen=True)
class Truncate:
    """TRUNCATE of these tables, in order among the runs; ``number`` is its place among the segment's changes."""

    tables: tuple[TableName, ...]
    number: int = 0


Step = TableChanges | Truncate


@dataclass(frozen=True)
class Transaction:
    """A transaction as its source's log announces it.

    ``start`` lies behind every earlier commit and before this one's, so that whoever stands at a committed position has
    the transaction exactly if ``start`` is less than that. ``id`` is the source's name for it (xid, GTID), ``time_us``
    when it was committed or begun, in microseconds since 1970 UTC (0 when the log does not say), ``place`` what the
    source's users call the point in the log, as fields of JSON.
    """

    start: Position
    id: str = ""
    time_us: int = 0
    place: tuple[tuple[str, int | str], ...] = ()


@dataclass(frozen=True)
class Mark:
    """From change ``first`` of a segment on, changes belong to ``transaction``.

    ``commit`` is None where the segment ends inside it; the next one then begins with the same transaction.
    """

    first: int
    transaction: Transaction
    commit: Position | None = None


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
    source, in microseconds since 1970 UTC (0 when the segment only moves the position). ``marks`` has the transactions
    in commit order if the capture was asked for an order across tables, and is empty otherwise.
    """

    number: int
    steps: tuple[Step, ...]
    position: Position
    ends_transaction: bool
    transactions: int
    commit_us: int
    counts: dict[TableName, Counts]
    bytes: int
    marks: tuple[Mark, ...] = ()
