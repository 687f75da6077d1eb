"""MySQL's and MariaDB's defaults, checks and computed columns in neutral words, as far as these have any."""

from __future__ import annotations

import re
from typing import Final

from sqlglot import exp

from whimbrel.connectors.sql.expressions import parsed, tree_of, unwrapped
from whimbrel.model.default import Bits, Bytes, Default, NewUuid, NextValue, Now, Today, Value
from whimbrel.model.expression import Call, ColumnValue, Expression, Node, Null, Number, Text

DIALECT: Final = "mysql"

_NEXT = re.compile(r"\(?(?:nextval\(|next value for )(?P<name>.*?)\)*\Z", re.I | re.S)


def default(text: str) -> Default:
    """A column's default as SHOW CREATE TABLE has it, with its constants as ``constants.spelled`` writes them."""
    return Default(text, DIALECT, _value(text))


def _value(text: str) -> Value | None:
    if (sequence := _NEXT.match(text)) is not None:
        return NextValue(sequence["name"])
    found = parsed(text, DIALECT)
    while isinstance(found, exp.Paren | exp.Introducer):
        found = found.this if isinstance(found, exp.Paren) else found.expression
    match found:
        case exp.Null():
            return Null()
        case exp.CurrentTimestamp():
            return Now()
        case exp.Anonymous() if str(found.this).lower() == "now":
            return Now()
        case exp.UtcTimestamp():
            return Now(utc=True)
        case exp.CurrentDate():
            return Today()
        case exp.Uuid():
            return NewUuid()
        case exp.Neg() if isinstance(found.this, exp.Literal) and not found.this.is_string:
            return Number(f"-{found.this.this}")
        case exp.Literal():
            return Text(found.name) if found.is_string else Number(found.name)
        case exp.Boolean():
            return Number(str(int(found.this)))
        case exp.BitString():
            return Bits(str(found.this))
        case exp.HexString():
            return Bytes(bytes.fromhex(str(found.this).zfill(len(str(found.this)) + 1 & ~1)))  # 0xabc is 0x0abc
    return None


def expression(text: str) -> Expression:
    """A check or a computed column. Its truth values are the numbers 1 and 0."""
    found = parsed(text, DIALECT)
    return Expression(text, DIALECT, None if found is None else _tree(unwrapped(found)))


def _tree(found: exp.Expr) -> Node | None:
    if isinstance(found, exp.Anonymous) and str(found.this).lower() == "json_valid" and len(found.expressions) == 1:
        argument = tree_of(found.expressions[0])
        return Call("is_json", (argument,)) if isinstance(argument, ColumnValue) else None
    if found.find(exp.Boolean):  # a number, which no other engine would take for one
        return None
    return tree_of(found)
