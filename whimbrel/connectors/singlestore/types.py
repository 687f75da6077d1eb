"""Column types: what a source's become here, and what SingleStore's own are to us (docs/engines/singlestore.md)."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from whimbrel.connectors.singlestore.capabilities import CAPABILITIES
from whimbrel.connectors.sql.typemap import Make, Mapped, Read, TypeMap, always, as_text, decimals, padded, sized
from whimbrel.model.table import Annotation, ColumnType

LONGEST_VARCHAR: Final = 16_383  # characters of four bytes; what is longer is LONGTEXT
LONGEST_VARBINARY: Final = 16_383
LONGEST_KEY_TEXT: Final = 255  # characters of a key's column whose own length is unbound
_DIGITS: Final = CAPABILITIES.decimal_digits or 0
_SCALE: Final = CAPABILITIES.decimal_scale or 0
_WHOLE: Final = {
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INT",
    pa.int64(): "BIGINT",
    pa.uint8(): "SMALLINT",
    pa.uint16(): "INT",
    pa.uint32(): "BIGINT",
}
_DOCUMENT: Final = "numbers that a binary float does not show lose digits, and keys may be reordered"
_INSTANT: Final = "kept in UTC: TIMESTAMP ends in 2038 and changes by itself"


def _int(source: ColumnType) -> Mapped:
    native = _WHOLE[source.arrow]
    wider = next(arrow for arrow, name in _WHOLE.items() if name == native)
    return Mapped(ColumnType(wider, native))


_SIZED: Final = sized(pa.string(), "VARCHAR", LONGEST_VARCHAR, "LONGTEXT")
_MAKES: Final[dict[str, Make]] = {
    "boolean": always("TINYINT(1)", pa.bool_()),
    "int": _int,
    "uint64": always("DECIMAL(20,0)", pa.decimal128(20, 0)),
    "decimal": decimals("DECIMAL", _DIGITS, _SCALE, "LONGTEXT"),
    "numeric": as_text("LONGTEXT", "kept as text: DECIMAL needs a precision"),
    "float": always("FLOAT", pa.float32()),
    "double": always("DOUBLE", pa.float64()),
    "text": _SIZED,
    "char": padded(_SIZED),  # not CHAR, which takes blanks away and may cut what is too long
    "bytes": sized(pa.binary(), "VARBINARY", LONGEST_VARBINARY, "LONGBLOB"),
    "date": always("DATE", pa.date32()),
    "time": always("TIME(6)", pa.time64("us"), length=6),
    "timetz": as_text("VARCHAR(32)", "kept as text"),
    "duration": always("VARCHAR(32)", pa.string(), "kept as text", Annotation.DURATION, length=32),
    "timestamp": always("DATETIME(6)", pa.timestamp("us"), length=6),
    "instant": always("DATETIME(6)", pa.timestamp("us", tz="UTC"), _INSTANT, length=6),
    "year": always("SMALLINT", pa.int16(), annotation=Annotation.YEAR),
    "interval": as_text("LONGTEXT", "kept as text"),
    "json": always("JSON", pa.string(), _DOCUMENT, Annotation.JSON),
    "uuid": always("VARCHAR(36)", pa.string(), annotation=Annotation.UUID, length=36),
    "enum": as_text("LONGTEXT", "kept as text: any label is taken"),
    "set": as_text("LONGTEXT", "kept as text: any labels are taken"),
    "bit": as_text("LONGTEXT", "kept as text of 0 and 1"),
    "array": always("JSON", pa.string(), "a JSON array: of any size, its elements of any type", Annotation.JSON),
}


def _read(arrow: pa.DataType, annotation: Annotation = Annotation.NONE) -> Read:
    return lambda native, numbers: ColumnType(arrow, native, annotation)


def _read_decimal(native: str, numbers: tuple[int, ...]) -> ColumnType:
    precision, scale = (*numbers, *(10, 0)[len(numbers) :])
    make = pa.decimal128 if precision <= 38 else pa.decimal256
    return ColumnType(make(precision, scale), native)


def _read_length(arrow: pa.DataType) -> Read:
    return lambda native, numbers: ColumnType(arrow, native, length=numbers[0] if numbers else None)


def _read_time(arrow: pa.DataType) -> Read:
    return lambda native, numbers: ColumnType(arrow, native, length=numbers[0] if numbers else 0)


_TEXT, _BYTES = _read_length(pa.string()), _read_length(pa.binary())
_UNBOUND_TEXT, _UNBOUND_BYTES = _read(pa.string()), _read(pa.binary())

TYPES: Final = TypeMap(
    makes=_MAKES,
    reads={
        "TINYINT": _read(pa.int8()),
        "BOOL": _read(pa.int8()),
        "SMALLINT": _read(pa.int16()),
        "MEDIUMINT": _read(pa.int32()),
        "INT": _read(pa.int32()),
        "BIGINT": _read(pa.int64()),
        "TINYINT UNSIGNED": _read(pa.uint8()),
        "SMALLINT UNSIGNED": _read(pa.uint16()),
        "MEDIUMINT UNSIGNED": _read(pa.uint32()),
        "INT UNSIGNED": _read(pa.uint32()),
        "BIGINT UNSIGNED": _read(pa.uint64()),
        "DECIMAL": _read_decimal,
        "FLOAT": _read(pa.float32()),
        "DOUBLE": _read(pa.float64()),
        "CHAR": _TEXT,
        "VARCHAR": _TEXT,
        "TINYTEXT": _read_length(pa.string()),
        "TEXT": _UNBOUND_TEXT,
        "MEDIUMTEXT": _UNBOUND_TEXT,
        "LONGTEXT": _UNBOUND_TEXT,
        "BINARY": _BYTES,
        "VARBINARY": _BYTES,
        "TINYBLOB": _UNBOUND_BYTES,
        "BLOB": _UNBOUND_BYTES,
        "MEDIUMBLOB": _UNBOUND_BYTES,
        "LONGBLOB": _UNBOUND_BYTES,
        "DATE": _read(pa.date32()),
        "TIME": _read_time(pa.time64("us")),
        "DATETIME": _read_time(pa.timestamp("us")),
        "YEAR": _read(pa.int16()),
        "JSON": _read(pa.string(), Annotation.JSON),
    },
)
