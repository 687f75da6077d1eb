"""Collects decoded changes into Arrow columns, one set of growing buffers per table, and cuts them into segments.

Log decoders write values straight into ``ColumnBuffer``s; nothing here makes an object per row or value beyond what
the decoder hands in. See ``whimbrel.model.change`` for the meaning of what comes out.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from whimbrel.model.change import (
    DELETE,
    INSERT,
    UPDATE,
    Counts,
    Mark,
    Segment,
    Step,
    TableChanges,
    Transaction,
    Truncate,
)
from whimbrel.model.names import TableName
from whimbrel.model.position import Position

NULL = 0
VALUE = 1
UNCHANGED = 2


class ColumnBuffer:
    """One column's values end to end, their end offsets (the first is 0), and a state byte for each row."""

    __slots__ = ("data", "offsets", "state")

    def __init__(self) -> None:
        self.data = bytearray()
        self.offsets = array("i", [0])
        self.state = bytearray()

    def put(self, value: bytes | bytearray | memoryview) -> None:
        """Append one value: canonical text, or raw bytes for binary columns."""
        self.data += value
        self.offsets.append(len(self.data))
        self.state.append(VALUE)

    def null(self) -> None:
        self.offsets.append(len(self.data))
        self.state.append(NULL)

    def unchanged(self) -> None:
        """The source left this value out because the update did not change it."""
        self.offsets.append(len(self.data))
        self.state.append(UNCHANGED)

    def array(self) -> pa.BinaryArray:
        """The column as a nullable binary array; copies, so that the buffer can go on growing or be dropped."""
        state = np.frombuffer(bytes(self.state), dtype=np.uint8)
        valid = pa.py_buffer(np.packbits(state == VALUE, bitorder="little").tobytes())
        return pa.BinaryArray.from_buffers(
            pa.binary(), len(state), [valid, pa.py_buffer(self.offsets.tobytes()), pa.py_buffer(bytes(self.data))]
        )

    def unchanged_mask(self) -> pa.BooleanArray | None:
        """True where ``unchanged`` was called; None when it never was."""
        if UNCHANGED not in self.state:
            return None
        return pa.array(np.frombuffer(bytes(self.state), dtype=np.uint8) == UNCHANGED)


class Places:
    """Counts the changes of a segment."""

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next = 0


class TableBuffer:
    """The changes of one table under one layout. A decoder fills every column, then calls ``row`` with the op code.

    ``places`` hands out the places of changes in the segment; without one the rows' places are not kept.
    """

    __slots__ = ("column_names", "columns", "deletes", "inserts", "numbers", "ops", "places", "table", "updates")

    def __init__(self, table: TableName, column_names: tuple[str, ...], places: Places | None = None) -> None:
        self.table = table
        self.column_names = column_names
        self.columns = [ColumnBuffer() for _ in column_names]
        self.ops = bytearray()
        self.places = places
        self.numbers = array("I")
        self.inserts = 0
        self.updates = 0
        self.deletes = 0

    def row(self, op: int) -> None:
        """Close a row whose columns have all been put. UPDATE_BEFORE is not counted: its UPDATE is."""
        self.ops.append(op)
        if self.places is not None:
            self.numbers.append(self.places.next)
            self.places.next += 1
        if op == INSERT:
            self.inserts += 1
        elif op == UPDATE:
            self.updates += 1
        elif op == DELETE:
            self.deletes += 1

    @property
    def bytes(self) -> int:
        return sum(len(c.data) + 5 * len(c.state) for c in self.columns)

    def changes(self) -> TableChanges:
        """The buffer as Arrow."""
        masks = {name: c.unchanged_mask() for name, c in zip(self.column_names, self.columns, strict=True)}
        return TableChanges(
            self.table,
            pa.array(np.frombuffer(bytes(self.ops), dtype=np.uint8)),
            pa.RecordBatch.from_arrays([c.array() for c in self.columns], names=list(self.column_names)),
            {name: mask for name, mask in masks.items() if mask is not None},
            None if self.places is None else pa.array(np.frombuffer(self.numbers.tobytes(), dtype=np.uint32)),
        )


class SegmentBuilder:
    """What a ChangeStream writes into. ``cut`` hands out what has come so far as a Segment and starts the next.

    ``ordered`` keeps the order of changes across tables and the transactions they belong to.
    """

    def __init__(self, start: Position, *, ordered: bool = False) -> None:
        self.position = start
        self.number = 0
        self.in_transaction = False
        self._ordered = ordered
        self._transaction: Transaction | None = None
        self._reset()

    def _reset(self) -> None:
        self._steps: list[Step] = []
        self._open: dict[tuple[TableName, tuple[str, ...]], TableBuffer] = {}
        self._current: dict[TableName, tuple[str, ...]] = {}
        self._counts: dict[TableName, list[int]] = {}
        self._closed_bytes = 0
        self.transactions = 0
        self.commit_us = 0
        self._moved = False
        self._places = Places() if self._ordered else None
        self._marks: list[Mark] = []
        if self.in_transaction:
            self._mark()

    def begin(self, transaction: Transaction | None = None) -> None:
        """The changes that follow belong to one transaction; a builder that keeps order must be told which."""
        self.in_transaction = True
        self._transaction = transaction
        self._mark()

    def _mark(self) -> None:
        if self._places is None:
            return
        if self._transaction is None:
            raise ValueError("the transaction is not known")
        self._marks.append(Mark(self._places.next, self._transaction))

    def commit(self, position: Position, commit_us: int) -> None:
        """A transaction ended; everything decoded since ``begin`` belongs to it."""
        self.in_transaction = False
        if self._marks:
            self._marks[-1] = replace(self._marks[-1], commit=position)
        self.position = position
        self.commit_us = max(self.commit_us, commit_us)
        self.transactions += 1
        self._moved = True

    def advance(self, position: Position) -> None:
        """Nothing of ours happened up to here (keepalive, other tables). Ignored inside a transaction."""
        if not self.in_transaction and self.position.order < position.order:
            self.position = position
            self._moved = True

    def buffer(self, table: TableName, columns: tuple[str, ...]) -> TableBuffer:
        """The buffer to write this table's next rows into; a new layout closes the one before."""
        if self._current.get(table, columns) != columns:
            self._close_runs()
        self._current[table] = columns
        found = self._open.get((table, columns))
        if found is None:
            found = self._open[(table, columns)] = TableBuffer(table, columns, self._places)
        return found

    def truncate(self, tables: Sequence[TableName]) -> None:
        self._close_runs()
        self._steps.append(Truncate(tuple(tables), 0 if self._places is None else self._places.next))
        if self._places is not None:
            self._places.next += 1
        for t in tables:
            self._counts.setdefault(t, [0, 0, 0, 0])[3] += 1

    def _close_runs(self) -> None:
        for buffer in self._open.values():
            if not buffer.ops:
                continue
            self._steps.append(buffer.changes())
            self._closed_bytes += buffer.bytes
            counts = self._counts.setdefault(buffer.table, [0, 0, 0, 0])
            counts[0] += buffer.inserts
            counts[1] += buffer.updates
            counts[2] += buffer.deletes
        self._open.clear()
        self._current.clear()

    @property
    def bytes(self) -> int:
        """What has been collected since the last cut."""
        return self._closed_bytes + sum(b.bytes for b in self._open.values())

    @property
    def empty(self) -> bool:
        """Whether a cut now would carry neither rows nor a new position."""
        return not self._moved and not self._steps and not any(b.ops for b in self._open.values())

    def cut(self) -> Segment:
        """Everything since the last cut. Inside a transaction it is a slice, with ``ends_transaction`` false."""
        size = self.bytes
        self._close_runs()
        self.number += 1
        segment = Segment(
            number=self.number,
            steps=tuple(self._steps),
            position=self.position,
            ends_transaction=not self.in_transaction,
            transactions=self.transactions,
            commit_us=self.commit_us,
            counts={t: Counts(*c) for t, c in self._counts.items()},
            bytes=size,
            marks=tuple(self._marks),
        )
        self._reset()
        return segment
