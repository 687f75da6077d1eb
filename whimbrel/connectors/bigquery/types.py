"""Column types: what a source's become here, and what BigQuery's own are to us (docs/engines/bigquery.md)."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from whimbrel.connectors.bigquery.capabilities import CAPABILITIES
from whimbrel.connectors.sql.typemap import Make, Mapped, Read, TypeMap, always, as_text, padded, sized
from whimbrel.model.table import Annotation, ColumnType

_DIGITS: Final = CAPABILITIES.decimal_digits or 0
_NUMERIC_WHOLE, _NUMERIC_SCALE = 29, 9  # digits before and behind the point of a NUMERIC
_WIDER: Final = {8: pa.int16(), 16: pa.int32(), 32: pa.int64()}  # for unsigned ones
LONGEST: Final = 10_485_760  # characters or bytes that a length may name; a value may be as long as a row, 100 MB
_DOCUMENT: Final = (
    "keys are put in order and blanks dropped, of a key that comes twice in an object the first value stays; a number "
    "that is no 64-bit integer or double is refused"
)


def _int(source: ColumnType) -> Mapped:
    unsigned = pa.types.is_unsigned_integer(source.arrow)
    return Mapped(ColumnType(_WIDER[source.arrow.bit_width] if unsigned else source.arrow, "INT64"))


def _decimal(source: ColumnType) -> Mapped:
    precision, scale = source.arrow.precision, source.arrow.scale
    if precision > _DIGITS or not 0 <= scale <= precision:
        return Mapped(ColumnType(pa.string(), "STRING"), f"kept as text: it has more than {_DIGITS} digits")
    small = scale <= _NUMERIC_SCALE and precision - scale <= _NUMERIC_WHOLE
    name = "NUMERIC" if small else "BIGNUMERIC"
    return Mapped(ColumnType(pa.decimal128(precision, scale), f"{name}({precision},{scale})"))


_TEXT: Final = sized(pa.string(), "STRING", LONGEST)
_MAKES: Final[dict[str, Make]] = {
    "boolean": always("BOOL", pa.bool_()),
    "int": _int,
    "uint64": always("NUMERIC(20,0)", pa.decimal128(20, 0)),
    "decimal": _decimal,
    "numeric": as_text("STRING", "kept as text: NUMERIC needs a precision"),
    "float": always("FLOAT64", pa.float64()),
    "double": always("FLOAT64", pa.float64()),
    "text": _TEXT,
    "char": padded(_TEXT),
    "bytes": sized(pa.binary(), "BYTES", LONGEST),
    "date": always("DATE", pa.date32()),
    "time": always("TIME", pa.time64("us"), length=6),
    "timetz": as_text("STRING", "kept as text"),
    "duration": always("STRING", pa.string(), "kept as text: TIME ends at a day", Annotation.DURATION),
    "timestamp": always("DATETIME", pa.timestamp("us"), length=6),
    "instant": always("TIMESTAMP", pa.timestamp("us", tz="UTC"), length=6),
    "year": always("INT64", pa.int16(), annotation=Annotation.YEAR),
    "interval": as_text("STRING", "kept as text"),
    "json": always("JSON", pa.string(), _DOCUMENT, Annotation.JSON),
    "uuid": always("STRING(36)", pa.string(), annotation=Annotation.UUID),
    "enum": as_text("STRING", "kept as text: any label is taken"),
    "set": as_text("STRING", "kept as text: any labels are taken"),
    "bit": as_text("STRING", "kept as text of 0 and 1"),
    "array": always("JSON", pa.string(), "a JSON array: of any size, its elements of any type", Annotation.JSON),
}


def _read(arrow: pa.DataType, annotation: Annotation = Annotation.NONE, length: int | None = None) -> Read:
    return lambda native, numbers: ColumnType(arrow, native, annotation, length)


def _read_sized(arrow: pa.DataType) -> Read:
    return lambda native, numbers: ColumnType(arrow, native, length=numbers[0] if numbers else None)


def _read_decimal(precision: int, scale: int) -> Read:
    def read(native: str, numbers: tuple[int, ...]) -> ColumnType:
        digits, behind = (*numbers, *(0,) * (2 - len(numbers))) if numbers else (precision, scale)
        make = pa.decimal128 if digits <= _DIGITS else pa.decimal256
        return ColumnType(make(digits, behind), native)

    return read


_READ_TEXT: Final = _read_sized(pa.string())
TYPES: Final = TypeMap(
    makes=_MAKES,
    reads={
        "BOOL": _read(pa.bool_()),
        "BOOLEAN": _read(pa.bool_()),
        "INT64": _read(pa.int64()),
        "INTEGER": _read(pa.int64()),
        "NUMERIC": _read_decimal(38, 9),
        "BIGNUMERIC": _read_decimal(76, 38),
        "FLOAT64": _read(pa.float64()),
        "FLOAT": _read(pa.float64()),
        "STRING": _READ_TEXT,
        "BYTES": _read_sized(pa.binary()),
        "DATE": _read(pa.date32()),
        "TIME": _read(pa.time64("us"), length=6),
        "DATETIME": _read(pa.timestamp("us"), length=6),
        "TIMESTAMP": _read(pa.timestamp("us", tz="UTC"), length=6),
        "JSON": _read(pa.string(), Annotation.JSON),
    },
)
