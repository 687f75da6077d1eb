"""PostgreSQL's types and ours, both ways. docs/formats.md has the table this follows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa

from whimbrel.model.table import Annotation, ColumnType

MICROSECONDS = 6
GREATEST_VARCHAR = 10_485_760
_INSTANT = pa.timestamp("us", tz="UTC")

_PLAIN: dict[str, tuple[pa.DataType, Annotation]] = {
    "bool": (pa.bool_(), Annotation.NONE),
    "int2": (pa.int16(), Annotation.NONE),
    "int4": (pa.int32(), Annotation.NONE),
    "int8": (pa.int64(), Annotation.NONE),
    "oid": (pa.uint32(), Annotation.NONE),
    "float4": (pa.float32(), Annotation.NONE),
    "float8": (pa.float64(), Annotation.NONE),
    "text": (pa.string(), Annotation.NONE),
    "bytea": (pa.binary(), Annotation.NONE),
    "date": (pa.date32(), Annotation.NONE),
    "interval": (pa.string(), Annotation.INTERVAL),
    "json": (pa.string(), Annotation.JSON),
    "jsonb": (pa.string(), Annotation.JSON),
    "uuid": (pa.string(), Annotation.UUID),
}
_TIMES: dict[str, tuple[pa.DataType, Annotation]] = {
    "time": (pa.time64("us"), Annotation.NONE),
    "timetz": (pa.string(), Annotation.TIME_TZ),
    "timestamp": (pa.timestamp("us"), Annotation.NONE),
    "timestamptz": (_INSTANT, Annotation.NONE),
}


@dataclass(frozen=True)
class CatalogType:
    """A type as pg_type and pg_attribute describe it. ``native`` is what format_type says, schema-qualified.

    ``base`` is a domain's base type, ``element`` an array's; ``labels`` are an enum's. ``builtin`` is false for types
    outside pg_catalog.
    """

    name: str
    typmod: int
    native: str
    builtin: bool = True
    labels: tuple[str, ...] = ()
    base: CatalogType | None = None
    element: CatalogType | None = None


def column_type(found: CatalogType, collation: str | None = None) -> ColumnType:
    """PostgreSQL to ours. What has no meaning elsewhere becomes NATIVE: it travels within PostgreSQL alone."""
    known = _known(found)
    return replace(known, native=found.native, collation=collation)


def _known(found: CatalogType) -> ColumnType:
    if found.base is not None:
        return column_type(found.base)
    if found.element is not None:
        return ColumnType(pa.list_(column_type(found.element).arrow), found.native, Annotation.ARRAY)
    if found.labels:
        return ColumnType(pa.string(), found.native, Annotation.ENUM, labels=found.labels)
    if not found.builtin:
        return ColumnType(pa.string(), found.native, Annotation.NATIVE)
    if found.name in _PLAIN:
        return ColumnType(_PLAIN[found.name][0], found.native, _PLAIN[found.name][1])
    if found.name in _TIMES:
        digits = found.typmod if found.typmod >= 0 else MICROSECONDS
        return ColumnType(_TIMES[found.name][0], found.native, _TIMES[found.name][1], digits)
    return _sized(found)


def _sized(found: CatalogType) -> ColumnType:
    length = found.typmod - 4 if found.typmod >= 4 else None
    match found.name:
        case "varchar":
            return ColumnType(pa.string(), found.native, length=length)
        case "bpchar" if length is not None:
            return ColumnType(pa.string(), found.native, Annotation.CHAR, length)
        case "bpchar":
            return ColumnType(pa.string(), found.native)
        case "bit":
            return ColumnType(pa.string(), found.native, Annotation.BIT, max(found.typmod, 1))
        case "numeric":
            return _numeric(found)
        case "name":
            return ColumnType(pa.string(), found.native, length=63)
    return ColumnType(pa.string(), found.native, Annotation.NATIVE)


def _numeric(found: CatalogType) -> ColumnType:
    """numeric(p, s); a scale outside 0 to p exists since 15 and means something no other engine has."""
    packed = found.typmod - 4
    precision, scale = (packed >> 16) & 0xFFFF, packed & 0x7FF
    if found.typmod < 4 or precision > 76 or scale > precision:
        return ColumnType(pa.string(), found.native, Annotation.NUMERIC)
    return ColumnType(decimal(precision, scale), found.native)


def decimal(precision: int, scale: int) -> pa.DataType:
    """The narrowest Arrow decimal."""
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


@dataclass(frozen=True)
class Mapped:
    """A foreign type as PostgreSQL will hold it. ``note`` says what is lost, if anything."""

    type: ColumnType
    note: str | None = None


def from_foreign(source: ColumnType) -> Mapped | None:
    """Another engine's type to ours; None when it must be refused."""
    annotated = _from_annotation(source)
    if annotated is not None or source.annotation is not Annotation.NONE:
        return annotated
    native, arrow = _from_arrow(source)
    if native is None:
        return None
    return Mapped(ColumnType(arrow, native, length=source.length))


def _from_annotation(source: ColumnType) -> Mapped | None:
    text, length = pa.string(), source.length
    match source.annotation:
        case Annotation.NUMERIC:
            return Mapped(ColumnType(text, "numeric", Annotation.NUMERIC))
        case Annotation.CHAR if length:
            return Mapped(ColumnType(text, f"character({length})", Annotation.CHAR, length))
        case Annotation.CHAR:
            return Mapped(ColumnType(text, "text"))
        case Annotation.JSON:
            lost = "equal by meaning; white space, key order and repeated keys of the text are not kept"
            return Mapped(ColumnType(text, "jsonb", Annotation.JSON), lost)
        case Annotation.UUID:
            return Mapped(ColumnType(text, "uuid", Annotation.UUID))
        case Annotation.ENUM | Annotation.SET:
            return Mapped(ColumnType(text, "text"))
        case Annotation.BIT:
            return Mapped(ColumnType(text, f"bit({length or 1})", Annotation.BIT, length or 1))
        case Annotation.TIME_TZ:
            return Mapped(ColumnType(text, _timed("time", length, "with"), Annotation.TIME_TZ, length))
        case Annotation.INTERVAL:
            return Mapped(ColumnType(text, "text"), "kept as the source's text, not as an interval")
        case Annotation.YEAR:
            return Mapped(ColumnType(pa.int16(), "smallint"))
        case Annotation.DURATION:
            digits = MICROSECONDS if length is None else length
            return Mapped(ColumnType(text, f"interval({digits})", Annotation.INTERVAL, digits))
    return None


_INTEGERS = {
    pa.int8(): ("smallint", pa.int16()),
    pa.uint8(): ("smallint", pa.int16()),
    pa.int16(): ("smallint", pa.int16()),
    pa.uint16(): ("integer", pa.int32()),
    pa.int32(): ("integer", pa.int32()),
    pa.uint32(): ("bigint", pa.int64()),
    pa.int64(): ("bigint", pa.int64()),
    pa.uint64(): ("numeric(20,0)", pa.decimal128(20, 0)),
    pa.bool_(): ("boolean", pa.bool_()),
    pa.float32(): ("real", pa.float32()),
    pa.float64(): ("double precision", pa.float64()),
    pa.binary(): ("bytea", pa.binary()),
    pa.date32(): ("date", pa.date32()),
}


def _from_arrow(source: ColumnType) -> tuple[str | None, pa.DataType]:
    arrow, length = source.arrow, source.length
    if arrow in _INTEGERS:
        return _INTEGERS[arrow]
    if pa.types.is_decimal(arrow):
        return f"numeric({arrow.precision},{arrow.scale})", arrow
    if pa.types.is_string(arrow):
        return (f"character varying({length})" if length and length <= GREATEST_VARCHAR else "text"), arrow
    if pa.types.is_time(arrow):
        return _timed("time", length, "without"), pa.time64("us")
    if pa.types.is_timestamp(arrow):
        return _timed("timestamp", length, "with" if arrow.tz else "without"), arrow
    return None, arrow


def _timed(kind: str, digits: int | None, zone: str) -> str:
    """As format_type spells it: without digits when it has all six."""
    precision = "" if digits in (None, MICROSECONDS) else f"({digits})"
    return f"{kind}{precision} {zone} time zone"
