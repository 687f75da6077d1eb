"""Parts of messages: what a client says of its types and binds, and what it is told of columns."""

from __future__ import annotations

import struct
from typing import Any, Final

from tests.emulators.oracle.engine import Column
from tests.emulators.oracle.types import NATIONAL, TEXTS, decode
from tests.emulators.oracle.wire import Reader, number, sized

LONGEST_STRING: Final = 32767


def take_types(r: Reader) -> bytes:
    """The client's types, four or two 16-bit numbers each, of which a zero ends the list; all are taken."""
    r.raw(5)
    r.value(), r.value()
    while struct.unpack(">H", r.raw(2))[0]:
        if struct.unpack(">H", r.raw(2))[0]:
            r.raw(4)
    return b"\2\0\0"


def shape(r: Reader) -> tuple[int, int, int]:
    """(type, form of the character set, bytes) of a bind or a define."""
    kind = r.byte()
    r.raw(3)
    size = r.number()
    r.number(), r.number(), r.sized(), r.number(), r.number()
    form = r.byte()
    r.number(), r.number()
    return kind, form, size


def bind_row(r: Reader, shapes: list[tuple[int, int, int]]) -> list[Any]:
    """One row of binds; long ones come behind the others."""
    if r.byte() != 7:
        raise RuntimeError("a row of binds was expected")
    found: dict[int, Any] = {}
    for long in (False, True):
        for place, (kind, form, size) in enumerate(shapes):
            if (size > LONGEST_STRING) is long:
                found[place] = decode(kind, form, r.value())
    return [found[place] for place in range(len(shapes))]


def directions(count: int) -> bytes:
    """All binds of a block are read only."""
    return b"\x0b\0" + number(count) + number(0) + number(0) + number(0) + number(0) + number(0) + bytes([32]) * count


def described(columns: list[Column]) -> bytes:
    out = b"\x10\0" + number(1000) + number(len(columns)) + b"\1"
    for place, column in enumerate(columns, 1):
        type = column.type
        texts = type.wire in TEXTS
        digits = (type.precision or 0) & 255
        scale = (-127 if type.wire == 2 and type.scale is None else type.scale or 0) & 255
        form = (type.form or 1) if texts else 0
        out += bytes([type.wire, 0, digits, scale]) + number(type.size) + number(0) * 4
        out += number((2000 if form == NATIONAL else 873) if texts else 0) + bytes([form])
        out += number(type.char_length or type.length if texts else 0) + number(0) + b"\1"
        out += bytes([min(len(column.name), 255)]) + sized(column.name) + number(0) + number(0) + number(place)
        out += number(0)
    return out + number(0) * 6
