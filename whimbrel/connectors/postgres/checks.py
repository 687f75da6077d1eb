"""What must be true of a PostgreSQL server before a migration works, each point with its own stable id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Final, Literal

import psycopg

from whimbrel.connectors.postgres import prerequisites, schema
from whimbrel.connectors.postgres.connection import connect, identifier, mapped
from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.verdicts import needs_changes, offenders, schemas_of, verdict
from whimbrel.errors import SchemaFailed, TableMissing
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Table

Connection = psycopg.Connection[tuple[Any, ...]]

OLDEST: Final = 110000  # sha256() and the catalog columns that we read
OLDEST_PUBLISHER: Final = 130000  # publications that follow partitions through their root
CONNECTIONS: Final = 12  # what one migration may open
LONG_SECONDS: Final = 300  # a transaction this old keeps a slot from being made

RUN_SOURCE: Final = "Run the source statements that POST /v1/prereqs lists."
RUN_TARGET: Final = "Run the target statements that POST /v1/prereqs lists."


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
        with closing(connect(endpoint.parameters, "checks")) as connection, mapped(role):
            if role == "target":
                return tuple(_target(connection, tables))
            return tuple(_source(connection, tables, changes))


CHECKS: Final = PostgresChecks()


def _value(connection: Connection, query: str, *arguments: Any) -> Any:
    row = connection.execute(query.encode(), arguments).fetchone()
    return None if row is None else row[0]


def _names(connection: Connection, query: str, *arguments: Any) -> list[str]:
    return [str(row[0]) for row in connection.execute(query.encode(), arguments).fetchall()]


# --- source -----------------------------------------------------------------------------------------------------------


def _source(connection: Connection, patterns: Sequence[TableName], changes: bool) -> Iterator[CheckResult]:
    yield _version(connection, OLDEST_PUBLISHER if changes else OLDEST)
    yield _free_connections(connection)
    yield from _schema_usage(connection, patterns)
    tables, missing = _resolved(connection, patterns)
    yield verdict("postgres.tables_exist", missing is None, f"{len(tables)} tables found", str(missing), _CORRECT)
    yield _readable(connection, tables)
    yield from _definitions(connection, tables)
    if changes:
        yield from _log(connection)
        yield from _rights_to_capture(connection)
        yield from _capturable(connection, tables)
        yield _long_transactions(connection)


_CORRECT: Final = "Correct 'tables' of the migration, or create the table."


def _version(connection: Connection, oldest: int) -> CheckResult:
    version = connection.info.server_version
    title = f"PostgreSQL {version // 10000}.{version % 10000}"
    return verdict(
        "postgres.version", version >= oldest, title, f"{title} is older than {oldest // 10000}", "Upgrade the server."
    )


def _free_connections(connection: Connection) -> CheckResult:
    free = _value(
        connection,
        "select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
        " - count(*) from pg_stat_activity where backend_type = 'client backend'",
    )
    return verdict(
        "postgres.free_connections",
        free >= CONNECTIONS,
        f"{free} connections are free",
        f"only {free} connections are free; a migration opens up to {CONNECTIONS}",
        "Raise max_connections, end idle sessions, or lower 'threads' of the migration.",
        otherwise="warn" if free >= 4 else "fail",
    )


def _schema_usage(connection: Connection, patterns: Sequence[TableName]) -> Iterator[CheckResult]:
    lacking = _names(
        connection,
        "select nspname from pg_namespace where nspname = any(%s) and not has_schema_privilege(oid, 'USAGE')",
        list(schemas_of(patterns)),
    )
    yield offenders("postgres.schema_usage", lacking, "schemas can be used", "no USAGE on schema", RUN_SOURCE)


def _resolved(connection: Connection, patterns: Sequence[TableName]) -> tuple[tuple[TableName, ...], str | None]:
    """The tables meant, and a message when some do not exist: then those are left out."""
    found: list[TableName] = []
    missing = []
    for pattern in patterns:
        try:
            found += schema.resolve(connection, [pattern])
        except TableMissing as e:
            missing.append(e.message)
    return tuple(dict.fromkeys(found)), "; ".join(missing) or None


_WANTED: Final = """from pg_class c join pg_namespace n on n.oid = c.relnamespace
  join unnest(%s::text[], %s::text[]) w(schema, name) on n.nspname = w.schema and c.relname = w.name"""


def _of(connection: Connection, tables: Sequence[TableName], condition: str) -> list[str]:
    """Those of the tables for which a condition over ``c`` and ``n`` holds."""
    query = " ".join(["select n.nspname || '.' || c.relname", _WANTED, "where", condition, "order by 1"])
    return _names(connection, query, [t.schema for t in tables], [t.table for t in tables])


def _readable(connection: Connection, tables: Sequence[TableName]) -> CheckResult:
    lacking = _of(connection, tables, "not has_table_privilege(c.oid, 'SELECT')")
    return offenders("postgres.table_select", lacking, "all tables can be read", "no SELECT on", RUN_SOURCE)


def _definitions(connection: Connection, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    """Keys and types, as far as the definitions can be read."""
    try:
        reflected = schema.reflect(connection, tables) if tables else ()
    except SchemaFailed as e:
        yield CheckResult("postgres.types", "fail", e.message, e.how_to_fix)
        return
    keyless = [str(t.name) for t in reflected if not t.key]
    yield offenders(
        "postgres.tables_without_key",
        keyless,
        "every table has a key",
        "tables without a primary key or a unique key of NOT NULL columns",
        "Add a key. Without one an interrupted load starts the table again, changes are found by the whole row, which "
        "is slow, and validation compares rows as multisets.",
        otherwise="warn",
    )
    yield offenders(
        "postgres.types",
        [name for table in reflected for name in _native_columns(table)],
        "every column type travels to other engines",
        "columns of types that only PostgreSQL has",
        "They are copied to PostgreSQL targets only; leave the tables out, or change the types, for any other.",
        otherwise="warn",
    )


def _native_columns(table: Table) -> Iterator[str]:
    for column in table.loaded_columns:
        if column.type.annotation in (Annotation.NATIVE, Annotation.SPATIAL):
            yield f"{table.name}.{column.name} ({column.type.native})"


# --- source: reading changes ------------------------------------------------------------------------------------------


def _log(connection: Connection) -> Iterator[CheckResult]:
    level = _value(connection, "select current_setting('wal_level')")
    yield verdict(
        "postgres.wal_level",
        level == "logical",
        "wal_level is logical",
        f"wal_level is {level}; capturing changes needs logical",
        "ALTER SYSTEM SET wal_level = 'logical', then restart the server.",
    )
    standby = _value(connection, "select pg_is_in_recovery()")
    yield verdict(
        "postgres.primary",
        not standby,
        "the server is a primary",
        "the server is a standby, where no publication can be made",
        "Point the source at the primary server.",
    )
    yield _left(connection, "replication_slots", "select count(*) from pg_replication_slots")
    yield _left(connection, "wal_senders", "select count(*) from pg_stat_replication")
    kept = _value(connection, "select setting from pg_settings where name = 'max_slot_wal_keep_size'")
    yield verdict(
        "postgres.max_slot_wal_keep_size",
        kept in (None, "-1"),
        "the log is kept for as long as a slot needs it",
        f"max_slot_wal_keep_size is {kept} MB: a migration that falls behind or pauses for longer loses its slot",
        "ALTER SYSTEM SET max_slot_wal_keep_size = -1, or make sure that this much is written only after a pause.",
        otherwise="warn",
    )


def _left(connection: Connection, what: str, used: str) -> CheckResult:
    most = int(_value(connection, f"select current_setting('max_{what}')"))
    taken = int(_value(connection, used))
    return verdict(
        f"postgres.{what}",
        taken < most,
        f"{taken} of {most} {what.replace('_', ' ')} are in use",
        f"all {most} {what.replace('_', ' ')} are in use",
        f"Drop unused ones, or ALTER SYSTEM SET max_{what} = {max(most + 10, prerequisites.SLOTS)}, then restart.",
    )


def _rights_to_capture(connection: Connection) -> Iterator[CheckResult]:
    user = connection.info.user
    may = _value(
        connection,
        "select rolsuper or rolreplication or exists (select from pg_roles m where m.rolname = 'rds_replication'"
        " and pg_has_role(m.oid, 'member')) from pg_roles where rolname = current_user",
    )
    yield verdict(
        "postgres.replication_role",
        bool(may),
        "the user may use replication slots",
        f"user {user} may not use replication slots",
        f"ALTER ROLE {identifier(user)} REPLICATION",
    )
    yield _create_on_database(connection, "postgres.publication_rights", "make a publication")


def _create_on_database(connection: Connection, id: str, why: str) -> CheckResult:
    may = _value(connection, "select has_database_privilege(current_database(), 'CREATE')")
    database, user = identifier(connection.info.dbname), identifier(connection.info.user)
    return verdict(
        id,
        bool(may),
        f"the user may {why}",
        f"user {connection.info.user} has no CREATE on the database, which is needed to {why}",
        f"GRANT CREATE ON DATABASE {database} TO {user}",
    )


def _capturable(connection: Connection, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    unowned = _of(connection, tables, "not pg_has_role(c.relowner, 'USAGE')")
    yield offenders(
        "postgres.table_ownership",
        unowned,
        "all tables can be published",
        "only its owner can publish a table, and the user is not of the owning role of",
        RUN_SOURCE,
    )
    unlogged = _of(connection, tables, "c.relpersistence <> 'p'")
    yield offenders(
        "postgres.unlogged_tables",
        unlogged,
        "changes of all tables are logged",
        "changes are not logged of",
        "ALTER TABLE ... SET LOGGED for each, or leave them out.",
    )
    unidentified = _of(connection, tables, f"c.relkind in ('r', 'p') and {prerequisites.UNIDENTIFIED}")
    yield offenders(
        "postgres.replica_identity",
        unidentified,
        "updates and deletes say which row they mean",
        "updates and deletes do not say which row they mean in",
        "Add a primary key, or ALTER TABLE ... REPLICA IDENTITY FULL for each.",
    )
    foreign = _of(connection, tables, "c.relkind not in ('r', 'p')")
    yield offenders(
        "postgres.table_kinds",
        foreign,
        "all are tables whose changes are logged",
        "not tables whose changes are logged",
        "Leave them out, or migrate them with mode data only.",
    )


def _long_transactions(connection: Connection) -> CheckResult:
    prepared = _names(
        connection,
        "select gid || ' (prepared ' || extract(epoch from now() - prepared)::int || ' s ago)' from pg_prepared_xacts"
        " where database = current_database() order by prepared",
    )
    old = _names(
        connection,
        "select pid || ' (' || usename || ', ' || extract(epoch from now() - xact_start)::int || ' s)'"
        " from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'"
        " and xact_start < now() - %s * interval '1 second' order by xact_start",
        LONG_SECONDS,
    )
    return offenders(
        "postgres.long_transactions",
        old + prepared,
        "no transaction is open for long",
        "a replication slot can be made only after these transactions have ended",
        "End them (ROLLBACK PREPARED what nobody will commit), or start the migration when they are over.",
        otherwise="warn",
    )


# --- target -----------------------------------------------------------------------------------------------------------


def _target(connection: Connection, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    yield _version(connection, OLDEST)
    yield _free_connections(connection)
    read_only = _value(connection, "select pg_is_in_recovery() or current_setting('transaction_read_only')::bool")
    yield verdict(
        "postgres.writable",
        not read_only,
        "the server takes writes",
        "the target is a standby, or its default_transaction_read_only is on",
        "Point the target at a primary server that takes writes.",
    )
    if _value(connection, "select has_schema_privilege(oid, 'CREATE') from pg_namespace where nspname = 'whimbrel'"):
        yield CheckResult("postgres.progress_schema", "ok", "the schema 'whimbrel' is there")
    else:
        yield _create_on_database(connection, "postgres.progress_schema", "make the schema 'whimbrel' and others")
    schemas = list(schemas_of(tables))
    lacking = _names(
        connection,
        "select nspname from pg_namespace where nspname = any(%s)"
        " and not (has_schema_privilege(oid, 'USAGE') and has_schema_privilege(oid, 'CREATE'))",
        schemas,
    )
    yield offenders("postgres.schema_create", lacking, "tables can be made", "no CREATE on schema", RUN_TARGET)
    unowned = [t for t in _existing(connection, tables) if t[1]]
    yield offenders(
        "postgres.table_ownership",
        [name for name, _ in unowned],
        "existing tables can be changed",
        "not owned by the user's roles",
        RUN_TARGET,
    )
    yield _replication_role(connection)


def _existing(connection: Connection, tables: Sequence[TableName]) -> list[tuple[str, bool]]:
    """Tables of the target that are named, or whose schema is: with whether another role owns them."""
    exact = [t for t in tables if not t.is_pattern]
    schemas = [t.schema for t in tables if t.is_pattern]
    rows = connection.execute(
        "select n.nspname || '.' || c.relname, not pg_has_role(c.relowner, 'USAGE')"
        " from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p')"
        " and (n.nspname = any(%s)"
        "   or exists (select from unnest(%s::text[], %s::text[]) w(s, t) where w.s = n.nspname and w.t = c.relname))"
        " order by 1",
        (schemas, [t.schema for t in exact], [t.table for t in exact]),
    ).fetchall()
    return [(str(name), bool(foreign)) for name, foreign in rows]


def _replication_role(connection: Connection) -> CheckResult:
    may = _value(connection, "select rolsuper from pg_roles where rolname = current_user")
    if not may and connection.info.server_version >= 150000:
        may = _value(connection, "select has_parameter_privilege('session_replication_role', 'SET')")
    user = identifier(connection.info.user)
    newer = connection.info.server_version >= 150000
    return verdict(
        "postgres.session_replication_role",
        bool(may),
        "triggers and foreign keys can be switched off while rows are applied",
        "the user may not set session_replication_role: triggers of the target fire, and foreign keys are checked, "
        "while rows are loaded and applied",
        f"GRANT SET ON PARAMETER session_replication_role TO {user}" if newer else "Use a superuser, or drop triggers.",
        otherwise="fail" if newer else "warn",
    )
