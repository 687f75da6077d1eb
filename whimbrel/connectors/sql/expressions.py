"""Expressions between SQL and the model: what sqlglot has read as neutral nodes, and nodes as SQL again.

What an operator means in a dialect, and for which types, is not known here: a source gives only nodes whose meaning is
theirs, a target writes only those that mean the same on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from whimbrel.model.expression import (
    Among,
    Between,
    Binary,
    Call,
    ColumnValue,
    Function,
    Group,
    Is,
    Negative,
    Node,
    Not,
    Null,
    Number,
    Operator,
    Text,
    Truth,
    columns_in,
)
from whimbrel.model.table import ColumnType

_OPERATORS: Final[dict[type[exp.Expr], Operator]] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Mod: "%",
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.And: "AND",
    exp.Or: "OR",
}


# All that is read of each kind of sqlglot's nodes. One that has more (SYMMETRIC, a subquery) means something else.
_READ: Final[dict[type[exp.Expr], tuple[str, ...]]] = {
    exp.Column: ("this",),
    exp.Literal: ("this", "is_string"),
    exp.Boolean: ("this",),
    exp.Null: (),
    exp.Paren: ("this",),
    exp.Neg: ("this",),
    exp.Not: ("this",),
    exp.Is: ("this", "expression", "negate"),
    exp.In: ("this", "expressions"),
    exp.Between: ("this", "low", "high"),
    exp.Coalesce: ("this", "expressions"),
} | dict.fromkeys(_OPERATORS, ("this", "expression"))


# As many nodes below each other as every reader of a tree goes down to, whatever called it.
_DEEPEST: Final = 100


def parsed(sql: str, dialect: str) -> exp.Expr | None:
    """An expression as sqlglot reads it; None where it does not, or where brackets are nested too deep for it."""
    try:
        return sqlglot.parse_one(sql, read=dialect)
    except (SqlglotError, RecursionError):
        return None


def unwrapped(node: exp.Expr) -> exp.Expr:
    """Without the brackets around it."""
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def tree_of(node: exp.Expr) -> Node | None:
    """The same in neutral nodes; None as soon as one part of it has none, or for more levels than are read safely."""
    if _is_deep(node):
        return None
    try:
        return _node(node)
    except _HasNoNode:
        return None


class _HasNoNode(Exception):
    pass


def _is_deep(node: exp.Expr) -> bool:
    level = [node]
    for _ in range(_DEEPEST):
        level = [part for above in level for part in above.iter_expressions()]
        if not level:
            return False
    return True


def _node(node: exp.Expr) -> Node:
    read = _READ.get(type(node))
    if read is None or any(value for part, value in node.args.items() if part not in read):
        raise _HasNoNode
    match node:
        case exp.Column():
            return ColumnValue(node.name)
        case exp.Literal():
            return Text(node.name) if node.is_string else Number(node.name)
        case exp.Boolean():
            return Truth(bool(node.this))
        case exp.Null():
            return Null()
        case exp.Paren():
            return Group(_node(node.this))
        case exp.Neg():
            return Negative(_node(node.this))
        case exp.Not():
            return Not(_node(node.this))
        case exp.Is():
            return _is(node)
        case exp.In() if node.expressions:
            return Among(_node(node.this), tuple(map(_node, node.expressions)))
        case exp.Between():
            return Between(_node(node.this), _node(node.args["low"]), _node(node.args["high"]))
        case exp.Coalesce():
            return Call("coalesce", (_node(node.this), *map(_node, node.expressions)))
        case exp.Binary():
            return Binary(_OPERATORS[type(node)], _node(node.left), _node(node.right))
    raise _HasNoNode


def _is(node: exp.Is) -> Is | Not:
    what = _node(node.expression)
    if not isinstance(what, Null | Truth):
        raise _HasNoNode
    found = Is(_node(node.this), what)
    return Not(found) if node.args.get("negate") else found


def mixes_zones(node: Node, columns: Mapping[str, ColumnType]) -> bool:
    """Whether it reads instants and times without a zone, which are compared in the time zone of whoever asks."""
    read = [columns[name].arrow for name in columns_in(node) if name in columns]
    return (
        len({arrow.tz is not None if pa.types.is_timestamp(arrow) else False for arrow in read if _is_day(arrow)}) > 1
    )


def _is_day(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(arrow) or pa.types.is_date(arrow))


def written(
    node: Node, name: Callable[[str], str], text: Callable[[str], str], functions: dict[Function, str] | None = None
) -> str:
    """A tree as SQL; ``name`` and ``text`` quote, ``functions`` has the target's names of all that the tree calls."""

    def sql(part: Node) -> str:
        match part:
            case Null():
                return "NULL"
            case Text(value):
                return text(value)
            case Number(digits):
                return digits
            case Truth(value):
                return "TRUE" if value else "FALSE"
            case ColumnValue(column):
                return name(column)
            case Group(inside):
                return f"({sql(inside)})"
            case Negative(operand):
                return f"- {sql(operand)}" if sql(operand).startswith("-") else f"-{sql(operand)}"
            case Not(Is(operand, what)):
                return f"{sql(operand)} IS NOT {sql(what)}"
            case Not(operand):
                return f"NOT {sql(operand)}"
            case Binary(operator, left, right):
                return f"{sql(left)} {operator} {sql(right)}"
            case Among(operand, choices):
                return f"{sql(operand)} IN ({', '.join(map(sql, choices))})"
            case Between(operand, low, high):
                return f"{sql(operand)} BETWEEN {sql(low)} AND {sql(high)}"
            case Is(operand, what):
                return f"{sql(operand)} IS {sql(what)}"
            case Call(function, arguments):
                return f"{(functions or {})[function]}({', '.join(map(sql, arguments))})"

    return sql(node)
