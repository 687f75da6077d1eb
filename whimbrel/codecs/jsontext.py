"""Turns columns of canonical text into columns of JSON text, a whole batch at a time.

Every step is one Arrow, numpy or bytes operation on a whole column; only arrays are visited one by one.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Sequence
from enum import Enum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.codecs.text import Render, json_arrays
from whimbrel.errors import ValueRefused
from whimbrel.model.table import Annotation, ColumnType


class Form(Enum):
    """How the values of a column stand in JSON; docs/queues.md has the table for users."""

    NUMBER = "number"
    FLOAT = "float"  # a number, but NaN and the infinities are strings
    BOOL = "bool"
    TEXT = "text"
    MOMENT = "moment"  # ISO 8601: T between date and time, Z for UTC
    TIME = "time"  # like those of moments, fractions end with their last digit that is not 0
    BASE64 = "base64"
    NUMBERS = "numbers"  # arrays of each kind
    BOOLS = "bools"
    TEXTS = "texts"


def form_of(type: ColumnType) -> Form:
    """The form of a column's values."""
    if type.annotation is Annotation.ARRAY or pa.types.is_list(type.arrow):
        return _form_of_array(type.arrow)
    arrow = type.arrow
    if pa.types.is_boolean(arrow):
        return Form.BOOL
    if pa.types.is_integer(arrow):
        return Form.NUMBER
    if pa.types.is_floating(arrow):
        return Form.FLOAT
    if pa.types.is_binary(arrow):
        return Form.BASE64
    if pa.types.is_timestamp(arrow):
        return Form.MOMENT
    if pa.types.is_time(arrow) or type.annotation is Annotation.DURATION:
        return Form.TIME
    return Form.TEXT


def _form_of_array(arrow: pa.DataType) -> Form:
    element = arrow
    while pa.types.is_list(element):
        element = element.value_type
    if pa.types.is_boolean(element):
        return Form.BOOLS
    return Form.NUMBERS if pa.types.is_integer(element) or pa.types.is_floating(element) else Form.TEXTS


def quoted(text: str) -> str:
    """A JSON string."""
    return json.dumps(text, ensure_ascii=False)


def values(column: pa.BinaryArray, form: Form) -> pa.BinaryArray:
    """Each value as JSON; nulls stay nulls. Raises ValueRefused for text that is not UTF-8."""
    if form is Form.NUMBER:
        return column
    if form is Form.BOOL:
        return pc.if_else(pc.equal(column, _bytes(b"t")), _bytes(b"true"), _bytes(b"false"))
    if form is Form.FLOAT:
        return pc.if_else(pc.match_substring_regex(column, "^-?[0-9]"), column, _in_quotes(column))
    if form is Form.MOMENT:
        iso = pc.replace_substring_regex(column, rf"^{_DATE} {_TIME}$", r"\1T\2\3")
        return _in_quotes(pc.replace_substring_regex(iso, rf"^{_DATE} {_TIME}\+00$", r"\1T\2\3Z"))
    if form is Form.TIME:
        return _in_quotes(pc.replace_substring_regex(column, rf"^{_TIME}$", r"\1\2"))
    if form is Form.BASE64:
        return _in_quotes(base64(column))
    if form is Form.TEXT:
        return _in_quotes(escaped(column))
    return _arrays(column, _ARRAYS[form])


def objects(
    names: Sequence[str], columns: Sequence[pa.BinaryArray], left_out: Sequence[pa.BooleanArray | None]
) -> pa.BinaryArray:
    """One JSON object a row from columns of JSON values; nulls are written as null, what is ``left_out`` not at all."""
    members = []
    for name, column, mask in zip(names, columns, left_out, strict=True):
        member = pc.binary_join_element_wise(
            _bytes(quoted(name).encode() + b":"), column, _bytes(b""), null_handling="replace", null_replacement="null"
        )
        members.append(member if mask is None else pc.if_else(mask, pa.scalar(None, pa.binary()), member))
    inside = pc.binary_join_element_wise(*members, _bytes(b","), null_handling="skip")
    return joined(b"{", inside, b"}")


def joined(*parts: bytes | pa.BinaryArray) -> pa.BinaryArray:
    """The parts of each row end to end; at least one part must be an array."""
    arrays = [_bytes(p) if isinstance(p, bytes) else p for p in parts]
    return pc.binary_join_element_wise(*arrays, _bytes(b""))


def escaped(column: pa.BinaryArray) -> pa.BinaryArray:
    """What stands between the quotes of a JSON string."""
    column = _whole(column)
    try:
        column.cast(pa.string())
    except pa.ArrowInvalid:
        raise ValueRefused("a text value is not valid UTF-8, so it cannot be written as JSON") from None
    content = column.buffers()[2]
    if content is None or content.size == 0:
        return column
    present = np.bincount(np.frombuffer(content, dtype=np.uint8), minlength=256)
    for byte in (0x5C, 0x22, *range(0x20)):
        if present[byte]:
            column = pc.replace_substring(column, pattern=chr(byte), replacement=_ESCAPES.get(byte, f"\\u{byte:04x}"))
    return column


def base64(column: pa.BinaryArray) -> pa.BinaryArray:
    """Padded base64 of each value.

    The values are laid out at multiples of three bytes and encoded in one go; then the padding is put right.
    """
    column = _whole(column)
    _, offsets, content = column.buffers()
    starts = np.frombuffer(offsets, dtype=np.int32)[: len(column) + 1].astype(np.int64)
    sizes = np.diff(starts)
    groups = (sizes + 2) // 3
    ends = np.concatenate(([0], np.cumsum(groups)))
    plain = np.zeros(int(ends[-1]) * 3, dtype=np.uint8)
    if starts[-1] > starts[0]:
        place = np.arange(starts[0], starts[-1]) + np.repeat(ends[:-1] * 3 - starts[:-1], sizes)
        plain[place] = np.frombuffer(content, dtype=np.uint8)[starts[0] : starts[-1]]
    encoded = np.frombuffer(binascii.b2a_base64(plain.tobytes(), newline=False), dtype=np.uint8).copy()
    last = ends[1:] * 4
    encoded[last[sizes % 3 != 0] - 1] = ord("=")
    encoded[last[sizes % 3 == 1] - 2] = ord("=")
    valid = None
    if column.null_count:
        valid = pa.py_buffer(np.packbits(np.asarray(pc.is_valid(column)), bitorder="little").tobytes())
    where = pa.py_buffer((ends * 4).astype(np.int32).tobytes())
    return pa.BinaryArray.from_buffers(pa.binary(), len(column), [valid, where, pa.py_buffer(encoded.tobytes())])


def _whole(column: pa.BinaryArray) -> pa.BinaryArray:
    """The same values with offsets that begin at 0: a slice is copied."""
    return pa.concat_arrays([column]) if column.offset else column


def _in_quotes(column: pa.BinaryArray) -> pa.BinaryArray:
    return joined(b'"', column, b'"')


def _bytes(value: bytes) -> pa.Scalar:
    return pa.scalar(value, pa.binary())


def _arrays(column: pa.BinaryArray, kind: Render) -> pa.BinaryArray:
    return json_arrays(column, kind)


_DATE = r"([0-9]{4,}-[0-9]{2}-[0-9]{2})"
_TIME = r"(-?[0-9]{2,}:[0-9]{2}:[0-9]{2})(\.[0-9]*[1-9])?\.?0*"  # MySQL pads fractions to their width, others do not
_ESCAPES = {0x5C: "\\\\", 0x22: '\\"', 0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t"}
_ARRAYS = {Form.NUMBERS: Render.ARRAY_NUMBER, Form.BOOLS: Render.ARRAY_BOOL, Form.TEXTS: Render.ARRAY_TEXT}
