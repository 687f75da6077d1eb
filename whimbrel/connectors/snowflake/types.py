"""Column types: what a source's become here, and what Snowflake's own are to us (docs/engines/snowflake.md)."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from whimbrel.connectors.snowflake.capabilities import CAPABILITIES
from whimbrel.connectors.sql.typemap import Make, Mapped, Read, TypeMap, always, as_text, decimals, padded, sized
from whimbrel.model.table import Annotation, ColumnType

LONGEST_TEXT: Final = 16_777_216  # characters of a VARCHAR without a length
LONGEST_BYTES: Final = 8_388_608  # of a BINARY without a length
_DIGITS: Final = CAPABILITIES.decimal_digits or 0
_SCALE: Final = CAPABILITIES.decimal_scale or 0
_WHOLE: Final = {8: "NUMBER(3,0)", 16: "NUMBER(5,0)", 32: "NUMBER(10,0)", 64: "NUMBER(19,0)"}
_DOCUMENT: Final = "numbers beyond 38 digits become floating point, and keys are sorted"


def _int(source: ColumnType) -> Mapped:
    return Mapped(ColumnType(source.arrow, _WHOLE[source.arrow.bit_width]))


def _time(source: ColumnType) -> Mapped:
    return Mapped(ColumnType(pa.time64("us"), "TIME(6)", length=6))


_TEXT: Final = sized(pa.string(), "VARCHAR", LONGEST_TEXT)
_MAKES: Final[dict[str, Make]] = {
    "boolean": always("BOOLEAN", pa.bool_()),
    "int": _int,
    "uint64": always("NUMBER(20,0)", pa.decimal128(20, 0)),
    "decimal": decimals("NUMBER", _DIGITS, _SCALE, "VARCHAR"),
    "numeric": as_text("VARCHAR", "kept as text: NUMBER needs a precision"),
    "float": always("FLOAT", pa.float64()),
    "double": always("FLOAT", pa.float64()),
    "text": _TEXT,
    "char": padded(_TEXT),
    "bytes": sized(pa.binary(), "BINARY", LONGEST_BYTES),
    "date": always("DATE", pa.date32()),
    "time": _time,
    "timetz": as_text("VARCHAR", "kept as text"),
    "duration": always("VARCHAR", pa.string(), "kept as text: TIME ends at a day", Annotation.DURATION),
    "timestamp": always("TIMESTAMP_NTZ(6)", pa.timestamp("us"), length=6),
    "instant": always("TIMESTAMP_TZ(6)", pa.timestamp("us", tz="UTC"), length=6),
    "year": always("NUMBER(4,0)", pa.int16(), annotation=Annotation.YEAR),
    "interval": as_text("VARCHAR", "kept as text"),
    "json": always("VARIANT", pa.string(), _DOCUMENT, Annotation.JSON),
    "uuid": always("VARCHAR(36)", pa.string(), annotation=Annotation.UUID),
    "enum": as_text("VARCHAR", "kept as text: any label is taken"),
    "set": as_text("VARCHAR", "kept as text: any labels are taken"),
    "bit": as_text("VARCHAR", "kept as text of 0 and 1"),
    "array": always("ARRAY", pa.string(), "a JSON array: of any size, its elements of any type", Annotation.JSON),
}


def _read_number(native: str, numbers: tuple[int, ...]) -> ColumnType:
    precision, scale = (*numbers, *(_DIGITS, 0)[len(numbers) :])
    return ColumnType(pa.decimal128(precision, scale), native)


def _read_text(native: str, numbers: tuple[int, ...]) -> ColumnType:
    length = numbers[0] if numbers and numbers[0] < LONGEST_TEXT else None
    return ColumnType(pa.string(), native, length=length)


def _read_bytes(native: str, numbers: tuple[int, ...]) -> ColumnType:
    length = numbers[0] if numbers and numbers[0] < LONGEST_BYTES else None
    return ColumnType(pa.binary(), native, length=length)


def _read_time(arrow: pa.DataType) -> Read:
    return lambda native, numbers: ColumnType(arrow, native, length=numbers[0] if numbers else 9)


def _read(arrow: pa.DataType, annotation: Annotation = Annotation.NONE) -> Read:
    return lambda native, numbers: ColumnType(arrow, native, annotation)


TYPES: Final = TypeMap(
    makes=_MAKES,
    reads={
        "BOOLEAN": _read(pa.bool_()),
        "NUMBER": _read_number,
        "FIXED": _read_number,
        "FLOAT": _read(pa.float64()),
        "REAL": _read(pa.float64()),
        "TEXT": _read_text,
        "VARCHAR": _read_text,
        "BINARY": _read_bytes,
        "DATE": _read(pa.date32()),
        "TIME": _read_time(pa.time64("us")),
        "TIMESTAMP_NTZ": _read_time(pa.timestamp("us")),
        "TIMESTAMP_TZ": _read_time(pa.timestamp("us", tz="UTC")),
        "TIMESTAMP_LTZ": _read_time(pa.timestamp("us", tz="UTC")),
        "VARIANT": _read(pa.string(), Annotation.JSON),
        "OBJECT": _read(pa.string(), Annotation.JSON),
        "ARRAY": _read(pa.string(), Annotation.JSON),
    },
)
