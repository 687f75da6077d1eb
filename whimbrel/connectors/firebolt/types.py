"""Column types: what a source's become here, and what Firebolt's own are to us (docs/engines/firebolt.md)."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from whimbrel.connectors.firebolt.capabilities import CAPABILITIES
from whimbrel.connectors.sql.typemap import Make, Mapped, Read, TypeMap, always, as_text, decimals, padded
from whimbrel.model.table import Annotation, ColumnType

_DIGITS: Final = CAPABILITIES.decimal_digits or 0
_INTEGER: Final = frozenset({pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16()})


def _int(source: ColumnType) -> Mapped:
    """There are two whole types, of 32 and of 64 bits."""
    if source.arrow in _INTEGER:
        return Mapped(ColumnType(pa.int32(), "INTEGER"))
    return Mapped(ColumnType(pa.int64(), "BIGINT"))


def _time(source: ColumnType) -> Mapped:
    made = ColumnType(pa.string(), "TEXT", Annotation.DURATION, source.length)
    return Mapped(made, "kept as text: Firebolt has no time of day")


_MAKES: Final[dict[str, Make]] = {
    "boolean": always("BOOLEAN", pa.bool_()),
    "int": _int,
    "uint64": always("NUMERIC(20,0)", pa.decimal128(20, 0)),
    "decimal": decimals("NUMERIC", _DIGITS, _DIGITS, "TEXT"),
    "numeric": as_text("TEXT", "kept as text: NUMERIC needs a precision"),
    "float": always("REAL", pa.float32()),
    "double": always("DOUBLE PRECISION", pa.float64()),
    "text": as_text("TEXT"),
    "char": padded(as_text("TEXT")),
    "bytes": always("BYTEA", pa.binary()),
    "date": always("DATE", pa.date32()),
    "time": _time,
    "timetz": as_text("TEXT", "kept as text"),
    "duration": _time,
    "timestamp": always("TIMESTAMP", pa.timestamp("us"), length=6),
    "instant": always("TIMESTAMPTZ", pa.timestamp("us", tz="UTC"), length=6),
    "year": always("INTEGER", pa.int32(), annotation=Annotation.YEAR),
    "interval": as_text("TEXT", "kept as text"),
    "json": always("TEXT", pa.string(), "kept as text", Annotation.JSON),
    "uuid": always("TEXT", pa.string(), annotation=Annotation.UUID),
    "enum": as_text("TEXT", "kept as text: any label is taken"),
    "set": as_text("TEXT", "kept as text: any labels are taken"),
    "bit": as_text("TEXT", "kept as text of 0 and 1"),
    "array": always("TEXT", pa.string(), "a JSON array, as text", Annotation.JSON),
}


def _read(arrow: pa.DataType, length: int | None = None) -> Read:
    return lambda native, numbers: ColumnType(arrow, native, length=length)


def _read_decimal(native: str, numbers: tuple[int, ...]) -> ColumnType:
    precision = numbers[0] if numbers else _DIGITS
    return ColumnType(pa.decimal128(precision, numbers[1] if len(numbers) > 1 else min(9, precision)), native)


TYPES: Final = TypeMap(
    makes=_MAKES,
    reads={
        **dict.fromkeys(("BOOLEAN", "BOOL"), _read(pa.bool_())),
        **dict.fromkeys(("INTEGER", "INT", "INT4"), _read(pa.int32())),
        **dict.fromkeys(("BIGINT", "LONG", "INT8"), _read(pa.int64())),
        **dict.fromkeys(("NUMERIC", "DECIMAL"), _read_decimal),
        **dict.fromkeys(("REAL", "FLOAT4"), _read(pa.float32())),
        **dict.fromkeys(("DOUBLE PRECISION", "DOUBLE", "FLOAT", "FLOAT8"), _read(pa.float64())),
        **dict.fromkeys(("TEXT", "STRING", "VARCHAR"), _read(pa.string())),
        "BYTEA": _read(pa.binary()),
        **dict.fromkeys(("DATE", "PGDATE"), _read(pa.date32())),
        **dict.fromkeys(("TIMESTAMP", "TIMESTAMPNTZ"), _read(pa.timestamp("us"), 6)),
        "TIMESTAMPTZ": _read(pa.timestamp("us", tz="UTC"), 6),
    },
)
