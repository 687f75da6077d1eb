"""Neutral defaults, checks and computed columns in MySQL's words, where these mean the same beyond doubt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import pyarrow as pa

from whimbrel.connectors.mysql.connection import quote_identifier, quote_literal
from whimbrel.connectors.sql.expressions import mixes_zones, written
from whimbrel.model.default import Bits, Bytes, EmptyList, NewUuid, Now, Today, Value
from whimbrel.model.expression import (
    ARITHMETIC,
    EQUALITY,
    ORDERING,
    Among,
    Between,
    Binary,
    Function,
    Negative,
    Node,
    Null,
    Number,
    Text,
    Truth,
    columns_in,
    walk,
)
from whimbrel.model.table import Annotation, ColumnType

_FUNCTIONS: Final[dict[Function, str]] = {"coalesce": "COALESCE", "is_json": "JSON_VALID"}
_DAY, _CLOCK = r"\d{4}-\d\d-\d\d", r"\d\d:\d\d:\d\d(?:\.\d+)?"
_SHAPES = {"date": re.compile(_DAY), "time": re.compile(_CLOCK), "datetime": re.compile(f"{_DAY} {_CLOCK}")}
_SHAPES |= dict.fromkeys(
    ("tinyint", "smallint", "int", "bigint", "decimal", "float", "double"),
    re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"),
)


def default(value: Value | None, native: str, *, instant: bool = False) -> str | None:
    """A default for a MySQL column of type ``native``; None when it has no sure counterpart, NULL when it says nothing.

    ``instant``: a timestamp with time zone, which is kept as UTC; CURRENT_TIMESTAMP would be the session's own time.
    """
    wide = native.endswith(("text", "blob")) or native == "json"
    match value:
        case Null():
            return "NULL"
        case Truth(found):
            return "1" if found else "0"
        case Number(digits):
            return f"({digits})" if wide else digits
        case Now(utc) if native.startswith("datetime"):
            return _now(native.removeprefix("datetime"), instant=instant, utc=utc)
        case Today() if native == "date":
            return "(CURRENT_DATE)"
        case NewUuid() if native in ("uuid", "char(36)"):
            return "(UUID())"
        case EmptyList() if native == "json":
            return "('[]')"
        case Bytes(found) if native.startswith(("varbinary", "longblob")):
            return f"(0x{found.hex()})" if found else "('')"
        case Text(text) | Bits(text):
            return _constant(text, native, wide=wide)
    return None


def _now(digits: str, *, instant: bool, utc: bool) -> str | None:
    if instant and utc:
        return None
    return f"(UTC_TIMESTAMP{digits or '()'})" if instant or utc else f"CURRENT_TIMESTAMP{digits}"


def _constant(text: str, native: str, *, wide: bool) -> str | None:
    if native == "tinyint(1)":
        return {"1": "1", "0": "0"}.get(text)
    if native.startswith("bit"):
        return f"b'{text}'" if set(text) <= {"0", "1"} else None
    if native.startswith(("varbinary", "longblob")):
        return None
    if (shape := _SHAPES.get(re.split(r"[( ]", native)[0])) and not shape.fullmatch(text):
        return None
    return f"({quote_literal(text)})" if wide else quote_literal(text)


def expression(tree: Node | None, columns: Mapping[str, ColumnType]) -> str | None:
    """A check or a computed column; None unless every part of it means the same here.

    ``columns`` are the source's types by name: ``ends - starts`` may be days between dates there, nonsense here.
    """
    if tree is None:
        return None
    families = {name: _family(type_) for name, type_ in columns.items()}
    if mixes_zones(tree, columns) or not families.keys() >= set(columns_in(tree)):
        return None  # a name of no column stands for something else there, as SESSION_USER
    for node in walk(tree):
        fit = _fit(node)
        if fit and any(families.get(column) not in fit for column in columns_in(node)):
            return None
    return written(tree, quote_identifier, quote_literal, _FUNCTIONS)


def _fit(node: Node) -> frozenset[str]:
    """The families of columns for which an operator means the same: texts are sorted by other rules here, and the
    difference of two dates is no number of days. Empty for what means the same for all."""
    match node:
        case Negative():
            return _NUMBERS
        case Binary(operator, _, _) if operator in ARITHMETIC:
            return _NUMBERS
        case Binary(operator, _, _) if operator in ORDERING:
            return _SORTED
        case Between():
            return _SORTED
        case Binary(operator, _, _) if operator in EQUALITY:
            return _EQUAL
        case Among():
            return _EQUAL
    return frozenset()


_NUMBERS: Final = frozenset({"number"})
_SORTED: Final = frozenset({"number", "time"})
_EQUAL: Final = frozenset({"number", "time", "text", "truth"})


def _family(column: ColumnType) -> str:
    """What a source's column is in MySQL too, for operators; '' for what becomes a text or a document there."""
    arrow, annotation = column.arrow, column.annotation
    if annotation is Annotation.NUMERIC:
        return "number"
    plain = annotation in (Annotation.NONE, Annotation.CHAR)
    if annotation is Annotation.ENUM or (plain and pa.types.is_string(arrow)):
        return "text"
    if annotation is not Annotation.NONE:
        return ""
    if pa.types.is_boolean(arrow):
        return "truth"
    if pa.types.is_integer(arrow) or pa.types.is_floating(arrow) or pa.types.is_decimal(arrow):
        return "number"
    return "time" if pa.types.is_temporal(arrow) else ""
