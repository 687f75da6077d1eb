"""Column types: a native spelling read into the table of docs/formats.md."""

from __future__ import annotations

import re

import pyarrow as pa

from whimbrel.connectors.mysql.tokens import Kind, Spelling, tokens
from whimbrel.model.table import Annotation, ColumnType

INTEGERS = {"tinyint": 8, "smallint": 16, "mediumint": 32, "int": 32, "integer": 32, "bigint": 64}
TEXTS = frozenset({"tinytext", "text", "mediumtext", "longtext"})
BLOBS = frozenset({"tinyblob", "blob", "mediumblob", "longblob"})
SPATIAL = frozenset(
    {
        *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
        *("geometrycollection", "geomcollection"),
    }
)
ADDRESSES = {"inet4": 15, "inet6": 39}  # MariaDB's, as the text their client shows

_SPELLING = re.compile(r"(?P<base>[a-z0-9_]+)\s*(?:\((?P<arguments>.*)\))?\s*(?P<rest>[a-z ]*)$", re.S | re.I)
_REMARK = re.compile(r" /\*[^']*\*/$")  # MariaDB's COMPRESSED, and how old a time's form on disk is


def read_type(native: str, collation: str | None = None, *, json: bool = False, srid: int | None = None) -> ColumnType:
    """The type behind a native spelling such as ``int(11) unsigned``, as SHOW CREATE TABLE has it.

    ``collation`` is kept as given. ``json`` says that a MariaDB ``longtext`` is its JSON.
    """
    native = _REMARK.sub("", native).strip()
    found = _SPELLING.match(native)
    if found is None:
        return ColumnType(pa.string(), native, Annotation.NATIVE)
    base, arguments, rest = found["base"].lower(), found["arguments"] or "", (found["rest"] or "").lower()
    numbers = [int(n) for n in re.findall(r"\d+", arguments)] if base not in ("enum", "set") else []
    if json or base == "json":
        return ColumnType(pa.string(), "json", Annotation.JSON)
    if base in ("enum", "set"):
        labels = tuple(t.value for t in tokens(arguments, Spelling()) if t.kind is Kind.TEXT)
        return ColumnType(pa.string(), native, Annotation(base), labels=labels, collation=collation)
    if base in SPATIAL:
        return ColumnType(pa.binary(), native, Annotation.SPATIAL, srid=srid)
    number = _number(base, numbers, unsigned="unsigned" in rest)
    if number is not None:
        return ColumnType(number, native)
    return _other(native, base, numbers, collation)


def _number(base: str, numbers: list[int], *, unsigned: bool) -> pa.DataType | None:
    if base in INTEGERS:
        return getattr(pa, f"{'uint' if unsigned else 'int'}{INTEGERS[base]}")()
    if base in ("decimal", "numeric", "dec", "fixed"):
        precision, scale = [*numbers, *(10, 0)[len(numbers) :]]
        return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    if base == "float" and (not numbers or len(numbers) > 1 or numbers[0] <= 24):
        return pa.float32()
    if base in ("double", "real", "float"):
        return pa.float64()
    return None


def _other(native: str, base: str, numbers: list[int], collation: str | None) -> ColumnType:
    length = numbers[0] if numbers else None
    if base in TEXTS or base in ("varchar", "char"):
        annotation = Annotation.CHAR if base == "char" else Annotation.NONE
        size = length if base == "varchar" else (length or 1) if base == "char" else None
        return ColumnType(pa.string(), native, annotation, size, collation=collation)
    if base in BLOBS or base in ("varbinary", "binary"):
        size = length if base == "varbinary" else (length or 1) if base == "binary" else None
        return ColumnType(pa.binary(), native, length=size)
    fraction = length or 0
    match base:
        case "bit":
            return ColumnType(pa.string(), native, Annotation.BIT, length or 1)
        case "date":
            return ColumnType(pa.date32(), native)
        case "time":
            return ColumnType(pa.string(), native, Annotation.DURATION, fraction)
        case "datetime":
            return ColumnType(pa.timestamp("us"), native, length=fraction)
        case "timestamp":
            return ColumnType(pa.timestamp("us", "UTC"), native, length=fraction)
        case "year":
            return ColumnType(pa.int16(), native, Annotation.YEAR)
        case "uuid":
            return ColumnType(pa.string(), native, Annotation.UUID)
        case "inet4" | "inet6":
            return ColumnType(pa.string(), native, length=ADDRESSES[base])
        case "vector":
            return ColumnType(pa.binary(), native, Annotation.NATIVE)
    return ColumnType(pa.string(), native, Annotation.NATIVE)


def base_of(native: str) -> str:
    """``int`` of ``int(11) unsigned``."""
    found = _SPELLING.match(native.strip())
    return found["base"].lower() if found else native.lower()


def canonical(native: str) -> str:
    """One spelling for what the two servers, or two versions of one, spell differently: to compare types by."""
    text = " ".join(native.lower().split()) if base_of(native) not in ("enum", "set") else native
    base = base_of(native)
    if base in INTEGERS and "zerofill" not in text and text != "tinyint(1)":
        text = re.sub(r"\(\d+\)", "", text)
    return {"year(4)": "year", "integer": "int", "geomcollection": "geometrycollection"}.get(text, text)
