"""What must be true of a PostgreSQL server before a migration works, each point with its own stable id."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Final, Literal

from whimbrel.connectors.postgres.checks import prerequisites
from whimbrel.connectors.postgres.checks import slot as checks_slot
from whimbrel.connectors.postgres.checks import source as checks_source
from whimbrel.connectors.postgres.checks import target as checks_target
from whimbrel.connectors.postgres.connection import connect, looking, mapped
from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.verdicts import needs_changes
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName


class PostgresChecks:
    """See ``protocols.Checks``."""

    def statements(
        self, endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
    ) -> tuple[Statement, ...]:
        return prerequisites.statements(endpoint, role, mode, tables)

    def run(
        self, endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
    ) -> tuple[CheckResult, ...]:
        """Connect and check. Raises a ConnectionRefused leaf when that is not possible."""
        changes = needs_changes(mode)
        with (
            closing(connect(endpoint.parameters, "checks", role=role)) as connection,
            looking(connection, endpoint.parameters),
            mapped(role),
        ):
            if role == "target":
                return tuple(checks_target.target(connection, tables))
            found = tuple(checks_source.source(connection, tables, changes))
            return (*found, *checks_slot.trials(endpoint, connection)) if changes else found


CHECKS: Final = PostgresChecks()
