"""Turns columns of canonical text into rows of COPY text or LOAD DATA text, a whole batch at a time.

Every step is one Arrow or bytes operation on a whole column; only arrays that must become JSON are visited one by one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from enum import Enum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.errors import ReplicationFailed


class Render(Enum):
    """How one column's canonical text is written. See docs/formats.md."""

    RAW = "raw"  # numbers, dates: nothing to escape
    TEXT = "text"  # backslash, tab, newline and carriage return escaped
    BYTEA = "bytea"  # COPY text: \\x and hex
    HEX = "hex"  # upper-case hex
    BOOL_DIGIT = "bool-digit"  # t and f become 1 and 0
    UTC = "utc"  # the trailing +00 is dropped
    ARRAY_NUMBER = "array-number"  # PostgreSQL array literal -> JSON; elements are numbers
    ARRAY_BOOL = "array-bool"  # elements are booleans
    ARRAY_TEXT = "array-text"  # elements are strings


_TAB = pa.scalar(b"\t", pa.binary())
_NEWLINE = pa.scalar(b"\n", pa.binary())
_ESCAPES = ((b"\\", "\\", "\\\\"), (b"\t", "\t", "\\t"), (b"\n", "\n", "\\n"), (b"\r", "\r", "\\r"))


def rows_text(batch: pa.RecordBatch, renders: Sequence[Render]) -> bytes:
    """One line per row: tab between columns, ``\\N`` for null, a newline at its end. Columns are binary."""
    if batch.num_rows == 0:
        return b""
    columns = [_RENDERERS[r](c) for c, r in zip(batch.columns, renders, strict=True)]
    rows = pc.binary_join_element_wise(*columns, _TAB, null_handling="replace", null_replacement="\\N")
    whole = pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows)
    return bytes(pc.binary_join(whole, _NEWLINE)[0].as_buffer()) + b"\n"


def _raw(column: pa.BinaryArray) -> pa.BinaryArray:
    return column


def _escaped(column: pa.BinaryArray) -> pa.BinaryArray:
    buffer = column.buffers()[2]
    content = b"" if buffer is None else bytes(buffer)
    for byte, pattern, replacement in _ESCAPES:
        if byte in content:
            column = pc.replace_substring(column, pattern=pattern, replacement=replacement)
    return column


def _hex(column: pa.BinaryArray) -> pa.BinaryArray:
    column = pa.concat_arrays([column])  # a slice becomes a whole array, so that its offsets start at 0
    _, offsets, data = column.buffers()
    digits = b"" if data is None else bytes(data).hex().upper().encode()
    doubled = np.frombuffer(offsets, dtype=np.int32)[column.offset : column.offset + len(column) + 1] * 2
    valid = None if not column.null_count else _validity(column)
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(column), [valid, pa.py_buffer(doubled.astype(np.int32).tobytes()), pa.py_buffer(digits)]
    )


def _validity(column: pa.Array) -> pa.Buffer:
    valid = np.asarray(pc.is_valid(column))
    return pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())


def _bytea(column: pa.BinaryArray) -> pa.BinaryArray:
    prefix = pa.scalar(b"\\\\x", pa.binary())
    return pc.binary_join_element_wise(prefix, _hex(column), pa.scalar(b"", pa.binary()))


def _bool_digit(column: pa.BinaryArray) -> pa.BinaryArray:
    return pc.replace_substring(pc.replace_substring(column, "t", "1"), "f", "0")


def _utc(column: pa.BinaryArray) -> pa.BinaryArray:
    return pc.replace_substring_regex(column, pattern=r"\+00$", replacement="")


def _array_json(kind: Render) -> Callable[[pa.BinaryArray], pa.BinaryArray]:
    def convert(column: pa.BinaryArray) -> pa.BinaryArray:
        return _escaped(json_arrays(column, kind))

    return convert


def json_arrays(column: pa.BinaryArray, kind: Render) -> pa.BinaryArray:
    """Each PostgreSQL array literal as JSON. Raises ReplicationFailed for what is none."""
    try:
        values = [None if v is None else array_to_json(v.decode(), kind).encode() for v in column.to_pylist()]
    except (UnicodeDecodeError, KeyError, RecursionError):
        raise ReplicationFailed("a value is no array of its type") from None
    return pa.array(values, pa.binary())


def array_to_json(literal: str, kind: Render) -> str:
    """A PostgreSQL array literal as JSON text: ``{1,NULL,"a b"}`` -> ``[1,null,"a b"]``; lower bounds are dropped.

    Spaced as PostgreSQL's ``to_json``, which snapshots are read with: some targets keep JSON as it was written.

    Raises ReplicationFailed when the text is not an array literal.
    """
    start = literal.find("{")
    if start < 0 or (start > 0 and not literal.startswith("[")):
        raise ReplicationFailed("a value is not a PostgreSQL array literal")
    try:
        value, end = _parse_array(literal, start, kind)
    except IndexError:
        raise ReplicationFailed("a PostgreSQL array literal ends too early") from None
    if end != len(literal):
        raise ReplicationFailed("a PostgreSQL array literal has text behind its end")
    return value


def _parse_array(text: str, at: int, kind: Render) -> tuple[str, int]:
    parts: list[str] = []
    at += 1
    while text[at] != "}":
        if text[at] == ",":
            at += 1
        if text[at] == "{":
            part, at = _parse_array(text, at, kind)
        else:
            part, at = _parse_element(text, at, kind)
        parts.append(part)
    return "[" + ",".join(parts) + "]", at + 1


def _parse_element(text: str, at: int, kind: Render) -> tuple[str, int]:
    if text[at] != '"':
        end = at
        while text[end] not in ",}":
            end += 2 if text[end] == "\\" else 1
        raw = text[at:end]
        return ("null" if raw == "NULL" else _element(raw.replace("\\", ""), kind)), end
    out: list[str] = []
    at += 1
    while text[at] != '"':
        if text[at] == "\\":
            at += 1
        out.append(text[at])
        at += 1
    return _element("".join(out), kind), at + 1


def _element(raw: str, kind: Render) -> str:
    if kind is Render.ARRAY_NUMBER and raw not in ("NaN", "Infinity", "-Infinity"):
        return raw
    if kind is Render.ARRAY_BOOL:
        return {"t": "true", "f": "false"}[raw]
    return json.dumps(raw, ensure_ascii=False)


_RENDERERS = {
    Render.RAW: _raw,
    Render.TEXT: _escaped,
    Render.BYTEA: _bytea,
    Render.HEX: _hex,
    Render.BOOL_DIGIT: _bool_digit,
    Render.UTC: _utc,
    Render.ARRAY_NUMBER: _array_json(Render.ARRAY_NUMBER),
    Render.ARRAY_BOOL: _array_json(Render.ARRAY_BOOL),
    Render.ARRAY_TEXT: _array_json(Render.ARRAY_TEXT),
}
