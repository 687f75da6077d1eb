"""Neutral defaults, checks and computed columns in PostgreSQL's words, carried over only where their meaning is
certain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import pyarrow as pa

from whimbrel.connectors.postgres.connection import identifier, literal
from whimbrel.connectors.sql.expressions import mixes_zones, written
from whimbrel.model.default import Bits, Bytes, NewUuid, Now, Today, Value
from whimbrel.model.expression import (
    ARITHMETIC,
    LOGICAL,
    ORDERING,
    Among,
    Between,
    Binary,
    Call,
    ColumnValue,
    Group,
    Is,
    Negative,
    Node,
    Not,
    Null,
    Number,
    Text,
    Truth,
)
from whimbrel.model.table import Annotation, ColumnType

_ZERO_DATE = re.compile(r"0000-|\d{4}-00-|\d{4}-\d\d-00")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?: \d\d:\d\d:\d\d(?:\.\d{1,6})?)?")

Family = Literal["number", "text", "time", "truth"]


def default(value: Value | None, column: ColumnType) -> str | None:
    """A default for a column of ours; None when there is none to say, or its meaning is not certain."""
    match value:
        case Now(utc=False):
            return _now(column)
        case Now(utc=True) if pa.types.is_timestamp(column.arrow) and not column.arrow.tz:
            return f"({_now(column)} AT TIME ZONE 'UTC')".replace("LOCALTIMESTAMP", "CURRENT_TIMESTAMP")
        case Today() if pa.types.is_date(column.arrow):
            return "CURRENT_DATE"
        case NewUuid():
            return "gen_random_uuid()" if column.annotation is Annotation.UUID else "gen_random_uuid()::text"
        case Text(found) | Number(found):
            return _constant(found, column)
        case Truth(found):
            return _constant(str(int(found)), column)
        case Bits(digits):
            return _bits(digits, column)
        case Bytes(found):
            return _bytes(found, column)
    return None


def _now(column: ColumnType) -> str | None:
    if not pa.types.is_timestamp(column.arrow):
        return "CURRENT_DATE" if pa.types.is_date(column.arrow) else None
    digits = "" if column.length in (None, 6) else f"({column.length})"
    return f"CURRENT_TIMESTAMP{digits}" if column.arrow.tz else f"LOCALTIMESTAMP{digits}"


def _bits(digits: str, column: ColumnType) -> str | None:
    return _constant(str(int(digits or "0", 2)), column) if _counts(column) else None


def _bytes(value: bytes, column: ColumnType) -> str | None:
    if pa.types.is_binary(column.arrow):
        return f"'\\x{value.hex()}'::bytea"
    return _constant(str(int.from_bytes(value, "big")), column) if _counts(column) else None


def _counts(column: ColumnType) -> bool:
    """Whether bits and bytes are a number for it. A text is made of them by the rules of some character set."""
    plain = column.annotation is Annotation.NONE and pa.types.is_boolean(column.arrow)
    return plain or column.annotation is Annotation.BIT or _family(column) == "number"


def _constant(value: str, column: ColumnType) -> str | None:
    """A text, or a number in its digits."""
    arrow = column.arrow
    if pa.types.is_binary(arrow):
        return f"'\\x{value.encode().hex()}'::bytea"
    if column.annotation is Annotation.BIT:
        return f"B'{int(value):0{column.length or 1}b}'" if value.isdigit() else None
    if pa.types.is_boolean(arrow):
        return {"0": "false", "1": "true"}.get(value)
    if (_family(column) == "time" and _ZERO_DATE.match(value)) or "\0" in value:
        return None
    return literal(value).strip()


# --- checks and computed columns --------------------------------------------------------------------------------------


def expression(tree: Node | None, columns: Mapping[str, ColumnType]) -> str | None:
    """A check or a computed column; None when its meaning here is not certain.

    Certain are comparisons within one family of types (of texts only whether they are equal), NULL tests, and, or, not,
    sums, differences and products.
    ``columns`` are our types by name, without those whose values the source compares by other rules.
    """
    if tree is None or _infer(tree, columns) is None or mixes_zones(tree, columns):
        return None
    return written(tree, identifier, lambda text: literal(text).strip())


def check(tree: Node | None, columns: Mapping[str, ColumnType]) -> str | None:
    """A check's expression, which is a truth value here; None as ``expression`` has it, and for a bare number."""
    return expression(tree, columns) if tree is not None and _infer(tree, columns) == "truth" else None


def computed(tree: Node | None, columns: Mapping[str, ColumnType]) -> str | None:
    """A computed column's expression; what is a truth value here is 1 or 0 elsewhere."""
    found = expression(tree, columns)
    is_truth = tree is not None and _infer(tree, columns) == "truth"
    return f"({found})::integer" if found is not None and is_truth else found


def only_says_json(tree: Node | None, columns: Mapping[str, ColumnType]) -> bool:
    """Whether a check asks no more than that a column holds JSON, whose type here says so already."""
    match tree:
        case Call("is_json", (ColumnValue(name),)):
            return name in columns and columns[name].annotation is Annotation.JSON
    return False


def _infer(node: Node, columns: Mapping[str, ColumnType]) -> Family | None:
    """The family of a node's value; None as soon as anything in it is not understood."""

    def all_of(*nodes: Node) -> set[Family | None]:
        return {_infer(n, columns) for n in nodes}

    match node:
        case ColumnValue(name):
            found = columns.get(name)
            return _family(found) if found else None
        case Text(value):
            return None if "\0" in value else "text"
        case Number():
            return "number"
        case Group(inside):
            return _infer(inside, columns)
        case Negative(operand):
            return "number" if all_of(operand) == {"number"} else None
        case Not(operand):
            return "truth" if all_of(operand) == {"truth"} else None
        case Binary(operator, left, right):
            if operator in ARITHMETIC - {"%"}:
                return "number" if all_of(left, right) == {"number"} else None
            if operator in LOGICAL:
                return "truth" if all_of(left, right) == {"truth"} else None
            if operator == "%" or (operator in ORDERING and _infer(left, columns) == "text"):
                return None  # texts have the database's own order here
            return _comparable(left, (right,), columns)
        case Among(operand, choices):
            return _comparable(operand, choices, columns)
        case Between(operand, low, high) if _infer(operand, columns) != "text":
            return _comparable(operand, (low, high), columns)
        case Is(operand, Null()):
            return "truth" if all_of(operand) - {None} else None
    return None


def _comparable(left: Node, others: tuple[Node, ...], columns: Mapping[str, ColumnType]) -> Literal["truth"] | None:
    family = _infer(left, columns)
    for other in others:
        found = _infer(other, columns)
        constant_time = family == "time" and isinstance(other, Text) and _is_time(other.value, left, columns)
        if found is None or family is None or family == "truth" or (found != family and not constant_time):
            return None
    return "truth" if others else None


def _is_time(text: str, other: Node, columns: Mapping[str, ColumnType]) -> bool:
    """Whether a constant is the same time here as in every session there: in full, and not an instant's."""
    if not isinstance(other, ColumnValue) or _ZERO_DATE.match(text):
        return False
    arrow = columns[other.column].arrow
    if pa.types.is_date(arrow):
        return _DAY.fullmatch(text) is not None
    return pa.types.is_timestamp(arrow) and arrow.tz is None and _MOMENT.fullmatch(text) is not None


def _family(column: ColumnType) -> Family | None:
    """What a column of ours compares with."""
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
