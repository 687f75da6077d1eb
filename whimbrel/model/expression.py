"""What a check, a computed column or a default says, in words that no engine owns.

A source's folder reads its server's SQL into these nodes, a target's folder writes them as its own. Each node means one
thing: what two engines understand differently (LIKE and case, division, joined texts) has no node. Such an expression
is only a text, which engines of the same dialect may repeat.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class Null:
    """NULL."""


@dataclass(frozen=True)
class Text:
    """Characters, without quotes and escapes."""

    value: str


@dataclass(frozen=True)
class Number:
    """A decimal number with its sign, in the digits of the source: ``-1.50``, ``1e5``."""

    digits: str


@dataclass(frozen=True)
class Truth:
    """True or false, where these are no numbers."""

    value: bool


@dataclass(frozen=True)
class ColumnValue:
    """What the row has in that column."""

    column: str


@dataclass(frozen=True)
class Group:
    """Brackets, as the source wrote them."""

    inside: Node


@dataclass(frozen=True)
class Negative:
    """A number with the other sign."""

    operand: Node


@dataclass(frozen=True)
class Not:
    """The other truth value; NULL stays NULL."""

    operand: Node


Operator = Literal["+", "-", "*", "%", "=", "<>", "<", "<=", ">", ">=", "AND", "OR"]
ARITHMETIC: Final = frozenset({"+", "-", "*", "%"})
EQUALITY: Final = frozenset({"=", "<>"})
ORDERING: Final = frozenset({"<", "<=", ">", ">="})
LOGICAL: Final = frozenset({"AND", "OR"})


@dataclass(frozen=True)
class Binary:
    """``%`` is what is left of a division towards zero; comparisons and AND, OR know NULL as SQL does."""

    operator: Operator
    left: Node
    right: Node


@dataclass(frozen=True)
class Among:
    """IN."""

    operand: Node
    choices: tuple[Node, ...]


@dataclass(frozen=True)
class Between:
    """``low <= operand <= high``."""

    operand: Node
    low: Node
    high: Node


@dataclass(frozen=True)
class Is:
    """IS NULL, IS TRUE, IS FALSE: never NULL itself."""

    operand: Node
    what: Null | Truth


Function = Literal["coalesce", "is_json"]


@dataclass(frozen=True)
class Call:
    """``coalesce`` is the first argument that is not NULL; ``is_json`` whether a text is JSON."""

    function: Function
    arguments: tuple[Node, ...]


Node = (
    Null | Text | Number | Truth | ColumnValue | Group | Negative | Not | Binary | Among | Between | Is | Call
)  # a tree of these is an expression's meaning


@dataclass(frozen=True)
class Expression:
    """``text`` is SQL of ``dialect`` (``postgres``; ``mysql`` for MariaDB too); ``tree`` what it means, or None.

    It prints as its text.
    """

    text: str
    dialect: str
    tree: Node | None = None

    def __str__(self) -> str:
        return self.text


def children(node: Node) -> tuple[Node, ...]:
    """What a node is made of, in order."""
    match node:
        case Group(inside):
            return (inside,)
        case Negative(operand) | Not(operand) | Is(operand, _):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Among(operand, choices):
            return (operand, *choices)
        case Between(operand, low, high):
            return (operand, low, high)
        case Call(_, arguments):
            return arguments
    return ()


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def columns_in(node: Node) -> Iterator[str]:
    """The columns that a node reads."""
    return (n.column for n in walk(node) if isinstance(n, ColumnValue))
