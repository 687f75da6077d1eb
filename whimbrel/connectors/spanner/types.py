"""Column types: what a source's become here, and what Spanner's own are to us (docs/engines/spanner.md)."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from whimbrel.connectors.spanner.capabilities import CAPABILITIES
from whimbrel.connectors.sql.typemap import Make, Mapped, Read, TypeMap, always, as_text
from whimbrel.model.table import Annotation, ColumnType

_DIGITS, _SCALE = CAPABILITIES.decimal_digits or 0, CAPABILITIES.decimal_scale or 0
_WIDER: Final = {8: pa.int16(), 16: pa.int32(), 32: pa.int64()}  # for unsigned ones
MOST_CHARACTERS: Final = 2_621_440  # of a STRING
MOST_BYTES: Final = 10_485_760  # of a value
_DOCUMENT: Final = (
    "members are put in order and blanks dropped, of a key that comes twice in an object the first value stays; a "
    "number that is no 64-bit integer or double is refused"
)
_MOMENT: Final = "kept as an instant, as if its clock were UTC's: Spanner has no time without a zone"


def _int(source: ColumnType) -> Mapped:
    unsigned = pa.types.is_unsigned_integer(source.arrow)
    return Mapped(ColumnType(_WIDER[source.arrow.bit_width] if unsigned else source.arrow, "INT64"))


def _decimal(source: ColumnType) -> Mapped:
    precision, scale = source.arrow.precision, source.arrow.scale
    if not 0 <= scale <= _SCALE or precision - scale > _DIGITS - _SCALE or precision < scale:
        note = f"kept as text: NUMERIC has {_DIGITS - _SCALE} digits before the point and {_SCALE} behind it"
        return Mapped(ColumnType(pa.string(), "STRING(MAX)"), note)
    return Mapped(ColumnType(pa.decimal128(precision, scale), "NUMERIC"))


def _sized(arrow: pa.DataType, name: str, most: int, source: ColumnType) -> ColumnType:
    if source.length is None or source.length > most:
        return ColumnType(arrow, f"{name}(MAX)")
    length = max(1, source.length)
    return ColumnType(arrow, f"{name}({length})", length=length)


def _text(source: ColumnType) -> Mapped:
    return Mapped(_sized(pa.string(), "STRING", MOST_CHARACTERS, source))


def _char(source: ColumnType) -> Mapped:
    made = _sized(pa.string(), "STRING", MOST_CHARACTERS, source)
    note = "kept as the source shows it; blanks at its end count here"
    return Mapped(ColumnType(pa.string(), made.native, Annotation.CHAR, made.length), note)


def _bytes(source: ColumnType) -> Mapped:
    return Mapped(_sized(pa.binary(), "BYTES", MOST_BYTES, source))


_CLOCK = always("STRING(MAX)", pa.string(), "kept as text: Spanner has no time of the day", Annotation.DURATION)
_MAKES: Final[dict[str, Make]] = {
    "boolean": always("BOOL", pa.bool_()),
    "int": _int,
    "uint64": always("NUMERIC", pa.decimal128(20, 0)),
    "decimal": _decimal,
    "numeric": as_text("STRING(MAX)", "kept as text: NUMERIC has 29 digits before the point and 9 behind it"),
    "float": always("FLOAT32", pa.float32()),
    "double": always("FLOAT64", pa.float64()),
    "text": _text,
    "char": _char,
    "bytes": _bytes,
    "date": always("DATE", pa.date32()),
    "time": _CLOCK,
    "timetz": as_text("STRING(MAX)", "kept as text"),
    "duration": _CLOCK,
    "timestamp": always("TIMESTAMP", pa.timestamp("us"), _MOMENT, length=6),
    "instant": always("TIMESTAMP", pa.timestamp("us", tz="UTC"), length=6),
    "year": always("INT64", pa.int16(), annotation=Annotation.YEAR),
    "interval": as_text("STRING(MAX)", "kept as text"),
    "json": always("JSON", pa.string(), _DOCUMENT, Annotation.JSON),
    "uuid": always("STRING(36)", pa.string(), annotation=Annotation.UUID, length=36),
    "enum": as_text("STRING(MAX)", "kept as text: any label is taken"),
    "set": as_text("STRING(MAX)", "kept as text: any labels are taken"),
    "bit": as_text("STRING(MAX)", "kept as text of 0 and 1"),
    "array": always("JSON", pa.string(), "a JSON array: of any size, its elements of any type", Annotation.JSON),
}


def _read(arrow: pa.DataType, annotation: Annotation = Annotation.NONE, length: int | None = None) -> Read:
    return lambda native, numbers: ColumnType(arrow, native, annotation, length)


def _read_sized(arrow: pa.DataType) -> Read:
    return lambda native, numbers: ColumnType(arrow, native, length=numbers[0] if numbers else None)


_READS: Final[dict[str, Read]] = {
    "BOOL": _read(pa.bool_()),
    "INT64": _read(pa.int64()),
    "NUMERIC": _read(pa.decimal128(_DIGITS, _SCALE)),
    "FLOAT32": _read(pa.float32()),
    "FLOAT64": _read(pa.float64()),
    "STRING": _read_sized(pa.string()),
    "BYTES": _read_sized(pa.binary()),
    "DATE": _read(pa.date32()),
    "TIMESTAMP": _read(pa.timestamp("us", tz="UTC"), length=6),
    "JSON": _read(pa.string(), Annotation.JSON),
}

TYPES = TypeMap(_MAKES, _READS)
