"""What the ``checks.py`` of servers that take files and SQL try, and take back."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Literal

from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.sql.session import Session
from whimbrel.connectors.verdicts import needs_changes, offenders, verdict
from whimbrel.errors import InvalidRequest, WhimbrelError
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

RUN = "Run the target statements that POST /v1/prereqs lists."
Quote = Callable[[str], str]


class TargetChecks(ABC):
    """``protocols.Checks`` of a server that is a target only."""

    title: str  # as people write the engine's name

    @abstractmethod
    def needed(self, endpoint: Endpoint, tables: Sequence[TableName]) -> Iterator[Statement]:
        """What an administrator runs once."""

    @abstractmethod
    def results(self, endpoint: Endpoint, changes: bool, tables: Sequence[TableName]) -> Iterator[CheckResult]:
        """Connect and check. Raises a ConnectionRefused leaf when that is not possible."""

    def statements(
        self, endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
    ) -> tuple[Statement, ...]:
        self._require_target(role)
        needs_changes(mode)
        return tuple(self.needed(endpoint, tables))

    def run(
        self, endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
    ) -> tuple[CheckResult, ...]:
        self._require_target(role)
        return tuple(self.results(endpoint, needs_changes(mode), tables))

    def _require_target(self, role: str) -> None:
        if role != "target":
            raise InvalidRequest(f"type: {self.title} is a target only", field="type")


def trial_name() -> str:
    """Of something that is made to see whether it can be, and dropped."""
    return f"whimbrel_trial_{uuid.uuid4().hex[:12]}"


def refusal(session: Session, make: str, undo: str) -> str:
    """Why something of our own could not be made and taken back; '' when it could."""
    try:
        session.execute(make)
    except WhimbrelError as e:
        if e.retryable:
            raise
        return e.message
    finally:
        with suppress(WhimbrelError):
            session.execute(undo)
    return ""


def schemas_and_tables(
    session: Session, engine: str, own: str, wanted: Sequence[str], there: set[str], quote: Quote, noun: str = "SCHEMA"
) -> Iterator[CheckResult]:
    """Whether schemas that are absent, and tables in those that are there, can be made. ``own``: our schema."""
    absent = [s for s in dict.fromkeys((own, *wanted)) if s not in there]
    trial = quote(trial_name())
    why = refusal(session, f"CREATE {noun} {trial}", f"DROP {noun} IF EXISTS {trial}") if absent else ""
    yield verdict(
        f"{engine}.progress_schema",
        not (why and own in absent),
        f"the schema {own}, which keeps the progress, is there or can be made",
        f"the schema {own}, which keeps the progress, cannot be made: {why}",
        RUN,
    )
    problems = [f"the schema {s} cannot be made" for s in absent if why and s != own]
    for schema in (s for s in dict.fromkeys((*wanted, own)) if s in there):
        table = f"{quote(schema)}.{quote(trial_name())}"
        refused = refusal(session, f"CREATE TABLE {table} ({quote('a')} INT)", f"DROP TABLE IF EXISTS {table}")
        problems += [f"no table in schema {schema}: {refused}"] if refused else []
    yield offenders(f"{engine}.schema_create", problems, "tables can be made", "tables cannot be made", RUN)
