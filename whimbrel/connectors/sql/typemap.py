"""Types both ways: what a source's column becomes on a target, and what a target's own column is to us.

An engine fills two tables: one from the neutral kind of a type (``kind_of``) to its own type, one from the base name of
its own types to neutral ones. What depends on length, precision or scale is a function in the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from whimbrel.model.table import Annotation, ColumnType

_BLANKS: Final = "kept as the source shows it; blanks at its end count here"
_WIDEST: Final = 38  # digits of Arrow's smaller decimals
_NATIVE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_ ]*?)\s*(?:\(([^)]*)\))?\s*\Z")


@dataclass(frozen=True)
class Mapped:
    """A column's type on the target. ``type.arrow`` is how its values stand in a staged file; ``note`` says what is
    lost, '' when nothing is."""

    type: ColumnType
    note: str = ""


Make = Callable[[ColumnType], Mapped | None]
Read = Callable[[str, tuple[int, ...]], ColumnType]


@dataclass(frozen=True)
class TypeMap:
    """``makes`` by neutral kind, ``reads`` by the base name of the engine's own types, in upper case."""

    makes: Mapping[str, Make]
    reads: Mapping[str, Read]

    def make(self, source: ColumnType) -> Mapped | None:
        """None where the engine has no type for it."""
        made = self.makes.get(kind_of(source))
        return made(source) if made else None

    def read(self, native: str) -> ColumnType:
        """A type as the engine's catalog spells it, ``NUMBER(12,2)``; unknown ones are NATIVE."""
        found = _NATIVE.match(native)
        base = found[1].upper() if found else ""
        if not found or base not in self.reads:
            return ColumnType(pa.string(), native, Annotation.NATIVE)
        numbers = tuple(int(n) for n in (found[2] or "").split(",") if n.strip().isdigit())
        return self.reads[base](native, numbers)


def kind_of(type: ColumnType) -> str:
    """One word for what a type is: the annotation, or of the Arrow type ``boolean``, ``int``, ``uint64``, ``decimal``,
    ``float``, ``double``, ``text``, ``bytes``, ``date``, ``time``, ``timestamp`` (of no zone) or ``instant``."""
    if type.annotation is not Annotation.NONE:
        return str(type.annotation)
    arrow = type.arrow
    if pa.types.is_timestamp(arrow):
        return "instant" if arrow.tz else "timestamp"
    if pa.types.is_uint64(arrow):
        return "uint64"
    return next((kind for kind, test in _KINDS if test(arrow)), "native")


_KINDS = (
    ("boolean", pa.types.is_boolean),
    ("int", pa.types.is_integer),
    ("decimal", pa.types.is_decimal),
    ("float", pa.types.is_float32),
    ("double", pa.types.is_float64),
    ("text", pa.types.is_string),
    ("text", pa.types.is_large_string),
    ("bytes", pa.types.is_binary),
    ("bytes", pa.types.is_large_binary),
    ("date", pa.types.is_date),
    ("time", pa.types.is_time),
)


def always(
    native: str, arrow: pa.DataType, note: str = "", annotation: Annotation = Annotation.NONE, length: int | None = None
) -> Make:
    """The same type whatever the source's is."""
    made = Mapped(ColumnType(arrow, native, annotation, length), note)
    return lambda source: made


def as_text(native: str, note: str = "") -> Make:
    """Kept as the source's canonical text."""
    return always(native, pa.string(), note)


def sized(arrow: pa.DataType, name: str, longest: int, unbound: str = "") -> Make:
    """With the source's length as long as the type may name one; else ``unbound``, or the name alone."""

    def make(source: ColumnType) -> Mapped:
        if source.length is None or source.length > longest:
            return Mapped(ColumnType(arrow, unbound or name))
        length = max(1, source.length)
        return Mapped(ColumnType(arrow, f"{name}({length})", length=length))

    return make


def padded(text: Make) -> Make:
    """A fixed-length text as one that keeps its blanks, whatever an engine's own CHAR makes of them."""

    def make(source: ColumnType) -> Mapped | None:
        made = text(source)
        return made and Mapped(replace(made.type, annotation=Annotation.CHAR), _BLANKS)

    return make


def decimals(name: str, digits: int, scale: int, text: str) -> Make:
    """Exact up to so many digits, of which ``scale`` may be behind the point; else as text."""
    behind = f", up to {scale} of them behind the point" if scale < digits else ""
    as_text = Mapped(ColumnType(pa.string(), text), f"kept as text: {name} has {digits} digits{behind}")

    def make(source: ColumnType) -> Mapped:
        precision, places = source.arrow.precision, source.arrow.scale
        if precision > digits or not 0 <= places <= min(scale, precision):
            return as_text
        arrow = pa.decimal128(precision, places) if precision <= _WIDEST else pa.decimal256(precision, places)
        return Mapped(ColumnType(arrow, f"{name}({precision},{places})"))

    return make
