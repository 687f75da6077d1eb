"""Column types: what a source's become here, and what Databricks' own are to us (docs/engines/databricks.md)."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from whimbrel.connectors.databricks.capabilities import CAPABILITIES
from whimbrel.connectors.sql.typemap import Make, Mapped, Read, TypeMap, always, as_text, decimals, padded
from whimbrel.model.table import Annotation, ColumnType

_DIGITS: Final = CAPABILITIES.decimal_digits or 0
_SIGNED: Final = {8: "TINYINT", 16: "SMALLINT", 32: "INT", 64: "BIGINT"}
_WIDER: Final = {8: pa.int16(), 16: pa.int32(), 32: pa.int64()}  # for unsigned ones, which Databricks has not


def _int(source: ColumnType) -> Mapped:
    width = source.arrow.bit_width
    arrow = _WIDER[width] if pa.types.is_unsigned_integer(source.arrow) else source.arrow
    return Mapped(ColumnType(arrow, _SIGNED[arrow.bit_width]))


def _time(source: ColumnType) -> Mapped:
    made = ColumnType(pa.string(), "STRING", Annotation.DURATION, source.length)
    return Mapped(made, "kept as text: Databricks has no time of day")


_MAKES: Final[dict[str, Make]] = {
    "boolean": always("BOOLEAN", pa.bool_()),
    "int": _int,
    "uint64": always("DECIMAL(20,0)", pa.decimal128(20, 0)),
    "decimal": decimals("DECIMAL", _DIGITS, _DIGITS, "STRING"),
    "numeric": as_text("STRING", "kept as text: DECIMAL needs a precision"),
    "float": always("FLOAT", pa.float32()),
    "double": always("DOUBLE", pa.float64()),
    "text": as_text("STRING"),
    "char": padded(as_text("STRING")),
    "bytes": always("BINARY", pa.binary()),
    "date": always("DATE", pa.date32()),
    "time": _time,
    "timetz": as_text("STRING", "kept as text"),
    "duration": _time,
    "timestamp": always("TIMESTAMP_NTZ", pa.timestamp("us"), length=6),
    "instant": always("TIMESTAMP", pa.timestamp("us", tz="UTC"), length=6),
    "year": always("SMALLINT", pa.int16(), annotation=Annotation.YEAR),
    "interval": as_text("STRING", "kept as text"),
    "json": always("STRING", pa.string(), "kept as text", Annotation.JSON),
    "uuid": always("STRING", pa.string(), annotation=Annotation.UUID),
    "enum": as_text("STRING", "kept as text: any label is taken"),
    "set": as_text("STRING", "kept as text: any labels are taken"),
    "bit": as_text("STRING", "kept as text of 0 and 1"),
    "array": always("STRING", pa.string(), "a JSON array, as text", Annotation.JSON),
}


def _read(arrow: pa.DataType, length: int | None = None) -> Read:
    return lambda native, numbers: ColumnType(arrow, native, length=length)


def _read_decimal(native: str, numbers: tuple[int, ...]) -> ColumnType:
    precision, scale = (*numbers, *(10, 0)[len(numbers) :])
    return ColumnType(pa.decimal128(precision, scale), native)


def _read_text(native: str, numbers: tuple[int, ...]) -> ColumnType:
    return ColumnType(pa.string(), native, length=numbers[0] if numbers else None)


TYPES: Final = TypeMap(
    makes=_MAKES,
    reads={
        "BOOLEAN": _read(pa.bool_()),
        "TINYINT": _read(pa.int8()),
        "BYTE": _read(pa.int8()),
        "SMALLINT": _read(pa.int16()),
        "SHORT": _read(pa.int16()),
        "INT": _read(pa.int32()),
        "INTEGER": _read(pa.int32()),
        "BIGINT": _read(pa.int64()),
        "LONG": _read(pa.int64()),
        "DECIMAL": _read_decimal,
        "FLOAT": _read(pa.float32()),
        "REAL": _read(pa.float32()),
        "DOUBLE": _read(pa.float64()),
        "STRING": _read_text,
        "VARCHAR": _read_text,
        "CHAR": _read_text,
        "BINARY": _read(pa.binary()),
        "DATE": _read(pa.date32()),
        "TIMESTAMP_NTZ": _read(pa.timestamp("us"), 6),
        "TIMESTAMP": _read(pa.timestamp("us", tz="UTC"), 6),
    },
)
