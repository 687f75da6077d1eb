"""What must be true before a migration works, and how to make it so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName


@dataclass(frozen=True)
class CheckResult:
    """One prerequisite. ``id`` is stable. ``remedy`` is SQL or a sentence; empty when ok."""

    id: str
    status: Literal["ok", "warn", "fail"]
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Rehearsal:
    """What came of making on a target, and taking back, all that a migration will make there.

    ``refused`` names table and object and what the server said; ``doubtful`` the same of tables that exist already,
    made otherwise; ``untested`` is a sentence on what was not tried, '' when all was.
    """

    refused: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    untested: str = ""


@dataclass(frozen=True)
class Statement:
    """SQL that a person runs before the migration. ``restart``: takes effect only after a restart of the server."""

    sql: str
    why: str
    restart: bool = False


class Checks(Protocol):
    """``checks.py``: what must be true before a migration works. Modes: data, replication, data+replication."""

    def statements(
        self, endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
    ) -> tuple[Statement, ...]: ...

    def run(
        self, endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
    ) -> tuple[CheckResult, ...]: ...
