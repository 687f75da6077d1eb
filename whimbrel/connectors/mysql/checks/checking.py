"""What must be true of a MySQL or MariaDB server before a migration works, each point with its own stable id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final, Literal

from whimbrel.connectors.mysql.checks import images as checks_images
from whimbrel.connectors.mysql.checks import prerequisites
from whimbrel.connectors.mysql.checks import source as checks_source
from whimbrel.connectors.mysql.checks import target as checks_target
from whimbrel.connectors.mysql.connection import connect, looking, mapped
from whimbrel.connectors.mysql.source import schema
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
            found = tuple(checks_source.source(session, tables, changes))
        return (*found, *_images(endpoint, tables, found)) if changes else found


def _images(endpoint: Endpoint, tables: Sequence[TableName], found: Sequence[CheckResult]) -> Iterator[CheckResult]:
    """Only where the log, and the tables, could be looked at."""
    if not tables or any(c.status == "fail" and c.id in _FIRST for c in found):
        return
    with closing(connect(endpoint.parameters, "checks")) as session, mapped("source"):
        reflected = schema.reflect(session, schema.resolve(session, tables))
    yield checks_images.row_images(endpoint.parameters, reflected)


_FIRST: Final = frozenset(
    f"mysql.{name}"
    for name in ("tables_exist", "table_select", "definitions", "types", "log_bin", "replication_grants")
)


CHECKS: Final = MySQLChecks()
