"""MySQL's binary JSON, as it stands in the binlog, to JSON text spelled as the server spells it."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable

from whimbrel.errors import LogDamaged

_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY = 0x00, 0x01, 0x02, 0x03
_LITERAL, _INT16, _UINT16, _INT32, _UINT32, _INT64, _UINT64 = 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A
_DOUBLE, _STRING, _OPAQUE = 0x0B, 0x0C, 0x0F

_LITERALS = {0: "null", 1: "true", 2: "false"}
_INTEGERS = {_INT16: (2, True), _UINT16: (2, False), _INT32: (4, True), _UINT32: (4, False)}
_WIDE = {_INT64: (8, True), _UINT64: (8, False)}
_MAX_DEPTH = 150  # the server allows 100

Opaque = Callable[[int, bytes], str | None]


def to_text(value: bytes, opaque: Opaque) -> bytes:
    """A whole document. ``opaque`` turns (MySQL type code, bytes) into a JSON scalar's text, or None if it cannot.

    Raises LogDamaged if the bytes are not such a document.
    """
    if not value:
        return b"null"  # what the server stores for a column that became NOT NULL without a value
    try:
        return _value(value[0], memoryview(value)[1:], 0, opaque).encode()
    except (IndexError, struct.error, UnicodeError) as e:
        raise LogDamaged(f"a JSON value in the binlog does not decode: {type(e).__name__}") from e


def _value(kind: int, data: memoryview, depth: int, opaque: Opaque) -> str:
    """``data`` begins at the value; offsets inside it count from there."""
    if depth > _MAX_DEPTH:
        raise LogDamaged("a JSON value in the binlog is nested too deeply")
    if kind in (_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY):
        return _container(kind, data, depth, opaque)
    if kind == _LITERAL:
        return _literal(data[0])
    if kind in _INTEGERS or kind in _WIDE:
        size, signed = (_INTEGERS | _WIDE)[kind]
        return str(_integer(data, 0, size, signed))
    if kind == _DOUBLE:
        return number(struct.unpack_from("<d", data)[0])
    if kind == _STRING:
        length, start = _length(data, 0)
        return quoted(str(_slice(data, start, length), "utf-8"))
    if kind == _OPAQUE:
        length, start = _length(data, 1)
        return _opaque(data[0], bytes(_slice(data, start, length)), opaque)
    raise LogDamaged(f"a JSON value in the binlog has the unknown type {kind}")


def _container(kind: int, data: memoryview, depth: int, opaque: Opaque) -> str:
    is_object = kind in (_SMALL_OBJECT, _LARGE_OBJECT)
    width = 4 if kind in (_LARGE_OBJECT, _LARGE_ARRAY) else 2
    count = _integer(data, 0, width)
    size = _integer(data, width, width)
    if size > len(data) or count > len(data):
        raise LogDamaged("a JSON value in the binlog is longer than its row")
    data = data[:size]
    keys = 2 * width
    entries = keys + (count * (width + 2) if is_object else 0)
    parts = []
    for i in range(count):
        text = _entry(data, entries + i * (1 + width), width, depth, opaque)
        if is_object:
            at = keys + i * (width + 2)
            name = _slice(data, _integer(data, at, width), _integer(data, at + width, 2))
            text = f"{quoted(str(name, 'utf-8'))}: {text}"
        parts.append(text)
    return "{" + ", ".join(parts) + "}" if is_object else "[" + ", ".join(parts) + "]"


def _entry(data: memoryview, at: int, width: int, depth: int, opaque: Opaque) -> str:
    kind = data[at]
    if kind == _LITERAL:
        return _literal(_integer(data, at + 1, width))
    if kind in _INTEGERS and _INTEGERS[kind][0] <= width:
        size, signed = _INTEGERS[kind]
        return str(_integer(data, at + 1, size, signed))
    offset = _integer(data, at + 1, width)
    if offset > len(data):
        raise LogDamaged("a JSON value in the binlog points outside itself")
    return _value(kind, data[offset:], depth + 1, opaque)


def _opaque(kind: int, value: bytes, opaque: Opaque) -> str:
    text = opaque(kind, value)
    return quoted(f"base64:type{kind}:{base64.b64encode(value).decode()}") if text is None else text


def _literal(code: int) -> str:
    if code not in _LITERALS:
        raise LogDamaged(f"a JSON value in the binlog has the unknown literal {code}")
    return _LITERALS[code]


def _length(data: memoryview, at: int) -> tuple[int, int]:
    """A variable-length integer of 7 bits a byte, and the position behind it."""
    length = 0
    for i in range(5):
        byte = data[at + i]
        length |= (byte & 0x7F) << (7 * i)
        if not byte & 0x80:
            return length, at + i + 1
    raise LogDamaged("a JSON value in the binlog has an endless length")


def _integer(data: memoryview, at: int, size: int, signed: bool = False) -> int:
    return int.from_bytes(_slice(data, at, size), "little", signed=signed)


def _slice(data: memoryview, at: int, length: int) -> memoryview:
    if at + length > len(data):
        raise LogDamaged("a JSON value in the binlog is cut off")
    return data[at : at + length]


def quoted(text: str) -> str:
    """A JSON string; only what JSON requires is escaped."""
    return json.dumps(text, ensure_ascii=False)


def number(value: float) -> str:
    """A JSON number that stays a double when it is read again, spelled as the server spells it: the shortest digits,
    with an exponent below 1e-15, and from 1e15 on where no digit stands behind the point."""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(digits) - len(fraction) + int(exponent or 0)  # where it stands behind the first of the digits
    digits = digits.rstrip("0") or "0"
    sign = "-" if math.copysign(1, value) < 0 else ""
    if value == 0:
        return f"{sign}0.0"
    if not -15 < point <= max(15, len(digits) - 1):
        return f"{sign}{digits[0]}{'.' * (len(digits) > 1)}{digits[1:]}e{point - 1}"
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[:point].ljust(point, '0')}.{digits[point:] or '0'}"
