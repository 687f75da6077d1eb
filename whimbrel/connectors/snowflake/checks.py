"""What must be true of a Snowflake account before a migration works, each point with its own stable id."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Any, Final, Literal

from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.snowflake.connection import SnowflakeSession, connect
from whimbrel.connectors.snowflake.dialect import DIALECT, SCHEMA
from whimbrel.connectors.verdicts import needs_changes, offenders, schemas_of, verdict
from whimbrel.errors import InvalidRequest, WhimbrelError
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

_RUN: Final = "Run the target statements that POST /v1/prereqs lists."


class SnowflakeChecks:
    """See ``protocols.Checks``."""

    def statements(
        self, endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
    ) -> tuple[Statement, ...]:
        _require_target(role)
        needs_changes(mode)
        return tuple(_statements(endpoint.parameters, tables))

    def run(
        self, endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
    ) -> tuple[CheckResult, ...]:
        """Connect and check. Raises a ConnectionRefused leaf when that is not possible."""
        _require_target(role)
        needs_changes(mode)
        with closing(connect(endpoint.parameters, "checks")) as session:
            return tuple(_checks(session, endpoint.parameters, tables))


def _require_target(role: str) -> None:
    if role != "target":
        raise InvalidRequest("type: Snowflake is a target only", field="type")


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
    yield verdict("snowflake.role", role is not None, f"the role is {role}", "the session has no role", _RUN)
    yield verdict(
        "snowflake.warehouse",
        warehouse is not None,
        f"the warehouse {warehouse} can be used",
        f"the warehouse {parameters['warehouse']} does not exist, or the role may not use it",
        _RUN,
    )
    there = {str(row[0]) for row in session.query("SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA")}
    wanted = list(schemas_of(tables))
    absent = [SCHEMA, *wanted] if SCHEMA not in there else wanted
    absent = [s for s in absent if s not in there]
    refusal = _refusal(session, *_trial_schema()) if absent else ""
    yield verdict(
        "snowflake.progress_schema",
        not (refusal and SCHEMA in absent),
        f"the schema {SCHEMA}, which keeps the progress, is there or can be made",
        f"the schema {SCHEMA}, which keeps the progress, cannot be made: {refusal}",
        _RUN,
    )
    problems = [f"the schema {s} cannot be made" for s in absent if refusal and s != SCHEMA]
    for schema in (s for s in (*wanted, SCHEMA) if s in there):
        why = _refusal(session, *_trial_table(schema))
        problems += [f"no table in schema {schema}: {why}"] if why else []
    yield offenders("snowflake.schema_create", problems, "tables can be made", "tables cannot be made", _RUN)


def _trial_schema() -> tuple[str, str]:
    name = f"WHIMBREL_TRIAL_{uuid.uuid4().hex[:12].upper()}"
    return f"CREATE SCHEMA {name}", f"DROP SCHEMA IF EXISTS {name}"


def _trial_table(schema: str) -> tuple[str, str]:
    name = f"{DIALECT.identifier(schema)}.WHIMBREL_TRIAL_{uuid.uuid4().hex[:12].upper()}"
    return f"CREATE TABLE {name} (A INTEGER)", f"DROP TABLE IF EXISTS {name}"


def _refusal(session: SnowflakeSession, make: str, undo: str) -> str:
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


CHECKS: Final = SnowflakeChecks()
