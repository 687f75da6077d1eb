"""Defaults, checks and generated columns of other engines, carried over only where their meaning is certain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from whimbrel.connectors.postgres.connection import literal
from whimbrel.model.table import Annotation, ColumnType

_DIALECTS = {"mysql": "mysql", "mariadb": "mysql", "oracle": "oracle", "sqlserver": "tsql"}
_ZERO_DATE = re.compile(r"0000-|\d{4}-00-|\d{4}-\d\d-00")

Family = Literal["number", "text", "time", "truth"]


def parse(sql: str, source_type: str) -> exp.Expr | None:
    """An expression in the source's dialect; None when it does not parse."""
    try:
        parsed = sqlglot.parse_one(sql, read=_DIALECTS.get(source_type))
    except SqlglotError:
        return None
    while isinstance(parsed, exp.Paren | exp.Introducer):
        parsed = parsed.this if isinstance(parsed, exp.Paren) else parsed.expression
    return parsed


def default(sql: str, column: ColumnType, source_type: str) -> str | None:
    """A column's default for PostgreSQL; None when it has none or its meaning is not certain."""
    found = parse(sql, source_type)
    if isinstance(found, exp.CurrentTimestamp) or _is_call(found, "now"):
        return _now(column)
    if isinstance(found, exp.UtcTimestamp) and pa.types.is_timestamp(column.arrow) and not column.arrow.tz:
        return f"({_now(column)} AT TIME ZONE 'UTC')".replace("LOCALTIMESTAMP", "CURRENT_TIMESTAMP")
    if isinstance(found, exp.CurrentDate):
        return "CURRENT_DATE" if pa.types.is_date(column.arrow) else None
    if isinstance(found, exp.Uuid):
        return "gen_random_uuid()" if column.annotation is Annotation.UUID else "gen_random_uuid()::text"
    text = _constant(found)
    return None if text is None else _constant_default(text, column)


def is_null(sql: str, source_type: str) -> bool:
    """Whether a default says no more than having none."""
    return isinstance(parse(sql, source_type), exp.Null)


def _is_call(found: exp.Expr | None, name: str) -> bool:
    return isinstance(found, exp.Anonymous) and str(found.this).lower() == name


def _now(column: ColumnType) -> str | None:
    if not pa.types.is_timestamp(column.arrow):
        return "CURRENT_DATE" if pa.types.is_date(column.arrow) else None
    digits = "" if column.length in (None, 6) else f"({column.length})"
    return f"CURRENT_TIMESTAMP{digits}" if column.arrow.tz else f"LOCALTIMESTAMP{digits}"


def _constant(found: exp.Expr | None) -> str | bytes | int | None:
    """Text, raw bytes (hex literals), or a number's digits as they stand; a bit literal is a number."""
    if isinstance(found, exp.Neg) and isinstance(found.this, exp.Literal) and not found.this.is_string:
        return f"-{found.this.this}"
    if isinstance(found, exp.Literal):
        return str(found.this)
    if isinstance(found, exp.Boolean):
        return int(found.this)
    if isinstance(found, exp.BitString):
        return int(str(found.this), 2)
    if isinstance(found, exp.HexString):
        return bytes.fromhex(str(found.this))
    return None


def _constant_default(value: str | bytes | int, column: ColumnType) -> str | None:
    arrow = column.arrow
    if isinstance(value, bytes) and not pa.types.is_binary(arrow):
        value = int.from_bytes(value, "big")
    if pa.types.is_binary(arrow):
        raw = value if isinstance(value, bytes) else str(value).encode()
        return f"'\\x{raw.hex()}'::bytea"
    if column.annotation is Annotation.BIT:
        return f"B'{int(value):0{column.length or 1}b}'" if str(value).isdigit() else None
    if pa.types.is_boolean(arrow):
        return {"0": "false", "1": "true"}.get(str(value))
    if _family(column) == "time" and _ZERO_DATE.match(str(value)):
        return None
    return literal(str(value)).strip()


# --- checks and generated columns -----------------------------------------------------------------------------------


def expression(sql: str, columns: Mapping[str, ColumnType], source_type: str) -> str | None:
    """A check or a generated column's expression for PostgreSQL; None when its meaning there is not certain.

    Certain are comparisons within one family of types, NULL tests, and, or, not, sums, differences and products.
    """
    found = parse(sql, source_type)
    if found is None or _infer(found, columns) is None:
        return None
    return found.sql("postgres", identify=True)


def computed(sql: str, columns: Mapping[str, ColumnType], source_type: str) -> str | None:
    """A generated column's expression; what is a truth value in PostgreSQL is 1 or 0 elsewhere."""
    found = expression(sql, columns, source_type)
    parsed = parse(sql, source_type)
    is_truth = parsed is not None and _infer(parsed, columns) == "truth"
    return f"({found})::integer" if found is not None and is_truth else found


def _infer(node: exp.Expr, columns: Mapping[str, ColumnType]) -> Family | None:
    """The family of a node's value; None as soon as anything in it is not understood."""

    def all_of(*nodes: exp.Expr) -> set[Family | None]:
        return {_infer(n, columns) for n in nodes}

    match node:
        case exp.Column():
            found = columns.get(node.name)
            return _family(found) if found else None
        case exp.Literal():
            return "text" if node.is_string else "number"
        case exp.Paren():
            return _infer(node.this, columns)
        case exp.Neg():
            return "number" if all_of(node.this) == {"number"} else None
        case exp.Add() | exp.Sub() | exp.Mul():
            return "number" if all_of(node.left, node.right) == {"number"} else None
        case exp.And() | exp.Or():
            return "truth" if all_of(node.left, node.right) == {"truth"} else None
        case exp.Not():
            return "truth" if all_of(node.this) == {"truth"} else None
        case exp.EQ() | exp.NEQ() | exp.GT() | exp.GTE() | exp.LT() | exp.LTE():
            return _comparable(node.left, [node.right], columns)
        case exp.In():
            return _comparable(node.this, node.expressions, columns)
        case exp.Between():
            return _comparable(node.this, [node.args["low"], node.args["high"]], columns)
        case exp.Is() if isinstance(node.expression, exp.Null):
            return "truth" if all_of(node.this) - {None} else None
    return None


def _comparable(left: exp.Expr, others: list[exp.Expr], columns: Mapping[str, ColumnType]) -> Literal["truth"] | None:
    family = _infer(left, columns)
    for other in others:
        found = _infer(other, columns)
        constant_time = family == "time" and isinstance(other, exp.Literal) and other.is_string
        if found is None or family is None or family == "truth" or (found != family and not constant_time):
            return None
    return "truth" if others else None


def _family(column: ColumnType) -> Family | None:
    """What a PostgreSQL column compares with."""
    arrow = column.arrow
    if column.annotation in (Annotation.NONE, Annotation.NUMERIC) and (
        pa.types.is_integer(arrow)
        or pa.types.is_floating(arrow)
        or pa.types.is_decimal(arrow)
        or column.annotation is Annotation.NUMERIC
    ):
        return "number"
    if column.annotation in (Annotation.NONE, Annotation.CHAR) and pa.types.is_string(arrow):
        return "text"
    if pa.types.is_date(arrow) or pa.types.is_timestamp(arrow) or pa.types.is_time(arrow):
        return "time"
    return None
