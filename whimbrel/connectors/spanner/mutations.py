"""Rows as mutations, cut into commits that Spanner takes.

Its limits are kept here, as its emulator does not: 80,000 mutations a commit, which are the columns of each row that
is put and those of its entries in indexes, and one and an entry an index for each row that goes; 100 MB; 8 KB a key;
10 MiB a value, 2,621,440 characters a text.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.codecs.mutations import KEYS_TAG, Rows, rows
from whimbrel.connectors.spanner.types import MOST_BYTES, MOST_CHARACTERS
from whimbrel.connectors.spanner.wire import field, varint
from whimbrel.errors import ValueRefused

MOST_MUTATIONS: Final = 80_000
MOST_COMMIT: Final = 90_000_000  # bytes of a commit, of 100 MB with the entries of indexes
LOAD_COMMIT: Final = 4 << 20  # bytes of a commit of a load: the vendor advises 1 to 5 MB
MOST_KEY: Final = 8192
_GONE_AT_ONCE: Final = 20_000
_OURS: Final = 200  # mutations that are left for our own rows
_FIELDS: Final = {"insert": 1, "update": 2, "insert_or_update": 3, "delete": 5}
_MUTATIONS: Final = 4  # the field of a CommitRequest


@dataclass(frozen=True)
class Shape:
    """What a table is made of on the server: its key, and columns in entries of its ``indexes``, keys' own included."""

    name: str
    key: tuple[str, ...]
    indexes: tuple[int, ...] = ()
    documents: frozenset[str] = frozenset()  # columns of type JSON

    def put_costs(self, columns: int) -> int:
        """Mutations of a row of which so many columns are written. An entry that changes is a new and an old one."""
        return columns + sum(self.indexes) + len(self.indexes)

    @property
    def delete_costs(self) -> int:
        return 1 + len(self.indexes)

    @property
    def gone_at_once(self) -> int:
        """Rows that one commit removes from a table that is emptied."""
        return min(_GONE_AT_ONCE, (MOST_MUTATIONS - _OURS) // (2 * self.delete_costs))


@dataclass(frozen=True)
class Write:
    """One kind of mutation of some rows of a table; ``cost`` is that of a row."""

    kind: str
    table: str
    columns: tuple[str, ...]
    rows: Rows
    cost: int

    def message(self, first: int, last: int, kind: str = "") -> bytes:
        """Rows from ``first`` up to ``last`` as a field of a CommitRequest."""
        body = self.rows.between(first, last)
        head = field(1, self.table.encode())
        if self.kind == "delete":
            inside = head + b"\x12" + varint(len(body))
        else:
            inside = head + b"".join(field(2, name.encode()) for name in self.columns)
        size = len(inside) + len(body)
        mutation = bytes((_FIELDS[kind or self.kind] << 3 | 2,)) + varint(size) + inside
        return b"".join((bytes((_MUTATIONS << 3 | 2,)), varint(len(mutation) + len(body)), mutation, body))


@dataclass(frozen=True)
class Piece:
    """Some rows of a write."""

    write: Write
    first: int
    last: int

    def message(self, kind: str = "") -> bytes:
        return self.write.message(self.first, self.last, kind)

    @property
    def rows(self) -> int:
        return self.last - self.first


Part = tuple[Piece, ...]  # what one commit writes


@dataclass(frozen=True)
class Limits:
    """Of one commit; ``halved`` when the server refuses one for its size, as it counts what we do not know of."""

    mutations: int = MOST_MUTATIONS - _OURS
    bytes: int = MOST_COMMIT

    def halved(self) -> Limits:
        return Limits(max(1, self.mutations // 2), max(1, self.bytes // 2))


def put(shape: Shape, batch: pa.RecordBatch, kind: str = "insert_or_update") -> Write:
    """Rows that take the place of those with their keys; only the batch's columns are written. Raises ValueRefused
    for what Spanner does not hold."""
    _require_small(shape, batch)
    columns = tuple(batch.schema.names)
    return Write(kind, shape.name, columns, rows(batch), shape.put_costs(len(columns)))


def delete(shape: Shape, keys: pa.RecordBatch) -> Write:
    """Rows with these keys go, their columns in the order of the table's own key."""
    return Write("delete", shape.name, shape.key, rows(keys.select(list(shape.key)), KEYS_TAG), shape.delete_costs)


def delete_all(table: str) -> bytes:
    """All rows go, as a field of a CommitRequest."""
    return _deleting(table, b"\x18\x01")


def delete_before(table: str, key: bytes) -> bytes:
    """All rows before a key, which is a ListValue in protobuf's wire format, in the table's order."""
    key_range = field(2, field(1, b"") + field(4, key))  # from nothing, which is before everything, up to the key
    return _deleting(table, key_range)


def _deleting(table: str, key_set: bytes) -> bytes:
    return field(_MUTATIONS, field(_FIELDS["delete"], field(1, table.encode()) + field(2, key_set)))


def parts(writes: Sequence[Write], limits: Limits) -> Iterator[Part]:
    """The writes in order, in as few commits as the limits allow."""
    part: list[Piece] = []
    mutations = size = 0
    for write in writes:
        at, end, ends = 0, len(write.rows), write.rows.ends
        while at < end:
            by_count = at + (limits.mutations - mutations) // write.cost
            by_size = int(np.searchsorted(ends, ends[at] + (limits.bytes - size), side="right")) - 1
            last = min(end, by_count, by_size)
            if last <= at:
                if part:
                    yield tuple(part)
                    part, mutations, size = [], 0, 0
                    continue
                last = at + 1  # a row that is larger by itself: the server's to say
            part.append(Piece(write, at, last))
            mutations += (last - at) * write.cost
            size += int(ends[last] - ends[at])
            at = last
    if part:
        yield tuple(part)


def halves(part: Part, limits: Limits) -> tuple[list[Part], Limits]:
    """A part that was too large, as several. Raises ValueRefused for a single row."""
    if sum(piece.rows for piece in part) <= 1:
        raise ValueRefused(
            f"{part[0].write.table}: Spanner takes no commit of a single row there",
            remedy="Drop indexes of the target table, or make the row smaller on the source.",
        )
    mutations = sum(piece.rows * piece.write.cost for piece in part)
    size = sum(int(piece.write.rows.ends[piece.last] - piece.write.rows.ends[piece.first]) for piece in part)
    smaller = Limits(min(limits.mutations, mutations), min(limits.bytes, size)).halved()
    cut = [Write(p.write.kind, p.write.table, p.write.columns, _cut(p), p.write.cost) for p in part]
    return list(parts(cut, smaller)), smaller


def _cut(piece: Piece) -> Rows:
    ends = piece.write.rows.ends[piece.first : piece.last + 1]
    return Rows(piece.write.rows.between(piece.first, piece.last), ends - ends[0])


def _require_small(shape: Shape, batch: pa.RecordBatch) -> None:
    if not batch.num_rows:
        return
    key = np.zeros(batch.num_rows, dtype=np.int64)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        arrow = column.type
        lengths = None
        if pa.types.is_string(arrow) or pa.types.is_large_string(arrow):
            lengths = pc.binary_length(column)
            longest = pc.max(lengths).as_py() or 0
            too_long = longest > MOST_CHARACTERS and (pc.max(pc.utf8_length(column)).as_py() or 0) > MOST_CHARACTERS
            if (too_long and longest > MOST_BYTES) or too_long:
                raise _not_held(shape, name, f"a text has more than {MOST_CHARACTERS:,} characters")
        elif pa.types.is_binary(arrow) or pa.types.is_large_binary(arrow):
            lengths = pc.binary_length(column)
            if (pc.max(lengths).as_py() or 0) > MOST_BYTES:
                raise _not_held(shape, name, f"a value has more than {MOST_BYTES:,} bytes")
        if name in shape.documents and _rounded(column):
            raise _not_held(shape, name, "a document has a number that is no 64-bit integer or double")
        if name in shape.key:
            key += 8 if lengths is None else np.asarray(pc.fill_null(lengths, 0), dtype=np.int64)
    if key.max() > MOST_KEY:
        raise _not_held(shape, ", ".join(shape.key), f"a key has more than {MOST_KEY:,} bytes")


_SUSPECT: Final = r"[0-9][0-9.]{15}|[0-9][eE][+-]?[0-9]{3}"


def _rounded(column: pa.Array) -> bool:
    """Whether any document has a number that Spanner would round. Only those are read that may have one."""
    suspects = column.filter(pc.fill_null(pc.match_substring_regex(column, _SUSPECT), False))
    for text in suspects:
        try:
            json.loads(text.as_py(), parse_int=_whole, parse_float=_fraction)
        except _Rounded:
            return True
        except (ValueError, RecursionError):
            continue  # no document: Spanner's to say
    return False


class _Rounded(Exception):
    pass


def _whole(text: str) -> None:
    number = int(text) if len(text) < 400 else 1 << 64
    if not -(1 << 63) <= number < 1 << 64:
        _fraction(text)


def _fraction(text: str) -> None:
    number = float(text)
    if not math.isfinite(number) or Decimal(text) != Decimal(repr(number)):
        raise _Rounded


def _not_held(shape: Shape, column: str, why: str) -> ValueRefused:
    return ValueRefused(
        f"{shape.name}, column {column}: {why}, which Spanner does not hold",
        remedy="Make the value smaller on the source, or leave the table out.",
        table=shape.name,
        column=column,
    )
