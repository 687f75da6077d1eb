"""Reads MySQL's binary result sets into columns of their own Arrow types, whole columns at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from whimbrel.codecs import resultrows, resultvalues, rowpackets, typed
from whimbrel.codecs.cells import Cells
from whimbrel.codecs.typed import NO_UTF8, Refused, Text, no_day, no_decimal, no_integer, refusal
from whimbrel.errors import InternalError
from whimbrel.model.table import Annotation, Column, ColumnType

_MOST = 0x7FFFFFFF  # bytes that are read at once: what places of 32 bits can say
_DAMAGED = "rows from the source are no result set of these columns"
_UNSIGNED = 0x20  # a flag of a column's definition
_NAMES = 6  # length-encoded texts at the beginning of one
_TEXTS = frozenset(
    {Annotation.NONE, Annotation.CHAR, Annotation.ENUM, Annotation.SET, Annotation.JSON, Annotation.UUID}
)
NO_MEANING = Refused(
    "a text has bytes that have no meaning in its character set",
    "Correct these texts in the source, or make the column a VARBINARY or BLOB there.",
)
_ALTERED = Refused("the source sends it as another type than it had when the table was reflected", "Start again.")

# Type codes of the protocol. Values have so many bytes, -1: as many as their first byte says, 0: as a number in front.
_INTEGERS = {1: 1, 2: 2, 13: 2, 9: 4, 3: 4, 8: 8}
_FLOATS = {4: 4, 5: 8}
_DAYS, _MOMENTS, _TIMES = {10: -1}, {7: -1, 12: -1}, {11: -1}
_DECIMALS = {0: 0, 246: 0}
_BITS = {16: 0}
_STRINGS = dict.fromkeys((15, 242, 245, 247, 248, 249, 250, 251, 252, 253, 254, 255), 0)


@dataclass(frozen=True)
class _Wire:
    """How a column is sent."""

    code: int
    width: int
    signed: bool


_Read = Callable[[Cells, _Wire, ColumnType, ColumnType], pa.Array]


def decodable(source: Sequence[Column], target: Sequence[Column]) -> bool:
    """Whether all these columns can be read into those; else the rows travel as text."""
    return all(_reads(s.type, t.type) is not None for s, t in zip(source, target, strict=True))


class ResultReader:
    """Takes blocks of one answer of MySQL's binary protocol that may be cut anywhere, from its first packet to the one
    behind the last row, and hands out whole rows in the columns of ``target``.

    Only for columns that are ``decodable``. Raises ValueRefused as ``typed`` does, and InternalError for bytes that are
    no such answer, since only readers of ours hand them in. ``waiting`` says how many bytes are worth a ``take``.
    """

    def __init__(self, source: Sequence[Column], target: Sequence[Column], table: str) -> None:
        self.waiting = 0
        self._source, self._target, self._table = tuple(source), tuple(target), table
        self._schema = pa.schema([(c.name, c.type.arrow) for c in target])
        self._columns = len(self._source)
        self._blocks: list[bytes] = []
        self._head: list[_Wire | None] = []  # None for the packets of the head that define no column
        self._wire: tuple[_Wire, ...] = ()
        self._widths = np.empty(0, dtype=np.int32)
        self._ended = False
        self._starts, self._lengths = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)

    def feed(self, block: bytes | bytearray | memoryview) -> None:
        self._blocks.append(bytes(block))
        self.waiting += len(block)

    def take(self) -> pa.RecordBatch:
        """All rows that are whole by now; what follows them is kept for the next time."""
        data = b"".join(self._blocks)
        if len(data) > _MOST:
            raise InternalError("a row from the source has more than 2 GiB")
        try:
            batches, at = self._taken(data)
        except rowpackets.Damaged:
            raise InternalError(_DAMAGED) from None
        if self._ended and at < len(data):
            raise InternalError(_DAMAGED)
        self._blocks = [data[at:]] if at < len(data) else []
        rows = sum(b.num_rows for b in batches)
        self.waiting = 0 if rows else at - len(data)  # a row that is not whole is tried again when it is twice as long
        if len(batches) == 1:
            return batches[0]
        return pa.Table.from_batches(batches, self._schema).combine_chunks().to_batches()[0] if rows else self._none()

    def end(self) -> None:
        """Nothing follows. To be called behind the last ``take``."""
        if not self._ended:
            raise InternalError("a result set from the source ends before its end")

    def _none(self) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in self._schema], schema=self._schema)

    def _taken(self, data: bytes) -> tuple[list[pa.RecordBatch], int]:
        """The rows, in one batch and in one more for each that fills several packets, and where what is left begins."""
        at, batches = 0, list[pa.RecordBatch]()
        found = np.zeros(3, dtype=np.int64)
        buffer = bytearray()  # the same bytes again, if need be
        while not self._ended:
            whole: bytes | memoryview | None
            if self._wire:
                most = ((len(data) - at) // (5 + (self._columns + 9) // 8) + 1) * self._columns
                if len(self._starts) < most:  # pages that nobody writes cost nothing
                    self._starts, self._lengths = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.int32)
                places = self._widths.data, self._starts.data, self._lengths.data
                resultrows.fields(data, at, len(data), *places, found.data)
                rows, at, state = (int(n) for n in found)
                if rows:
                    batches.append(self._batch(data, rows))
                if state == resultrows.GOES_ON:
                    break
                if state == resultrows.DAMAGED:
                    raise rowpackets.Damaged
                buffer = buffer or bytearray(data)
                whole, after, _ = rowpackets.packet(buffer, at, len(data))
                if whole is None:
                    break
                if state == resultrows.LONG:
                    row = bytes(whole)
                    if not resultrows.row(row, *places):
                        raise rowpackets.Damaged
                    batches.append(self._batch(row, 1))
                else:
                    self._ended = True
                    if whole[0] != 0xFE:
                        raise rowpackets.Damaged
            else:
                buffer = buffer or bytearray(data)
                whole, after, _ = rowpackets.packet(buffer, at, len(data))
                if whole is None:
                    break
                self._begin(bytes(whole))
            at = after
        return batches, at

    def _begin(self, payload: bytes) -> None:
        """A packet in front of the rows: the number of columns, a definition of each, and one to end them."""
        number = len(self._head)
        if number == 0:
            if rowpackets.length_encoded(payload, 0) != (self._columns, len(payload)):
                raise rowpackets.Damaged
            self._head.append(None)
        elif number <= self._columns:
            self._head.append(_definition(payload))
        elif payload[:1] == b"\xfe" and len(payload) < 9:
            self._wire = tuple(w for w in self._head if w is not None)
            self._widths = np.array([w.width for w in self._wire], dtype=np.int32)
        else:
            raise rowpackets.Damaged

    def _batch(self, data: bytes, rows: int) -> pa.RecordBatch:
        arrays = []
        for number, (have, want) in enumerate(zip(self._source, self._target, strict=True)):
            cells = Cells(data, self._starts, self._lengths, self._columns, number, rows, _DAMAGED)
            found = _reads(have.type, want.type)
            assert found is not None
            codes, read = found
            try:
                if self._wire[number].code not in codes:
                    raise _ALTERED
                arrays.append(read(cells, self._wire[number], have.type, want.type))
            except Refused as e:
                raise refusal(self._table, want.name, e) from None
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def _definition(payload: bytes) -> _Wire:
    at = 0
    for _ in range(_NAMES):
        size, at = rowpackets.length_encoded(payload, at)
        at += max(size, 0)
    if len(payload) - at < 11:
        raise rowpackets.Damaged("a column's definition is cut off")
    code, flags = payload[at + 7], int.from_bytes(payload[at + 8 : at + 10], "little")
    if code not in _WIDTHS:
        raise rowpackets.Damaged(f"a column is sent as a type with the unknown code {code}")
    return _Wire(code, _WIDTHS[code], not flags & _UNSIGNED)


_WIDTHS = _INTEGERS | _FLOATS | _DAYS | _MOMENTS | _TIMES | _DECIMALS | _BITS | _STRINGS


def _reads(have: ColumnType, want: ColumnType) -> tuple[dict[int, int], _Read] | None:
    """As which types a column may be sent, and what reads it; None for what nothing here reads."""
    arrow, into, annotation = have.arrow, want.arrow, have.annotation
    number = pa.types.is_integer(into) or pa.types.is_decimal128(into) or pa.types.is_decimal256(into)
    if annotation is Annotation.BIT:
        return _BITS, _bits
    if annotation is Annotation.DURATION:
        return _TIMES, _durations
    if pa.types.is_string(arrow):
        return (_STRINGS, _texts) if annotation in _TEXTS else None
    if pa.types.is_binary(arrow):
        return (_STRINGS, _bytes) if pa.types.is_binary(into) or pa.types.is_large_binary(into) else None
    if pa.types.is_integer(arrow):
        return (_INTEGERS, _integers) if number else None
    if pa.types.is_decimal128(arrow) or pa.types.is_decimal256(arrow):
        return (_DECIMALS, _decimals) if number or pa.types.is_floating(into) else None
    if pa.types.is_floating(arrow):
        return (_FLOATS, _floats) if pa.types.is_floating(into) else None
    if pa.types.is_date32(arrow):
        return (_DAYS, _moments) if pa.types.is_date32(into) or _is_timestamp(into) else None
    if _is_timestamp(arrow):
        return (_MOMENTS, _moments) if _is_timestamp(into) else None
    return None


def _is_timestamp(arrow: pa.DataType) -> bool:
    return pa.types.is_timestamp(arrow) and arrow.unit == "us" and arrow.tz in (None, "UTC")


def _numbers(cells: Cells, wire: _Wire) -> npt.NDArray[np.int64]:
    out = np.empty(cells.rows, dtype=np.int64)
    if resultvalues.numbers(cells.data, *cells.places, wire.width, wire.signed, out.data) != resultvalues.FINE:
        raise cells.damaged()
    return out


def _integers(cells: Cells, wire: _Wire, have: ColumnType, want: ColumnType) -> pa.Array:
    sent = pa.int64() if wire.signed or wire.width < 8 else pa.uint64()
    found = cells.to(sent, _numbers(cells, wire))
    try:
        if pa.types.is_integer(want.arrow):
            return found.cast(want.arrow)
        # Arrow makes decimals only of so many digits as any number of the type may have
        return found.cast(pa.decimal128(20, 0)).cast(want.arrow)
    except pa.ArrowInvalid:
        raise Refused(no_integer(want.arrow) if pa.types.is_integer(want.arrow) else no_decimal(want.arrow)) from None


def _floats(cells: Cells, wire: _Wire, have: ColumnType, want: ColumnType) -> pa.Array:
    narrow = wire.width == 4
    found = cells.to(
        pa.float32() if narrow else pa.float64(), _numbers(cells, wire).astype(np.int32 if narrow else np.int64)
    )
    return found.cast(want.arrow) if narrow or pa.types.is_float64(want.arrow) else typed.narrowed(found)


def _decimals(cells: Cells, wire: _Wire, have: ColumnType, want: ColumnType) -> pa.Array:
    return typed.converted(cells.strings(), have, want, Text.TAB)


def _texts(cells: Cells, wire: _Wire, have: ColumnType, want: ColumnType) -> pa.Array:
    try:
        return typed.converted(cells.strings(), have, want, Text.TAB)
    except Refused as e:
        raise (NO_MEANING if e.reason == NO_UTF8 else e) from None


def _bytes(cells: Cells, wire: _Wire, have: ColumnType, want: ColumnType) -> pa.Array:
    return cells.strings().cast(want.arrow)


def _moments(cells: Cells, wire: _Wire, have: ColumnType, want: ColumnType) -> pa.Array:
    timed = _is_timestamp(want.arrow)
    out = np.empty(cells.rows, dtype=np.int64)
    bad = resultvalues.moments(cells.data, *cells.places, timed, out.data)
    if bad == resultvalues.DAMAGED:
        raise cells.damaged()
    if bad >= 0:
        raise Refused(no_day(timed=timed and not pa.types.is_date32(have.arrow)))
    return cells.to(want.arrow, out if timed else out.astype(np.int32))


def _durations(cells: Cells, wire: _Wire, have: ColumnType, want: ColumnType) -> pa.Array:
    out, offsets = np.empty(17 * cells.rows, dtype=np.uint8), np.empty(cells.rows + 1, dtype=np.int32)
    digits = min(have.length or 0, 6)
    bad = resultvalues.durations(cells.data, *cells.places, digits, out.data, offsets.data)
    return _of_text(cells, bad, out, offsets, have, want)


def _bits(cells: Cells, wire: _Wire, have: ColumnType, want: ColumnType) -> pa.Array:
    width = have.length or 1
    out, offsets = np.empty(width * cells.rows, dtype=np.uint8), np.empty(cells.rows + 1, dtype=np.int32)
    bad = resultvalues.bits(cells.data, *cells.places, width, out.data, offsets.data)
    return _of_text(cells, bad, out, offsets, have, want)


def _of_text(
    cells: Cells,
    bad: int,
    out: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int32],
    have: ColumnType,
    want: ColumnType,
) -> pa.Array:
    if bad != resultvalues.FINE:
        raise cells.damaged()
    return typed.converted(cells.spans(pa.binary(), offsets, out), have, want, Text.TAB)
