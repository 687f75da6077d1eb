"""What must be true of a MySQL or MariaDB server before a migration works, each point with its own stable id."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Final, Literal

from whimbrel.connectors.mysql import checks_source, checks_target, prerequisites
from whimbrel.connectors.mysql.connection import connect, looking, mapped
from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.verdicts import needs_changes
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName


class MySQLChecks:
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
            closing(connect(endpoint.parameters, "checks", role=role)) as session,
            looking(session, endpoint.parameters),
            mapped(role),
        ):
            if role == "target":
                return tuple(checks_target.target(session, tables))
            return tuple(checks_source.source(session, tables, changes))


CHECKS: Final = MySQLChecks()
