"""Turns columns of text into columns of their own Arrow types, whole columns at a time, exactly or not at all."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.codecs import decimals, jsontext, textvalues
from whimbrel.errors import ReplicationFailed, ValueRefused
from whimbrel.model.table import Annotation, Column, ColumnType

POWERS = np.array([10**n for n in range(19)], dtype=np.uint64)
_NO_BITS = np.empty(0, dtype=np.uint8)
_DAY = 86_400_000_000  # microseconds
_EXACT_DIGITS = {32: 6, 64: 15}  # decimal digits that a binary float of so many bits keeps, whatever they are


class Text(StrEnum):
    """Which text the columns hold; docs/formats.md has both."""

    CANONICAL = "canonical"
    TAB = "tab"  # the values of tab-text without its escapes


@dataclass(frozen=True)
class Refused(Exception):
    """Why a column cannot be made."""

    reason: str
    remedy: str | None = None


def refusal(table: str, column: str, why: Refused) -> ValueRefused:
    """The error that names them."""
    return ValueRefused(f"{table}, column {column}: {why.reason}", remedy=why.remedy, table=table, column=column)


def no_integer(arrow: pa.DataType) -> str:
    return f"a value is no whole number that {arrow} holds"


def no_decimal(arrow: pa.DataType) -> str:
    return (
        f"a value is no number of {arrow.precision} digits, {arrow.scale} of them behind the point (NaN and Infinity "
        "are none, and nothing is rounded)"
    )


def no_day(*, timed: bool) -> str:
    return "a value is no day of the calendar in the years 1 to 9999 (0000-00-00 and infinity are none)" + (
        ", or its time not one from 00:00:00 to 23:59:59.999999" if timed else ""
    )


NO_TIME = "a value is no time from 00:00:00 to 23:59:59.999999"
NO_UTF8 = "a text is no valid UTF-8"


def typed(
    batch: pa.RecordBatch,
    source: Sequence[Column],
    target: Sequence[Column],
    table: str,
    text: Text,
    *,
    refuse_nul: bool = False,
) -> pa.RecordBatch:
    """The same rows with columns named and typed by ``target`` (its Arrow types). ``batch`` has one nullable ``binary``
    column for each of ``source``, which says what the text in it means.

    Where the target is a string the text stays as it is, but for booleans (``true``, ``false``), and for arrays, which
    become JSON where the target's annotation says so. ``refuse_nul`` refuses U+0000 in strings.
    Raises ValueRefused naming table and column for what the target's type does not hold exactly: nothing is rounded,
    cut or replaced.
    """
    arrays = []
    for column, have, want in zip(batch.columns, source, target, strict=True):
        try:
            arrays.append(converted(column, have.type, want.type, text, refuse_nul=refuse_nul))
        except Refused as e:
            raise refusal(table, want.name, e) from None
    # All of them nullable: that a column takes no NULL is the target's to say, and changes leave values out.
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([(c.name, c.type.arrow) for c in target]))


def converted(
    column: pa.BinaryArray, have: ColumnType, want: ColumnType, text: Text, *, refuse_nul: bool = False
) -> pa.Array:
    """One column of ``typed``. Raises Refused."""
    column = pa.concat_arrays([column]) if column.offset else column  # a slice becomes a whole array
    arrow = want.arrow
    if pa.types.is_string(arrow) or pa.types.is_large_string(arrow):
        return _strings(column, have, want, text, refuse_nul=refuse_nul)
    for is_type, convert in _CONVERSIONS:
        if is_type(arrow):
            return convert(_Bytes.of(column), have, arrow, text)
    raise Refused(f"no rows are written as {arrow}", "Give the target's column another type.")


@dataclass(frozen=True)
class _Bytes:
    """A column as compiled code takes it."""

    array: pa.BinaryArray
    data: Any
    offsets: npt.NDArray[np.int32]
    bits: npt.NDArray[np.uint8]
    nulls: bool

    @staticmethod
    def of(column: pa.BinaryArray) -> _Bytes:
        valid, offsets, data = column.buffers()
        nulls = column.null_count > 0
        rows = len(column)
        places = np.frombuffer(offsets, dtype=np.int32)[: rows + 1] if rows else np.zeros(1, dtype=np.int32)
        bits = np.frombuffer(valid, dtype=np.uint8) if nulls else _NO_BITS
        return _Bytes(column, _NO_BITS if data is None else np.frombuffer(data, dtype=np.uint8), places, bits, nulls)

    @property
    def rows(self) -> int:
        return len(self.offsets) - 1

    @property
    def views(self) -> tuple[memoryview, memoryview, memoryview, bool]:
        """The leading arguments of the functions of ``textvalues``."""
        return memoryview(self.data), self.offsets.data, self.bits.data, self.nulls

    def to(self, arrow: pa.DataType, values: npt.NDArray[Any]) -> pa.Array:
        """An array of these values, null where the text is."""
        valid = self.array.buffers()[0] if self.nulls else None
        return pa.Array.from_buffers(arrow, self.rows, [valid, pa.py_buffer(values)], self.array.null_count)


def _integers(column: _Bytes, have: ColumnType, arrow: pa.DataType, text: Text) -> pa.Array:
    if pa.types.is_boolean(have.arrow):
        return _booleans(column, have, pa.bool_(), text).cast(arrow)
    bits = arrow.bit_width
    signed = pa.types.is_signed_integer(arrow)
    out = np.empty(column.rows, dtype=np.uint64)
    highest, lowest = ((1 << (bits - 1)) - 1, 1 << (bits - 1)) if signed else ((1 << bits) - 1, 0)
    if textvalues.integers(*column.views, out.data, highest, lowest) >= 0:
        raise Refused(no_integer(arrow))
    return column.to(arrow, out if bits == 64 else out.astype(arrow.to_pandas_dtype()))


def _decimals(column: _Bytes, have: ColumnType, arrow: pa.DataType, text: Text) -> pa.Array:
    words = arrow.bit_width // 64
    out, limbs = np.empty(column.rows * words, dtype=np.uint64), np.empty(2 * words, dtype=np.uint64)
    size = (words, arrow.precision, arrow.scale)
    if decimals.from_text(*column.views, out.data, *size, limbs.data, POWERS.data) >= 0:
        raise Refused(no_decimal(arrow))
    return column.to(arrow, out)


def _floats(column: _Bytes, have: ColumnType, arrow: pa.DataType, text: Text) -> pa.Array:
    bits = arrow.bit_width
    wide = pa.types.is_float64(have.arrow) and bits == 32
    counted = not pa.types.is_floating(have.arrow)
    if counted and textvalues.significant(*column.views, column.rows, _EXACT_DIGITS[bits]) >= 0:
        raise Refused(f"a value has more digits than a float of {bits} bits keeps")
    try:
        found = column.array.cast(pa.string()).cast(pa.float64() if wide else arrow)
    except pa.ArrowInvalid:
        raise Refused("a value is no number") from None
    infinite = pc.is_inf(found)
    if (
        pc.any(infinite).as_py()
        and not pc.all(pc.match_substring_regex(column.array.filter(infinite), "^-?Infinity$")).as_py()
    ):
        raise Refused(f"a value is beyond a float of {bits} bits")
    if wide:
        return narrowed(found)
    return found


def narrowed(found: pa.DoubleArray) -> pa.FloatArray:
    """The same numbers in 32 bits. Raises Refused where they are not the same."""
    narrow = found.cast(pa.float32(), safe=False)
    same = pc.or_(pc.equal(narrow.cast(pa.float64()), found), pc.is_nan(found))
    if pc.any(pc.invert(same)).as_py():
        raise Refused("a value of 64 bits is not kept by a float of 32 bits")
    return narrow


def _booleans(column: _Bytes, have: ColumnType, arrow: pa.DataType, text: Text) -> pa.Array:
    letters = b"tf" if pa.types.is_boolean(have.arrow) and text is Text.CANONICAL else b"10"
    out = np.empty(column.rows, dtype=np.uint8)
    if textvalues.booleans(*column.views, out.data, *letters) >= 0:
        raise Refused("a value is neither true nor false")
    return column.to(arrow, np.packbits(out, bitorder="little"))


def _dates(column: _Bytes, have: ColumnType, arrow: pa.DataType, text: Text) -> pa.Array:
    return column.to(arrow, _moments(column, dated=True).astype(np.int32))


def _times(column: _Bytes, have: ColumnType, arrow: pa.DataType, text: Text) -> pa.Array:
    return column.to(arrow, _moments(column, timed=True))


def _timestamps(column: _Bytes, have: ColumnType, arrow: pa.DataType, text: Text) -> pa.Array:
    if pa.types.is_date32(have.arrow):
        return column.to(arrow, _moments(column, dated=True) * _DAY)
    zoned = text is Text.CANONICAL and _is_instant(have.arrow)
    return column.to(arrow, _moments(column, dated=True, timed=True, zoned=zoned))


def _moments(column: _Bytes, *, dated: bool = False, timed: bool = False, zoned: bool = False) -> npt.NDArray[np.int64]:
    out = np.empty(column.rows, dtype=np.int64)
    if textvalues.moments(*column.views, out.data, dated, timed, zoned) >= 0:
        raise Refused(no_day(timed=timed) if dated else NO_TIME)
    return out


def _binary(column: _Bytes, have: ColumnType, arrow: pa.DataType, text: Text) -> pa.Array:
    if not pa.types.is_binary(have.arrow) or text is Text.CANONICAL:
        return column.array.cast(arrow)
    starts, places = int(column.offsets[0]), column.offsets
    try:
        if ((places - starts) & 1).any():
            raise ValueError
        raw = binascii.unhexlify(memoryview(column.data)[starts : int(places[-1])])
    except ValueError:
        raise Refused("bytes are not written in hexadecimal") from None
    half = ((places - starts) >> 1).astype(np.int32)
    valid = column.array.buffers()[0] if column.nulls else None
    buffers = [valid, pa.py_buffer(half), pa.py_buffer(raw)]
    return pa.BinaryArray.from_buffers(pa.binary(), column.rows, buffers, column.array.null_count).cast(arrow)


def _strings(column: pa.BinaryArray, have: ColumnType, want: ColumnType, text: Text, *, refuse_nul: bool) -> pa.Array:
    """Canonical text, checked to be text."""
    if pa.types.is_binary(have.arrow):
        raise Refused("bytes are no text", "Give the target's column a type for bytes.")
    if pa.types.is_boolean(have.arrow):
        return _booleans(_Bytes.of(column), have, pa.bool_(), text).cast(want.arrow)
    if have.annotation is Annotation.ARRAY or pa.types.is_list(have.arrow):
        column = _arrays(column, have, want, text)
    elif text is Text.TAB and _is_instant(have.arrow):
        column = jsontext.joined(column, b"+00")
    elif text is Text.TAB and pa.types.is_float32(have.arrow):
        raise Refused("its rows come with more digits than its changes", "Give the target's column a type for floats.")
    try:
        found = column.cast(want.arrow)
    except pa.ArrowInvalid:
        raise Refused(NO_UTF8) from None
    if refuse_nul and pc.any(pc.match_substring(found, "\0")).as_py():
        raise Refused("a text has the character U+0000, which the target does not take")
    return found


def _arrays(column: pa.BinaryArray, have: ColumnType, want: ColumnType, text: Text) -> pa.BinaryArray:
    if want.annotation is Annotation.JSON:
        try:
            return column if text is Text.TAB else jsontext.values(column, array_form(have.arrow))
        except ReplicationFailed:
            raise Refused("a text is no array") from None
    if text is Text.TAB:
        raise Refused("an array comes as JSON, and the target's column is not for JSON", "Make it one for JSON.")
    return column


def array_form(arrow: pa.DataType) -> jsontext.Form:
    """How the elements of an array stand in JSON: decimals are numbers too, as in tab-text."""
    element = arrow
    while pa.types.is_list(element):
        element = element.value_type
    return jsontext.Form.NUMBERS if pa.types.is_decimal(element) else jsontext.form_of(ColumnType(arrow, ""))


def _is_instant(arrow: pa.DataType) -> bool:
    return pa.types.is_timestamp(arrow) and arrow.tz is not None


def _is_micro_time(arrow: pa.DataType) -> bool:
    return bool(arrow == pa.time64("us"))


def _is_micro_timestamp(arrow: pa.DataType) -> bool:
    return pa.types.is_timestamp(arrow) and arrow.unit == "us" and arrow.tz in (None, "UTC")


_Convert = Callable[[_Bytes, ColumnType, pa.DataType, Text], pa.Array]
_CONVERSIONS: tuple[tuple[Callable[[pa.DataType], bool], _Convert], ...] = (
    (pa.types.is_integer, _integers),
    (lambda a: pa.types.is_decimal128(a) or pa.types.is_decimal256(a), _decimals),
    (lambda a: pa.types.is_float32(a) or pa.types.is_float64(a), _floats),
    (pa.types.is_boolean, _booleans),
    (pa.types.is_date32, _dates),
    (_is_micro_time, _times),
    (_is_micro_timestamp, _timestamps),
    (lambda a: pa.types.is_binary(a) or pa.types.is_large_binary(a), _binary),
)
