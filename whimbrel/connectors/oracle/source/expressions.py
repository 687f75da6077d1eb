"""Oracle's defaults, checks and computed columns in neutral words, as far as these have any."""

from __future__ import annotations

import re
from typing import Any, Final

from sqlglot import exp

from whimbrel.connectors.sql.expressions import parsed, tree_of, unwrapped
from whimbrel.model.default import Default, NextValue, Now, Value
from whimbrel.model.expression import Expression, Null, Number, Text, walk

DIALECT: Final = "oracle"
_NEXT = re.compile(r'\s*"?(?P<owner>[^".]+)"?\."?(?P<name>[^".]+)"?\.nextval\s*\Z', re.I)
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?\Z")
_TEXT = re.compile(r"'((?:[^']|'')*)'\Z", re.S)
_NOW = re.compile(r"(?:SYSDATE|SYSTIMESTAMP|CURRENT_TIMESTAMP|LOCALTIMESTAMP|CURRENT_DATE)(?:\s*\(\s*\d\s*\))?\Z", re.I)
_NOT_NULL = re.compile(r'"(?:[^"]+)" IS NOT NULL\Z')


def default(text: str) -> Default:
    """A column's default as ALL_TAB_COLS shows it. What SYSDATE gives is the time of the server's own clock."""
    return Default(text.strip(), DIALECT, _value(text.strip()))


def _value(text: str) -> Value | None:
    while text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    if text.upper() == "NULL" or text == "''":
        return Null()
    if _NUMBER.match(text):
        return Number(text)
    if _NOW.match(text):
        return Now()
    if (found := _TEXT.match(text)) is not None:
        return Text(found[1].replace("''", "'"))
    if (sequence := _NEXT.match(text)) is not None:
        return NextValue(f"{sequence['owner']}.{sequence['name']}")
    return None


def says_not_null(condition: str | None) -> bool:
    """Whether a check is only what Oracle writes down for NOT NULL."""
    return condition is not None and _NOT_NULL.match(condition) is not None


def expression(text: str) -> Expression:
    """A check or a computed column. A text of no characters is NULL there, and so has no equal elsewhere."""
    found = parsed(text, DIALECT)
    if found is None:
        return Expression(text, DIALECT)
    tree = tree_of(unwrapped(found.transform(_named)))
    if tree is not None and any(isinstance(node, Text) and node.value == "" for node in walk(tree)):
        tree = None
    return Expression(text, DIALECT, tree)


def _named(node: Any) -> Any:
    """Names without quotation marks are in capitals."""
    if isinstance(node, exp.Identifier) and not node.quoted:
        return exp.to_identifier(node.this.upper(), quoted=True)
    return node
