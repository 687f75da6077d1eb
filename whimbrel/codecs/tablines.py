"""Typed Arrow columns as lines of tab text for LOAD DATA, whole columns at a time.

Tab between the columns, newline behind each row, ``\\N`` for NULL, and no escapes but ``\\\\``, ``\\t`` and ``\\n``.
Bytes are hexadecimal, booleans 1 and 0, single floats have the digits of a double (which all servers read back to
the same single), instants are UTC without their zone.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.codecs.typed import Refused


@dataclass(frozen=True)
class Style:
    """``finite``: NaN and infinities are refused; ``hex_prefix`` stands before bytes, ``zone`` behind instants;
    ``returns``: carriage returns are escaped too, and hex is in capitals."""

    finite: bool = True
    hex_prefix: str = ""
    zone: str = ""
    returns: bool = False


LOAD_DATA = Style()
TAB_TEXT = Style(finite=False, returns=True)  # the staged formats of docs/formats.md
COPY_TEXT = Style(finite=False, hex_prefix="\\\\x", zone="+00", returns=True)

_NULL = "\\N"
_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"))  # the backslash first
_RETURN = (("\r", "\\r"),)


def lines(batch: pa.RecordBatch, style: Style = LOAD_DATA) -> memoryview:
    """All rows of a batch. Raises ``NotWritten`` naming the column that cannot be written as text."""
    if not batch.num_rows or not batch.num_columns:
        return memoryview(b"")
    texts = [_filled(name, column, style) for name, column in zip(batch.schema.names, batch.columns, strict=True)]
    texts[-1] = pc.binary_join_element_wise(texts[-1], _large("\n"), _large(""))
    joined = pc.binary_join_element_wise(*texts, _large("\t")) if len(texts) > 1 else texts[0]
    _, offsets, data = joined.buffers()
    places = np.frombuffer(offsets, dtype=np.int64)
    start, end = int(places[joined.offset]), int(places[joined.offset + len(joined)])
    return memoryview(data)[start:end]


def _large(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())


class NotWritten(Exception):
    """``column`` holds a value that has no text; ``reason`` says why."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"column {column}: {reason}")
        self.column, self.reason = column, reason


def _filled(name: str, column: pa.Array, style: Style) -> pa.Array:
    try:
        text = _text(column, style)
    except Refused as e:
        raise NotWritten(name, e.reason) from None
    return pc.fill_null(text.cast(pa.large_string()), _large(_NULL))


def _text(column: pa.Array, style: Style) -> pa.Array:
    for is_type, write in _WRITERS:
        if is_type(column.type):
            return write(column, style)
    raise Refused(f"no text is written of {column.type}")


def _plain(column: pa.Array, style: Style) -> pa.Array:
    return column.cast(pa.string())


def _booleans(column: pa.Array, style: Style) -> pa.Array:
    return column.cast(pa.int8()).cast(pa.string())


def _floats(column: pa.Array, style: Style) -> pa.Array:
    finite = pc.is_finite(column)
    if pc.all(finite, min_count=0).as_py():
        return column.cast(pa.float64()).cast(pa.string())
    if style.finite:
        raise Refused("a value is NaN or infinite, which the target's floats are not")
    endless = pc.if_else(pc.greater(column, 0), "Infinity", "-Infinity")
    written = pc.if_else(pc.is_nan(column), "NaN", endless)
    return pc.if_else(finite, column.cast(pa.float64()).cast(pa.string()), written)


def _decimals(column: pa.Array, style: Style) -> pa.Array:
    return decimal_text(column)


def decimal_text(column: pa.Array) -> pa.Array:
    """Decimals as text; never with an exponent, as Arrow would write small ones."""
    precision, scale = column.type.precision, column.type.scale
    whole = (pa.decimal128 if pa.types.is_decimal128(column.type) else pa.decimal256)(precision, 0)
    digits = pa.Array.from_buffers(whole, len(column), column.buffers(), column.null_count, column.offset)
    text = digits.cast(pa.string())
    if scale <= 0:
        return text
    negative = pc.starts_with(text, "-")
    unsigned = pc.utf8_lpad(pc.utf8_ltrim(text, "-"), scale + 1, "0")
    front, behind = pc.utf8_slice_codeunits(unsigned, 0, -scale), pc.utf8_slice_codeunits(unsigned, -scale)
    return pc.binary_join_element_wise(pc.if_else(negative, "-", ""), front, ".", behind, "")


def _strings(column: pa.Array, style: Style) -> pa.Array:
    text = column.cast(pa.large_string())
    for found, written in (*_ESCAPES, *_RETURN) if style.returns else _ESCAPES:
        if pc.any(pc.match_substring(text, found)).as_py():
            text = pc.replace_substring(text, found, written)
    return text


def _bytes(column: pa.Array, style: Style) -> pa.Array:
    whole = pa.concat_arrays([column.cast(pa.large_binary())])
    valid, offsets, data = whole.buffers()
    rows = len(whole)
    places = np.frombuffer(offsets, dtype=np.int64)[whole.offset : whole.offset + rows + 1]
    start, end = int(places[0]), int(places[-1])
    written = binascii.hexlify(memoryview(data)[start:end]) if end > start else b""
    if style.returns:
        written = written.upper()
    doubled = pa.py_buffer((places - start) * 2)
    if whole.offset:
        raise AssertionError("a column that was put together begins at its first row")
    text = pa.Array.from_buffers(pa.large_string(), rows, [valid, doubled, pa.py_buffer(written)], whole.null_count)
    if not style.hex_prefix:
        return text
    return pc.binary_join_element_wise(_large(style.hex_prefix), text, _large(""))


def _timestamps(column: pa.Array, style: Style) -> pa.Array:
    text = column.cast(pa.timestamp("us")).cast(pa.string())
    zoned = style.zone and column.type.tz is not None
    return pc.binary_join_element_wise(text, style.zone, "") if zoned else text


_WRITERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array, Style], pa.Array]], ...] = (
    (pa.types.is_boolean, _booleans),
    (pa.types.is_integer, _plain),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_floating, _floats),
    (pa.types.is_string, _strings),
    (pa.types.is_large_string, _strings),
    (pa.types.is_binary, _bytes),
    (pa.types.is_large_binary, _bytes),
    (pa.types.is_date32, _plain),
    (pa.types.is_time, _plain),
    (pa.types.is_timestamp, _timestamps),
)
