"""Reads PostgreSQL's COPY (FORMAT binary) into columns of their own Arrow types, whole columns at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from whimbrel.codecs import copyfields, decimals
from whimbrel.codecs.cells import Cells
from whimbrel.codecs.typed import NO_TIME, NO_UTF8, POWERS, Refused, no_day, no_decimal, no_integer, refusal
from whimbrel.errors import InternalError
from whimbrel.model.table import Annotation, Column, ColumnType

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER = len(_SIGNATURE) + 8  # flags, and the length of an extension
_MOST = 0x7FFFFFFF  # bytes that are read at once: what places of 32 bits can say
_DAYS = 10_957  # from 1970 to 2000, where PostgreSQL begins to count
_DAY = 86_400_000_000  # microseconds
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # of the years 1 and 9999, since 1970
_LONGEST = 19  # digits of an integer of 64 bits
_DAMAGED = "rows from the source are no COPY stream of these columns"
_TEXTS = frozenset({Annotation.NONE, Annotation.CHAR, Annotation.ENUM})


def decodable(source: Sequence[Column], target: Sequence[Column]) -> bool:
    """Whether all these columns can be read; the others travel as text."""
    return all(_reads(s.type) is not None and _fits(s.type, t.type) for s, t in zip(source, target, strict=True))


class CopyReader:
    """Takes blocks of one COPY stream that may be cut anywhere, and hands out whole rows in the columns of ``target``.

    Only for columns that are ``decodable``. Raises ValueRefused as ``typed`` does, and InternalError for bytes that are
    no COPY stream of these columns, since only readers of ours hand them in. ``waiting`` says how many bytes are worth
    a ``take``.
    """

    def __init__(self, source: Sequence[Column], target: Sequence[Column], table: str) -> None:
        self.waiting = 0
        self._source, self._target, self._table = tuple(source), tuple(target), table
        self._schema = pa.schema([(c.name, c.type.arrow) for c in target])
        self._columns = len(self._source)
        self._blocks: list[bytes] = []
        self._begun = self._ended = False
        self._starts, self._lengths = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int32)

    def feed(self, block: bytes | bytearray | memoryview) -> None:
        self._blocks.append(bytes(block))
        self.waiting += len(block)

    def take(self) -> pa.RecordBatch:
        """All rows that are whole by now; what follows them is kept for the next time."""
        data = b"".join(self._blocks)
        if len(data) > _MOST:
            raise InternalError("a row from the source has more than 2 GiB")
        at = 0 if self._begun else self._header(data)
        rows = state = 0
        if self._begun and not self._ended:
            most = (len(data) - at) // (2 + 4 * self._columns) * self._columns + self._columns
            if len(self._starts) < most:  # pages that nobody writes cost nothing
                self._starts, self._lengths = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.int32)
            found = np.zeros(3, dtype=np.int64)
            copyfields.rows_of(data, at, self._columns, self._starts.data, self._lengths.data, found.data)
            rows, at, state = (int(n) for n in found)
        self._ended = self._ended or state > 0
        if state < 0 or (self._ended and at < len(data)):
            raise InternalError(_DAMAGED)
        self._blocks = [data[at:]] if at < len(data) else []
        self.waiting = 0 if rows else at - len(data)  # a row that is not whole is tried again when it is twice as long
        return self._batch(data, rows)

    def end(self) -> None:
        """Nothing follows. To be called behind the last ``take``."""
        if not self._ended:
            raise InternalError("a COPY stream from the source ends before its end")

    def _header(self, data: bytes) -> int:
        if len(data) < _HEADER:
            if not _SIGNATURE.startswith(data[: len(_SIGNATURE)]):
                raise InternalError(_DAMAGED)
            return 0
        extension = int.from_bytes(data[_HEADER - 4 : _HEADER], "big")
        if not data.startswith(_SIGNATURE) or any(data[len(_SIGNATURE) : _HEADER]) or extension:
            raise InternalError(_DAMAGED)
        self._begun = True
        return _HEADER

    def _batch(self, data: bytes, rows: int) -> pa.RecordBatch:
        arrays = []
        for number, (have, want) in enumerate(zip(self._source, self._target, strict=True)):
            cells = Cells(data, self._starts, self._lengths, self._columns, number, rows, _DAMAGED)
            read = _reads(have.type)
            assert read is not None
            try:
                found = read(cells, have.type, want.type.arrow)
                arrays.append(found if found.type == want.type.arrow else _cast(found, want.type.arrow))
            except Refused as e:
                raise refusal(self._table, want.name, e) from None
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


_Read = Callable[[Cells, ColumnType, pa.DataType], pa.Array]


def _reads(type: ColumnType) -> _Read | None:
    """What reads a column of this type, None for what nothing here reads."""
    arrow, annotation = type.arrow, type.annotation
    if annotation is Annotation.JSON:
        return _jsonb if type.native == "jsonb" else _texts if type.native == "json" else None
    if annotation is Annotation.UUID:
        return _uuid
    if pa.types.is_string(arrow):
        return _texts if annotation in _TEXTS else None
    return next((read for is_type, read in _READS if is_type(arrow)), None) if annotation is Annotation.NONE else None


def _fits(source: ColumnType, target: ColumnType) -> bool:
    """Whether what is read of the one type is made into the other here: the same, or a near one."""
    have, want = source.arrow, target.arrow
    if pa.types.is_integer(have) and pa.types.is_decimal(want):
        return bool(want.scale == 0 and want.precision >= _LONGEST)
    for is_type in (pa.types.is_integer, _is_decimal, _is_text, _is_bytes):
        if is_type(have):
            return bool(is_type(want))
    return bool(have == want)


def _is_decimal(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_decimal128(arrow) or pa.types.is_decimal256(arrow))


def _is_text(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_string(arrow) or pa.types.is_large_string(arrow))


def _is_bytes(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_binary(arrow) or pa.types.is_large_binary(arrow))


def _cast(found: pa.Array, want: pa.DataType) -> pa.Array:
    try:
        return found.cast(want)
    except pa.ArrowInvalid:
        raise Refused(no_decimal(want) if pa.types.is_decimal(want) else no_integer(want)) from None


def _numbers(cells: Cells, width: int, *, signed: bool = True) -> npt.NDArray[np.int64]:
    out = np.empty(cells.rows, dtype=np.int64)
    if not copyfields.fixed(cells.data, *cells.places, width, signed, out.data):
        raise cells.damaged()
    return out


def _integers(cells: Cells, have: ColumnType, want: pa.DataType) -> pa.Array:
    signed = pa.types.is_signed_integer(have.arrow)
    found = _numbers(cells, have.arrow.bit_width // 8, signed=signed)
    return cells.to(have.arrow, found.astype(have.arrow.to_pandas_dtype(), copy=False))


def _floats(cells: Cells, have: ColumnType, want: pa.DataType) -> pa.Array:
    width = have.arrow.bit_width // 8
    return cells.to(have.arrow, _numbers(cells, width).astype(np.int32 if width == 4 else np.int64, copy=False))


def _booleans(cells: Cells, have: ColumnType, want: pa.DataType) -> pa.Array:
    found = _numbers(cells, 1)
    if (found & ~1).any():
        raise cells.damaged()
    return cells.to(have.arrow, np.packbits(found.astype(np.bool_), bitorder="little"))


def _numeric(cells: Cells, have: ColumnType, want: pa.DataType) -> pa.Array:
    words = want.bit_width // 64
    out, limbs = np.empty(cells.rows * words, dtype=np.uint64), np.empty(2 * words, dtype=np.uint64)
    size = (words, want.precision, want.scale)
    bad = decimals.from_numeric(cells.data, *cells.places, out.data, *size, limbs.data, POWERS.data)
    if bad == decimals.DAMAGED:
        raise cells.damaged()
    if bad >= 0:
        raise Refused(no_decimal(want))
    return cells.to(want, out)


def _dates(cells: Cells, have: ColumnType, want: pa.DataType) -> pa.Array:
    found = _numbers(cells, 4) + _DAYS
    if ((found < _FIRST_DAY) | (found > _LAST_DAY)).any():
        raise Refused(no_day(timed=False))
    return cells.to(have.arrow, found.astype(np.int32))


def _times(cells: Cells, have: ColumnType, want: pa.DataType) -> pa.Array:
    found = _numbers(cells, 8)
    if ((found < 0) | (found >= _DAY)).any():
        raise Refused(NO_TIME)
    return cells.to(have.arrow, found)


def _timestamps(cells: Cells, have: ColumnType, want: pa.DataType) -> pa.Array:
    found = _numbers(cells, 8)  # since 2000: the limits move instead of the value, which may be the last of its type
    lowest, highest = (_FIRST_DAY - _DAYS) * _DAY, (_LAST_DAY + 1 - _DAYS) * _DAY
    if ((found < lowest) | (found >= highest)).any():
        raise Refused(no_day(timed=True))
    return cells.to(have.arrow, found + _DAYS * _DAY)


def _bytes(cells: Cells, have: ColumnType, want: pa.DataType) -> pa.Array:
    return cells.strings()


def _texts(cells: Cells, have: ColumnType, want: pa.DataType, version: int = -1) -> pa.Array:
    try:
        return cells.strings(version).cast(pa.string())
    except pa.ArrowInvalid:
        raise Refused(NO_UTF8) from None


def _jsonb(cells: Cells, have: ColumnType, want: pa.DataType) -> pa.Array:
    return _texts(cells, have, want, 1)


def _uuid(cells: Cells, have: ColumnType, want: pa.DataType) -> pa.Array:
    digits, offsets = np.empty(cells.rows * 36, dtype=np.uint8), np.empty(cells.rows + 1, dtype=np.int32)
    if not copyfields.uuids(cells.data, *cells.places, digits.data, offsets.data):
        raise cells.damaged()
    return cells.spans(pa.string(), offsets, digits)


_READS: tuple[tuple[Callable[[pa.DataType], bool], _Read], ...] = (
    (pa.types.is_integer, _integers),
    (pa.types.is_floating, _floats),
    (pa.types.is_boolean, _booleans),
    (pa.types.is_decimal, _numeric),
    (pa.types.is_date32, _dates),
    (pa.types.is_time64, _times),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_binary, _bytes),
)
