"""Decodes PostgreSQL's pgoutput messages (protocol version 1, text values) into change buffers.

Source: PostgreSQL documentation, "Logical Replication Message Formats". Every length that a message states is checked
against its real size before it is used; a message that does not add up raises LogDamaged.
"""

from __future__ import annotations

import struct
from binascii import unhexlify
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from whimbrel.codecs.changes import ColumnBuffer
from whimbrel.errors import LogDamaged, ReplicaIdentityMissing
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Transaction
from whimbrel.model.names import TableName
from whimbrel.model.position import Position

POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01 UTC, where PostgreSQL's clock starts, on the clock of 1970

_U16 = struct.Struct(">H").unpack_from
_U32 = struct.Struct(">I").unpack_from
_COLUMN_TYPE = struct.Struct(">Ii").unpack_from
_COMMIT = struct.Struct(">BQQq").unpack_from
_BEGIN = struct.Struct(">QqI").unpack_from

_TEXT = ord("t")
_NULL = ord("n")
_UNCHANGED = ord("u")
_NEW = ord("N")
_OLD_KEY = ord("K")
_OLD_ROW = ord("O")


class Sink(Protocol):
    """What the decoder writes into: ``codecs.changes.SegmentBuilder``."""

    def begin(self, transaction: Transaction) -> None: ...
    def commit(self, position: Position, commit_us: int) -> None: ...
    def advance(self, position: Position) -> None: ...
    def truncate(self, tables: Sequence[TableName]) -> None: ...
    def buffer(self, table: TableName, columns: tuple[str, ...]) -> Any: ...


@dataclass(frozen=True)
class RelationColumn:
    """A column as the log describes it. ``identity``: it is part of the replica identity."""

    name: str
    type_oid: int
    type_modifier: int
    identity: bool


@dataclass(frozen=True)
class Relation:
    """A table's layout at the time of the rows that follow. ``identity`` is relreplident: d, n, f or i."""

    oid: int
    table: TableName
    identity: str
    columns: tuple[RelationColumn, ...]


@dataclass(frozen=True)
class Layout:
    """How a relation's rows are to be written. ``binary``: bytea; ``key``: positions of the key columns, () if none.

    ``identified``: an old tuple holds what identifies a row (the key columns, or every column without a key).
    """

    table: TableName
    columns: tuple[str, ...]
    binary: tuple[bool, ...]
    key: tuple[int, ...]
    identified: bool


class Decoder:
    """One stream's state: the relations announced so far and whether a transaction is open.

    ``layout_of`` is asked once per Relation message; None means that its rows are not wanted. It may raise
    LayoutChanged. ``position_at`` makes a Position of an LSN.
    """

    def __init__(self, layout_of: Callable[[Relation], Layout | None], position_at: Callable[[int], Position]) -> None:
        self._layout_of = layout_of
        self._position_at = position_at
        self._layouts: dict[int, Layout | None] = {}
        self._begun = False
        self._announced = (0, 0, 0)  # where the open transaction commits, when, and its number
        self.in_transaction = False

    def decode(self, data: bytes, sink: Sink) -> None:
        """Decode one message. Raises LogDamaged, ReplicaIdentityMissing, and what ``layout_of`` raises."""
        try:
            self._dispatch(data, sink)
        except (IndexError, ValueError, struct.error) as e:
            kind = chr(data[0]) if data else "nothing"
            raise LogDamaged(f"pgoutput: a message of type {kind!r} and {len(data)} bytes does not decode: {e}") from e

    def _dispatch(self, data: bytes, sink: Sink) -> None:
        kind = data[0:1]
        if kind == b"I":
            self._insert(data, sink)
        elif kind == b"U":
            self._update(data, sink)
        elif kind == b"D":
            self._delete(data, sink)
        elif kind == b"B":
            self._begin(data)
        elif kind == b"C":
            self._commit(data, sink)
        elif kind == b"R":
            self._relation(data)
        elif kind == b"T":
            self._truncate(data, sink)
        elif kind not in (b"Y", b"O", b"M"):  # a type's name, a replication origin, somebody's message: no rows
            raise ValueError("unknown type")

    def _begin(self, data: bytes) -> None:
        commit, time_us, xid = _BEGIN(data, 1)
        if self.in_transaction:
            raise ValueError("a transaction begins inside another")
        self.in_transaction = True
        self._begun = False
        self._announced = (commit, time_us, xid)

    def _commit(self, data: bytes, sink: Sink) -> None:
        _, _, end, time_us = _COMMIT(data, 1)
        if not self.in_transaction:
            raise ValueError("a commit outside a transaction")
        self.in_transaction = False
        if self._begun:
            sink.commit(self._position_at(end), time_us + POSTGRES_EPOCH_US)
        else:  # servers before 15 send transactions that touched none of our tables, empty
            sink.advance(self._position_at(end))

    def _touch(self, sink: Sink) -> None:
        """Tell the sink of the transaction when its first row comes."""
        if not self.in_transaction:
            raise ValueError("a row outside a transaction")
        if not self._begun:
            commit, time_us, xid = self._announced
            place = (("txId", xid), ("lsn", commit))
            sink.begin(Transaction(self._position_at(commit), str(xid), time_us + POSTGRES_EPOCH_US, place))
            self._begun = True

    def _relation(self, data: bytes) -> None:
        (oid,) = _U32(data, 1)
        schema, at = _text(data, 5)
        name, at = _text(data, at)
        identity = chr(data[at])
        (count,) = _U16(data, at + 1)
        at += 3
        columns = []
        for _ in range(count):
            flags = data[at]
            column, at = _text(data, at + 1)
            type_oid, modifier = _COLUMN_TYPE(data, at)
            at += 8
            columns.append(RelationColumn(column, type_oid, modifier, bool(flags & 1)))
        _expect_end(data, at)
        table = TableName(schema or "pg_catalog", name)
        self._layouts[oid] = self._layout_of(Relation(oid, table, identity, tuple(columns)))

    def _layout(self, data: bytes, at: int) -> Layout | None:
        (oid,) = _U32(data, at)
        if oid not in self._layouts:
            raise ValueError(f"relation {oid} was never described")
        return self._layouts[oid]

    def _insert(self, data: bytes, sink: Sink) -> None:
        layout = self._layout(data, 1)
        if layout is None:
            return
        if data[5] != _NEW:
            raise ValueError("an insert without a new row")
        self._touch(sink)
        buffer = sink.buffer(layout.table, layout.columns)
        _expect_end(data, _put_row(data, 6, layout, buffer.columns, None))
        buffer.row(INSERT)

    def _update(self, data: bytes, sink: Sink) -> None:
        layout = self._layout(data, 1)
        if layout is None:
            return
        _require_identity(layout)
        self._touch(sink)
        buffer = sink.buffer(layout.table, layout.columns)
        kind, at = data[5], 6
        old: list[bytes | None] | None = None
        if kind in (_OLD_KEY, _OLD_ROW):
            old, at = _cells(data, at, layout)
            kind, at = data[at], at + 1
        if kind != _NEW:
            raise ValueError("an update without a new row")
        if old is not None and (not layout.key or _key_differs(data, at, layout, old)):
            _put_identity(old, layout, buffer.columns)
            buffer.row(UPDATE_BEFORE)
        elif not layout.key:
            raise ValueError("an update of a table without a key lacks the old row")
        _expect_end(data, _put_row(data, at, layout, buffer.columns, old))
        buffer.row(UPDATE)

    def _delete(self, data: bytes, sink: Sink) -> None:
        layout = self._layout(data, 1)
        if layout is None:
            return
        _require_identity(layout)
        if data[5] not in (_OLD_KEY, _OLD_ROW):
            raise ValueError("a delete without an old row")
        self._touch(sink)
        buffer = sink.buffer(layout.table, layout.columns)
        old, at = _cells(data, 6, layout)
        _expect_end(data, at)
        _put_identity(old, layout, buffer.columns)
        buffer.row(DELETE)

    def _truncate(self, data: bytes, sink: Sink) -> None:
        (count,) = _U32(data, 1)
        at = 6  # the byte before holds CASCADE and RESTART IDENTITY, which change no rows of ours
        if at + 4 * count != len(data):
            raise ValueError("the list of tables has another length")
        layouts = [self._layout(data, at + 4 * i) for i in range(count)]
        tables = [layout.table for layout in layouts if layout is not None]
        if tables:
            self._touch(sink)
            sink.truncate(tables)


def _text(data: bytes, at: int) -> tuple[str, int]:
    """A zero-terminated name and the offset behind it."""
    end = data.index(b"\0", at)
    return data[at:end].decode(), end + 1


def _expect_end(data: bytes, at: int) -> None:
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes too many")


def _require_identity(layout: Layout) -> None:
    if not layout.identified:
        raise ReplicaIdentityMissing(
            f"{layout.table}: its updates and deletes do not carry what identifies a row", tables=[str(layout.table)]
        )


def _cell_end(data: bytes, at: int) -> int:
    """Where the text value whose length field starts at ``at`` ends, within the message."""
    end = at + 4 + int(_U32(data, at)[0])
    if end > len(data):
        raise ValueError("a value reaches beyond the message")
    return end


def _raw(value: bytes) -> bytes:
    """The bytes that bytea's hex text stands for."""
    if value[:2] != b"\\x":
        raise ValueError("a bytea value is not hex")
    return unhexlify(value[2:])


def _put_row(data: bytes, at: int, layout: Layout, columns: list[ColumnBuffer], old: list[bytes | None] | None) -> int:
    """Write a new row; values left out as unchanged come from the old row where it has them. Returns the end."""
    _expect_columns(data, at, layout)
    at += 2
    for i, column in enumerate(columns):
        kind = data[at]
        if kind == _TEXT:
            end = _cell_end(data, at + 1)
            value = data[at + 5 : end]
            column.put(_raw(value) if layout.binary[i] else value)
            at = end
            continue
        at += 1
        if kind == _NULL:
            column.null()
        elif kind != _UNCHANGED:
            raise ValueError("unknown kind of value")
        else:
            known = old[i] if old is not None else None
            if known is not None:
                column.put(known)
            elif not layout.key or i in layout.key:
                raise ValueError("an unchanged value that identifies the row was left out")
            else:
                column.unchanged()
    return at


def _cells(data: bytes, at: int, layout: Layout) -> tuple[list[bytes | None], int]:
    """An old row's values (None for null and for what was not logged) and the offset behind them."""
    _expect_columns(data, at, layout)
    at += 2
    cells: list[bytes | None] = []
    for binary in layout.binary:
        kind = data[at]
        if kind == _TEXT:
            end = _cell_end(data, at + 1)
            value = data[at + 5 : end]
            cells.append(_raw(value) if binary else value)
            at = end
        elif kind in (_NULL, _UNCHANGED):
            cells.append(None)
            at += 1
        else:
            raise ValueError("unknown kind of value")
    return cells, at


def _expect_columns(data: bytes, at: int, layout: Layout) -> None:
    (count,) = _U16(data, at)
    if count != len(layout.columns):
        raise ValueError(f"a row of {count} columns for {layout.table}, which has {len(layout.columns)}")


def _key_differs(data: bytes, at: int, layout: Layout, old: list[bytes | None]) -> bool:
    """Whether the new row at ``at`` has another key than ``old``; a key value left out is an unchanged one."""
    kinds, new = _peek(data, at, layout)
    return any(kinds[i] != _UNCHANGED and new[i] != old[i] for i in layout.key)


def _peek(data: bytes, at: int, layout: Layout) -> tuple[list[int], list[bytes | None]]:
    """The new row's kinds of value and values, without writing them anywhere."""
    values, end = _cells(data, at, layout)
    kinds = []
    at += 2
    while at < end:
        kinds.append(data[at])
        at = _cell_end(data, at + 1) if data[at] == _TEXT else at + 1
    return kinds, values


def _put_identity(old: list[bytes | None], layout: Layout, columns: list[ColumnBuffer]) -> None:
    """Write what identifies the old row: its key columns and nulls, or the whole row of a table without a key."""
    for i, column in enumerate(columns):
        value = old[i]
        if layout.key and i not in layout.key:
            column.null()
        elif value is not None:
            column.put(value)
        elif layout.key:
            raise ValueError("a key value is missing")
        else:
            column.null()
