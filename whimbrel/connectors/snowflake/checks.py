"""What must be true of a Snowflake account before a migration works, each point with its own stable id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final

from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.snowflake.connection import SnowflakeSession, connect
from whimbrel.connectors.snowflake.dialect import DIALECT, SCHEMA
from whimbrel.connectors.sql.trials import RUN, TargetChecks, schemas_and_tables
from whimbrel.connectors.verdicts import schemas_of, verdict
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName


class SnowflakeChecks(TargetChecks):
    """See ``protocols.Checks``."""

    title = "Snowflake"

    def needed(self, endpoint: Endpoint, tables: Sequence[TableName]) -> Iterator[Statement]:
        return _statements(endpoint.parameters, tables)

    def results(self, endpoint: Endpoint, changes: bool, tables: Sequence[TableName]) -> Iterator[CheckResult]:
        with closing(connect(endpoint.parameters, "checks")) as session:
            yield from _checks(session, endpoint.parameters, tables)


def _statements(parameters: Any, tables: Sequence[TableName]) -> Iterator[Statement]:
    """What an administrator runs once, for the role that the endpoint names, or one called WHIMBREL."""
    quote = DIALECT.identifier
    role, user = quote(parameters.get("role", "WHIMBREL")), quote(parameters["user"])
    database, warehouse = quote(parameters["database"]), quote(parameters["warehouse"])
    yield Statement(f"CREATE ROLE IF NOT EXISTS {role}", "the role that all is done in")
    yield Statement(f"GRANT USAGE, OPERATE ON WAREHOUSE {warehouse} TO ROLE {role}", "rows are loaded and merged by it")
    yield Statement(
        f"GRANT USAGE, CREATE SCHEMA ON DATABASE {database} TO ROLE {role}",
        f"tables are made there, and the schema {SCHEMA}, which keeps the progress",
    )
    for schema in schemas_of(tables):
        yield Statement(
            f"GRANT USAGE, CREATE TABLE ON SCHEMA {database}.{quote(schema)} TO ROLE {role}",
            "only where the schema is there already and belongs to another role",
        )
    yield Statement(f"GRANT ROLE {role} TO USER {user}", "the user may take the role")
    yield Statement(f"ALTER WAREHOUSE {warehouse} SET AUTO_RESUME = TRUE", "it wakes up when rows come")


def _checks(session: SnowflakeSession, parameters: Any, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    role, warehouse = session.query("SELECT CURRENT_ROLE(), CURRENT_WAREHOUSE()")[0]
    yield verdict("snowflake.role", role is not None, f"the role is {role}", "the session has no role", RUN)
    yield verdict(
        "snowflake.warehouse",
        warehouse is not None,
        f"the warehouse {warehouse} can be used",
        f"the warehouse {parameters['warehouse']} does not exist, or the role may not use it",
        RUN,
    )
    there = {str(row[0]) for row in session.query("SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA")}
    yield from schemas_and_tables(session, "snowflake", SCHEMA, schemas_of(tables), there, DIALECT.identifier)


CHECKS: Final = SnowflakeChecks()
