"""PostgreSQL's defaults, checks and computed columns in neutral words, as far as these have any."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import pyarrow as pa
from sqlglot import exp

from whimbrel.connectors.sql.expressions import parsed, tree_of
from whimbrel.model.default import Bits, Bytes, Default, EmptyList, NewUuid, NextValue, Now, Today, Value
from whimbrel.model.expression import Expression, Null, Number, Text, Truth
from whimbrel.model.table import Annotation, ColumnType

DIALECT: Final = "postgres"

_LITERAL = re.compile(r"^\(*(?P<kind>[EB]?)'(?P<text>(?:[^']|'')*)'\)*(?:::[\w \"().,\[\]]+)?$", re.S)
_NUMBER = re.compile(r"^\(*(?P<number>[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\)*(?:::[\w \"().,]+)?$")
_WHOLE = re.compile(r"[-+]?\d+")
_DIGITS = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_NOW = re.compile(
    r"^(?:now\(\)|CURRENT_TIMESTAMP|(?:transaction|statement|clock)_timestamp\(\)|LOCALTIMESTAMP)"
    r"(?:\(\d\))?(?:::timestamp[\w ]*)?$",
    re.I,
)
_UTC_NOW = re.compile(
    r"^\(*(?:timezone\('utc'(?:::text)?, (?:now\(\)|CURRENT_TIMESTAMP)\)"
    r"|(?:now\(\)|CURRENT_TIMESTAMP) AT TIME ZONE 'utc'(?:::text)?)\)*$",
    re.I,
)
_NEXT = re.compile(r"nextval\('(?P<name>(?:[^']|'')+)'::regclass\)\Z")
_BYTES = re.compile(r"\\x(?P<hex>(?:[0-9a-fA-F]{2})*)")
_TRUTHS = {"t": True, "true": True, "f": False, "false": False}
_TEXT_TYPES = ("text", "varchar", "char", "bpchar")
_NUMBER_TYPES = ("decimal", "int", "bigint", "smallint", "double")
_TEXTUAL = (Annotation.NONE, Annotation.CHAR, Annotation.ENUM)


def default(text: str, column: ColumnType) -> Default:
    """A column's default as pg_get_expr shows it."""
    return Default(text, DIALECT, _value(text.strip(), column))


def _value(text: str, column: ColumnType) -> Value | None:
    lower = text.lower()
    if lower == "null" or lower.startswith("null::"):
        return Null()
    if lower in ("true", "false"):
        return Truth(lower == "true")
    if (number := _NUMBER.match(text)) is not None:
        return Number(number["number"])
    if _NOW.match(text) or _UTC_NOW.match(text):
        return Now(utc=_UTC_NOW.match(text) is not None)
    if lower == "current_date":
        return Today()
    if lower in ("gen_random_uuid()", "uuid_generate_v4()"):
        return NewUuid()
    if (sequence := _NEXT.match(text)) is not None:
        return NextValue(sequence["name"].replace("''", "'"))
    literal = _LITERAL.match(text)
    if literal is None or (literal["kind"] == "E" and "\\" in text):
        return None
    value = literal["text"].replace("''", "'")
    return Bits(value) if literal["kind"] == "B" else _constant(value, column)


def _constant(text: str, column: ColumnType) -> Value | None:
    """A text constant, cast to the column's type."""
    arrow = column.arrow
    if column.annotation is Annotation.ARRAY:
        return EmptyList() if text == "{}" else None
    if column.annotation is Annotation.BIT:
        return Bits(text)
    if pa.types.is_boolean(arrow):
        return Truth(_TRUTHS[text]) if text in _TRUTHS else None
    if pa.types.is_binary(arrow):
        found = _BYTES.fullmatch(text)
        return Bytes(bytes.fromhex(found["hex"])) if found else None
    if pa.types.is_timestamp(arrow) and arrow.tz:
        return Text(text.removesuffix("+00")) if text.endswith("+00") else None
    return Text(text)


def expression(text: str, columns: Mapping[str, ColumnType]) -> Expression:
    """A check or a computed column as pg_get_expr shows it; ``columns`` are the table's types by name."""
    found = parsed(text, DIALECT)
    tree = None
    if found is not None:
        for _ in range(2):
            found = found.transform(_without_cast, columns)
        tree = tree_of(found.transform(_any_to_in))
    return Expression(text, DIALECT, tree)


def _without_cast(node: exp.Expr, columns: Mapping[str, ColumnType]) -> exp.Expr:
    """``(status)::text = 'new'::text``: casts of text to text say nothing, those of constants their type."""
    if not isinstance(node, exp.Cast):
        return node
    inner: exp.Expr = node.this.unnest()
    if isinstance(inner, exp.Array) and node.to.is_type("array") and _keeps_elements(node.to):
        return inner
    if node.to.expressions:  # a length or a scale, which cuts or rounds
        return node
    if node.to.is_type(*_TEXT_TYPES) and _is_text(inner, columns):
        return inner
    if node.to.is_type(*_NUMBER_TYPES) and isinstance(inner, exp.Literal) and _is_number(inner.name, node.to):
        return exp.Literal.number(inner.this)
    return node


def _keeps_elements(array: exp.DataType) -> bool:
    """Whether a cast to such an array says no more than the texts in it."""
    return all(isinstance(e, exp.DataType) and e.is_type(*_TEXT_TYPES) and not e.expressions for e in array.expressions)


def _is_number(digits: str, type_: exp.DataType) -> bool:
    """Whether a constant is that number in this type too: neither NaN, nor rounded by the cast."""
    return (_DIGITS if type_.is_type("decimal", "double") else _WHOLE).fullmatch(digits) is not None


def _is_text(node: exp.Expr, columns: Mapping[str, ColumnType]) -> bool:
    if isinstance(node, exp.Column):
        found = columns.get(node.name)
        return found is not None and pa.types.is_string(found.arrow) and found.annotation in _TEXTUAL
    return isinstance(node, exp.Cast) or (isinstance(node, exp.Literal) and node.is_string)


def _any_to_in(node: exp.Expr) -> exp.Expr:
    """``x = ANY (ARRAY['a', 'b'])`` is ``x IN ('a', 'b')``."""
    if isinstance(node, exp.EQ) and isinstance(node.expression, exp.Any):
        array = node.expression.this.unnest()
        if isinstance(array, exp.Array) and array.expressions:
            return exp.In(this=node.this, expressions=array.expressions)
    return node
