"""Key ranges as JSON-safe text, and the conditions that select them.

Values are compared by the server with the column's own type and collation; enums and sets, which sort by number there,
are compared as numbers, and so are years, because 67 would be taken for 2067. Ranges are half-open, and a bound may
name only the first columns of the key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from whimbrel.connectors.mysql.connection import quote_identifier, quote_literal
from whimbrel.model.table import Annotation, Column, Table

Key = Sequence[str]


def condition(table: Table, bounds: Any) -> str:
    """The WHERE condition of a chunk's bounds; '' for a whole table."""
    if not bounds:
        return ""
    columns = [table.column(name) for name in table.key]
    parts = []
    if bounds.get("low") is not None:
        parts.append(_from(columns, bounds["low"]))
    if bounds.get("high") is not None:
        parts.append(_before(columns, bounds["high"]))
    return " AND ".join(parts)


def index_of(table: Table) -> str:
    """The name of the key's index."""
    if table.primary_key:
        return "PRIMARY"
    return next(i.name for i in table.indexes if i.unique and tuple(i.columns) == table.key)


def readable(column: Column) -> str:
    """An expression for a key value as the text that bounds keep."""
    name = quote_identifier(column.name)
    if pa.types.is_binary(column.type.arrow):
        return f"HEX({name})"
    if _by_number(column):
        return f"({name} + 0)"
    if pa.types.is_float32(column.type.arrow):
        return f"({name} * 1e0)"
    if pa.types.is_string(column.type.arrow) and column.type.annotation is not Annotation.UUID:
        return f"HEX(CONVERT({name} USING utf8mb4))"
    return f"CONCAT({name})"


def _by_number(column: Column) -> bool:
    return column.type.annotation in (Annotation.ENUM, Annotation.SET, Annotation.BIT, Annotation.YEAR)


def _term(column: Column) -> str:
    name = quote_identifier(column.name)
    return f"({name} + 0)" if _by_number(column) else name


def _value(column: Column, text: str) -> str:
    """A constant that the server compares with the column by the column's rules."""
    arrow = column.type.arrow
    if pa.types.is_binary(arrow):
        return f"x'{bytes.fromhex(text).hex()}'"
    if _by_number(column) or pa.types.is_integer(arrow) or pa.types.is_decimal(arrow) or pa.types.is_floating(arrow):
        return _number(text)
    if pa.types.is_string(arrow) and column.type.annotation is not Annotation.UUID:
        return f"_utf8mb4 x'{bytes.fromhex(text).hex()}'"
    return quote_literal(text)


def _number(text: str) -> str:
    """Bounds come from our own catalog, but are SQL here: nothing but a number may pass."""
    float(text)
    return text


def _from(columns: Sequence[Column], low: Key) -> str:
    """``key >= low``, written out so that the index on the key is used."""
    return _compared(columns, low, ">", ">=")


def _before(columns: Sequence[Column], high: Key) -> str:
    """``key < high``."""
    return _compared(columns, high, "<", "<")


def _compared(columns: Sequence[Column], bound: Key, inner: str, last: str) -> str:
    """``a > x OR (a = x AND (b > y OR ...))``, with the plain condition on the first column in front of it."""
    pairs = [(_term(c), _value(c, v)) for c, v in zip(columns, bound, strict=False)]
    term, value = pairs[-1]
    text = f"{term} {last} {value}"
    for term, value in reversed(pairs[:-1]):
        text = f"({term} {inner} {value} OR ({term} = {value} AND {text}))"
    if len(pairs) > 1:
        term, value = pairs[0]
        text = f"{term} {inner}= {value} AND {text}"
    return text
