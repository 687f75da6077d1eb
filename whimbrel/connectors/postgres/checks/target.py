"""What must be true of a PostgreSQL server that is written to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from whimbrel.connectors.postgres.checks.server import (
    Connection,
    create_on_database,
    free_connections,
    names,
    row_security,
    schemas_lacking,
    value,
    version,
)
from whimbrel.connectors.postgres.connection import identifier
from whimbrel.connectors.protocols import CheckResult
from whimbrel.connectors.verdicts import offenders, schemas_of, verdict
from whimbrel.model.names import TableName

OLDEST: Final = 110000
OWN: Final = TableName("whimbrel", "*")  # where the progress is kept

RUN: Final = "Run the target statements that POST /v1/prereqs lists."


def target(connection: Connection, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    """All checks; they are the same in every mode."""
    yield version(connection, OLDEST)
    yield free_connections(connection)
    read_only = value(connection, "select pg_is_in_recovery() or current_setting('transaction_read_only')::bool")
    yield verdict(
        "postgres.writable",
        not read_only,
        "the server takes writes",
        "the target is a standby, or takes no writes",
        "Point the target at a primary server that takes writes.",
    )
    yield _progress(connection)
    yield _temporary(connection)
    yield from _schemas(connection, tables)
    yield offenders(
        "postgres.table_ownership",
        _existing(connection, tables, "not pg_has_role(c.relowner, 'USAGE')"),
        "existing tables can be changed",
        "not owned by the user's roles",
        RUN,
    )
    yield row_security(_existing(connection, tables, "row_security_active(c.oid)"), RUN)
    yield _replication_role(connection)


def _progress(connection: Connection) -> CheckResult:
    """Whether the schema 'whimbrel' can be made, or, where it is there, used with all that is in it."""
    id = "postgres.progress_schema"
    if not value(connection, "select count(*) from pg_namespace where nspname = 'whimbrel'"):
        return create_on_database(connection, id, "make the schema 'whimbrel'")
    lacking = [r for r in ("USAGE", "CREATE") if schemas_lacking(connection, [OWN], r)]
    unowned = _existing(connection, [OWN], "not pg_has_role(c.relowner, 'USAGE')")
    return offenders(
        id,
        [f"{right} on schema whimbrel" for right in lacking] + [f"ownership of {table}" for table in unowned],
        "the schema 'whimbrel' is there",
        "the schema 'whimbrel', which keeps the progress, is there, but the user lacks",
        RUN,
    )


def _temporary(connection: Connection) -> CheckResult:
    may = value(connection, "select has_database_privilege(current_database(), 'TEMPORARY')")
    return verdict(
        "postgres.temporary_tables",
        bool(may),
        "changes can be staged in temporary tables",
        "the user may not make temporary tables, in which changes are staged",
        RUN,
    )


def _schemas(connection: Connection, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    lacking = dict.fromkeys(
        schemas_lacking(connection, tables, "USAGE") + schemas_lacking(connection, tables, "CREATE")
    )
    problem = [f"no CREATE on schema {s}" for s in lacking]
    there = set(names(connection, "select nspname from pg_namespace where nspname = any(%s)", list(schemas_of(tables))))
    absent = [s for s in schemas_of(tables) if s not in there]
    if absent and not value(connection, "select has_database_privilege(current_database(), 'CREATE')"):
        problem += [f"no right to make the schema {s}" for s in absent]
    yield offenders("postgres.schema_create", problem, "tables can be made", "tables cannot be made", RUN)


def _existing(connection: Connection, tables: Sequence[TableName], condition: str) -> list[str]:
    """Tables of the target that are named, or whose schema is, and for which the condition holds."""
    exact = [t for t in tables if not t.is_pattern]
    query = " ".join(
        (
            "select n.nspname || '.' || c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind in ('r', 'p') and (n.nspname = any(%s) or exists (",
            "select from unnest(%s::text[], %s::text[]) w(s, t) where w.s = n.nspname and w.t = c.relname)) and",
            condition,
            "order by 1",
        )
    )
    schemas = [t.schema for t in tables if t.is_pattern]
    return names(connection, query, schemas, [t.schema for t in exact], [t.table for t in exact])


def _replication_role(connection: Connection) -> CheckResult:
    newer = connection.info.server_version >= 150000
    may = value(connection, "select rolsuper from pg_roles where rolname = current_user")
    if not may and newer:
        may = value(connection, "select has_parameter_privilege('session_replication_role', 'SET')")
    user = identifier(connection.info.user)
    return verdict(
        "postgres.session_replication_role",
        bool(may),
        "triggers and foreign keys can be switched off while rows are applied",
        "the user may not set session_replication_role: triggers of the target fire, and foreign keys are checked, "
        "while rows are loaded and applied",
        f"GRANT SET ON PARAMETER session_replication_role TO {user}" if newer else "Use a superuser, or drop triggers.",
        otherwise="fail" if newer else "warn",
    )
