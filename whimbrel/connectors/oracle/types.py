"""Oracle's types read into the table of docs/formats.md, and how each is asked for.

"SQL Language Reference", chapter "Data Types": a NUMBER without precision keeps up to 40 digits and exponents from -130
to 125; a scale may be negative, or greater than the precision; a DATE has a time of day; '' is NULL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from whimbrel.model.table import Annotation, ColumnType

MICROSECONDS: Final = 6
_INSTANT: Final = pa.timestamp("us", tz="UTC")
_TIMESTAMP: Final = re.compile(r"TIMESTAMP\((\d)\)( WITH (?:LOCAL )?TIME ZONE)?\Z")
_INTERVAL: Final = re.compile(r"INTERVAL (?:YEAR|DAY)\(\d\) TO (?:MONTH|SECOND\((\d)\))\Z")
_TIME: Final = "'SYYYY-MM-DD HH24:MI:SS.FF9'"
_PLAIN: Final = {
    "BINARY_FLOAT": ColumnType(pa.float32(), "BINARY_FLOAT"),
    "BINARY_DOUBLE": ColumnType(pa.float64(), "BINARY_DOUBLE"),
    "CLOB": ColumnType(pa.string(), "CLOB"),
    "NCLOB": ColumnType(pa.string(), "NCLOB"),
    "LONG": ColumnType(pa.string(), "LONG"),
    "BLOB": ColumnType(pa.binary(), "BLOB"),
    "LONG RAW": ColumnType(pa.binary(), "LONG RAW"),
    "DATE": ColumnType(pa.timestamp("us"), "DATE", length=0),
    "ROWID": ColumnType(pa.string(), "ROWID", length=18),
    "UROWID": ColumnType(pa.string(), "UROWID", length=4000),
    "JSON": ColumnType(pa.string(), "JSON", Annotation.JSON),
    "BOOLEAN": ColumnType(pa.bool_(), "BOOLEAN"),
}
LARGE: Final = ("CLOB", "NCLOB", "BLOB", "LONG", "LONG RAW", "JSON")


def column_type(row: dict[str, Any]) -> ColumnType:
    """The type of a row of ALL_TAB_COLS. What has no meaning elsewhere becomes NATIVE."""
    name = row["DATA_TYPE"]
    if name in _PLAIN and not row.get("DATA_TYPE_OWNER"):
        return _PLAIN[name]
    if name == "NUMBER":
        return _number(row["DATA_PRECISION"], row["DATA_SCALE"])
    if name == "FLOAT":
        return ColumnType(pa.string(), f"FLOAT({row['DATA_PRECISION']})", Annotation.NUMERIC)
    if name in ("VARCHAR2", "NVARCHAR2", "CHAR", "NCHAR"):
        return _text(name, int(row["CHAR_LENGTH"]), row["CHAR_USED"])
    if name == "RAW":
        return ColumnType(pa.binary(), f"RAW({row['DATA_LENGTH']})", length=int(row["DATA_LENGTH"]))
    if (found := _TIMESTAMP.match(name)) is not None:
        digits = min(int(found[1]), MICROSECONDS)
        return ColumnType(_INSTANT if found[2] else pa.timestamp("us"), name, length=digits)
    if _INTERVAL.match(name):
        return ColumnType(pa.string(), name, Annotation.INTERVAL)
    owner = row.get("DATA_TYPE_OWNER")
    return ColumnType(pa.string(), f"{owner}.{name}" if owner else name, Annotation.NATIVE)


def _number(precision: int | None, scale: int | None) -> ColumnType:
    """The narrowest type that holds all that the column does."""
    if scale is None:
        return ColumnType(pa.string(), "NUMBER", Annotation.NUMERIC)
    native = f"NUMBER({'*' if precision is None else precision},{scale})"
    digits = 38 if precision is None else precision
    width = digits - scale if scale < 0 else max(digits, scale)
    if scale <= 0 and precision is not None and width <= 18:
        arrow: pa.DataType = pa.int16() if width <= 4 else pa.int32() if width <= 9 else pa.int64()
        return ColumnType(arrow, native)
    if width > 76:
        return ColumnType(pa.string(), native, Annotation.NUMERIC)
    kind = pa.decimal128 if width <= 38 else pa.decimal256
    return ColumnType(kind(width, max(scale, 0)), native)


def _text(name: str, characters: int, unit: str | None) -> ColumnType:
    national = name.startswith("N")
    native = f"{name}({characters})" if national else f"{name}({characters} {'CHAR' if unit == 'C' else 'BYTE'})"
    fixed = Annotation.CHAR if name in ("CHAR", "NCHAR") else Annotation.NONE
    return ColumnType(pa.string(), native, fixed, length=characters)


@dataclass(frozen=True)
class Asked:
    """How a column is asked for: SQL with ``{0}`` for its name, and what comes back."""

    sql: str
    kind: str  # plain, number, time, instant, instant-text, interval


def asked(type: ColumnType) -> Asked:
    """Never as what the driver would round: it makes doubles of numbers without a precision, and drops all but six
    digits of a second."""
    native = type.native
    if native.startswith(("NUMBER", "FLOAT")):
        return Asked("{0}", "plain") if _fetched_exactly(native) else Asked("TO_CHAR({0}, 'TM9')", "number")
    if (found := _TIMESTAMP.match(native)) is not None:
        return _asked_timestamp(int(found[1]), zoned=bool(found[2]))
    if native.startswith("INTERVAL"):
        return Asked("TO_CHAR({0})", "plain")
    if native == "ROWID":
        return Asked("ROWIDTOCHAR({0})", "plain")
    if native == "UROWID":
        return Asked("CAST({0} AS VARCHAR2(4000))", "plain")
    if native == "JSON":
        return Asked("JSON_SERIALIZE({0} RETURNING CLOB)", "plain")
    return Asked("{0}", "plain")


def _fetched_exactly(native: str) -> bool:
    """Whether the driver makes an exact decimal of it: a precision, and a scale within it."""
    found = re.fullmatch(r"NUMBER\((\d+),(\d+)\)", native)
    return found is not None and int(found[2]) <= int(found[1])


def _asked_timestamp(digits: int, *, zoned: bool) -> Asked:
    value = "SYS_EXTRACT_UTC({0})" if zoned else "{0}"
    if digits > MICROSECONDS:
        return Asked(f"TO_CHAR({value}, {_TIME})", "instant-text" if zoned else "time-text")
    if zoned:
        return Asked(f"CAST({value} AS TIMESTAMP(6))", "instant")
    return Asked("{0}", "plain")
