"""What a pipeline step is told to do. Built from the catalog by name, inside the process that does it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from whimbrel.model.names import TableName

Role = Literal["source", "target"]
Case = Literal["keep"]
ValuePolicy = Literal["refuse"]


def session_name(operation: str, role: Role) -> str:
    """What the sessions of one side of an operation are known by on their server, where the other side's may be too."""
    return operation if role == "source" else f"{operation}:{role}"


@dataclass(frozen=True)
class Endpoint:
    """A source or target with its secrets in clear. Never logged, never a Temporal payload: ``repr`` hides it all."""

    name: str
    type: str
    parameters: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Job:
    """One operation on one migration. ``workdir`` is ``<home>/migrations/<name>``; ``operation`` the operation's id.

    ``target`` is the database that is written to, or the queue if the migration has no database; ``queue`` is the queue
    that changes go to, alone or beside the database. ``case`` is what becomes of the case of names, ``column_types``
    the types on the target of source columns (``schema.table.column``) that are not the nearest ones, ``value_policy``
    what becomes of values that the target cannot hold.
    """

    migration: str
    operation: str
    source: Endpoint
    target: Endpoint
    tables: tuple[TableName, ...]
    workdir: Path
    threads: int = 5
    rows_per_file: int = 200_000
    schema_rename: Mapping[str, str] = field(default_factory=dict)
    case: Case = "keep"
    column_types: Mapping[str, str] = field(default_factory=dict)
    value_policy: ValuePolicy = "refuse"
    verbose: bool = False
    queue: Endpoint | None = None

    @property
    def has_database(self) -> bool:
        """Whether ``target`` is a database."""
        return self.target != self.queue
