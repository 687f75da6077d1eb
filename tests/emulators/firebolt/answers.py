"""DuckDB's results as the driver reads Firebolt's: names of types, and values as JSON has them."""

from __future__ import annotations

import struct
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

_NAMES = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_int64, "long"),
    (pa.types.is_integer, "int"),
    (pa.types.is_float32, "float"),
    (pa.types.is_float64, "double"),
    (pa.types.is_date, "date"),
    (pa.types.is_binary, "bytea"),
    (pa.types.is_large_binary, "bytea"),
)


def type_name(arrow: pa.DataType) -> str:
    if pa.types.is_decimal(arrow):
        return f"numeric({arrow.precision}, {arrow.scale})"
    if pa.types.is_timestamp(arrow):
        return "timestamptz" if arrow.tz else "timestamp"
    return next((name for test, name in _NAMES if test(arrow)), "text")


def rows(table: pa.Table) -> list[list[Any]]:
    single = [pa.types.is_float32(c.type) for c in table.columns]
    columns = [[_value(v, one) for v in c.to_pylist()] for c, one in zip(table.columns, single, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def meta(table: pa.Table) -> list[dict[str, str]]:
    return [{"name": f.name, "type": f"{type_name(f.type)} null"} for f in table.schema]


def _value(value: Any, single: bool) -> Any:
    if isinstance(value, float):
        return _float(value, single)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 31 else str(value)
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, datetime):
        zone = "+00" if value.tzinfo else ""
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ") + zone if zone else value.isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def _float(value: float, single: bool) -> Any:
    if value != value:
        return "nan"
    if value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    if not single:
        return value
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        if struct.pack("f", float(text)) == struct.pack("f", value):
            return float(text)
    return value
