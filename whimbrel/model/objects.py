"""What stands beside tables in a schema and is not moved with them: views, routines, triggers.

``text`` is its whole definition in the SQL of ``dialect``, or None where the account may not read it; ``depends`` has
the tables and views that it reads, as far as the server says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from whimbrel.model.names import TableName


@dataclass(frozen=True)
class View:
    """A query under a name; ``materialized``: its rows are kept."""

    name: TableName
    dialect: str
    text: str | None
    materialized: bool = False
    depends: tuple[TableName, ...] = ()

    @property
    def kind(self) -> str:
        return "materialized view" if self.materialized else "view"


@dataclass(frozen=True)
class Routine:
    """Code that is called, or by an event at its time; ``name`` has the arguments' types where these tell it apart."""

    name: TableName
    dialect: str
    text: str | None
    language: str
    kind: Literal["function", "procedure", "aggregate", "package", "event"] = "function"


@dataclass(frozen=True)
class Trigger:
    """Code that runs when rows of ``table`` change; a rule rewrites the statement instead."""

    name: TableName
    dialect: str
    text: str | None
    table: TableName
    kind: Literal["trigger", "rule"] = "trigger"

    @property
    def depends(self) -> tuple[TableName, ...]:
        return (self.table,)


SchemaObject = View | Routine | Trigger
