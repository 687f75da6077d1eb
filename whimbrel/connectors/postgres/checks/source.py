"""What must be true of a PostgreSQL server that is read from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from whimbrel.connectors.postgres import particulars
from whimbrel.connectors.postgres.checks import prerequisites
from whimbrel.connectors.postgres.checks.server import (
    Connection,
    create_on_database,
    free_connections,
    names,
    row_security,
    schemas_lacking,
    tables_where,
    value,
    version,
)
from whimbrel.connectors.postgres.locks import bound_waits, locks_named
from whimbrel.connectors.postgres.source import capturing, schema
from whimbrel.connectors.protocols import CheckResult
from whimbrel.connectors.requirements import results
from whimbrel.connectors.verdicts import definitions, offenders, verdict
from whimbrel.errors import SchemaFailed, SourceInterrupted, TableMissing
from whimbrel.model.names import TableName

OLDEST: Final = 110000  # sha256() and the catalog columns that we read
OLDEST_PUBLISHER: Final = 130000  # publications that follow partitions through their root
LONG_SECONDS: Final = 300  # a transaction this old keeps a slot from being made
LOCKED_SECONDS: Final = 5  # how long a table may be locked by others before the rest is checked without it

RUN: Final = "Run the source statements that POST /v1/prereqs lists."


def source(connection: Connection, patterns: Sequence[TableName], changes: bool) -> Iterator[CheckResult]:
    """All checks; with ``changes`` those of capturing too."""
    yield version(connection, OLDEST_PUBLISHER if changes else OLDEST)
    yield free_connections(connection)
    lacking = schemas_lacking(connection, patterns, "USAGE")
    yield offenders("postgres.schema_usage", lacking, "schemas can be used", "no USAGE on schema", RUN)
    tables, missing = _resolved(connection, patterns)
    yield verdict("postgres.tables_exist", missing is None, f"{len(tables)} tables found", str(missing), _CORRECT)
    unreadable = tables_where(connection, tables, "not has_table_privilege(c.oid, 'SELECT')")
    yield offenders("postgres.table_select", unreadable, "all tables can be read", "no SELECT on", RUN)
    yield row_security(tables_where(connection, tables, "row_security_active(c.oid)"), RUN)
    yield from _definitions(connection, tables)
    standby = bool(value(connection, "select pg_is_in_recovery()"))
    if changes:
        yield from results([capturing.primary(connection)])
    else:
        yield verdict(
            "postgres.primary",
            not standby,
            "the server is a primary",
            "the server is a standby, whose primary may end a long read (max_standby_streaming_delay)",
            "Set hot_standby_feedback = on and max_standby_streaming_delay = -1 there, or read from the primary.",
            otherwise="warn",
        )
    if standby and not changes:
        yield offenders(
            "postgres.unlogged_tables",
            _without_log(connection, tables),
            "the standby has the rows of all tables",
            "a standby has no rows of",
            "ALTER TABLE ... SET LOGGED for each, or leave them out.",
        )
    if changes:
        yield from _log(connection)
        yield from _rights_to_capture(connection)
        yield from _capturable(connection, tables)
        yield _long_transactions(connection)


_LATER: Final = "Validate again when they have ended; what reads these tables waits and tries again by itself."
_CORRECT: Final = "Correct 'tables' of the migration, or create the table."


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


def _definitions(connection: Connection, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    """Keys, types and sequences, as far as the definitions can be read."""
    bound_waits(connection, LOCKED_SECONDS)
    try:
        with locks_named(connection):
            reflected = schema.reflect(connection, tables) if tables else ()
    except SchemaFailed as e:
        yield CheckResult("postgres.types", "fail", e.message, e.how_to_fix)
        return
    except SourceInterrupted as e:
        yield CheckResult("postgres.types", "warn", f"the definitions could not be read: {e.message}", _LATER)
        return
    yield from definitions("postgres", "PostgreSQL", "PostgreSQL", reflected)
    hidden = {
        use.qualified for t in reflected for use in particulars.of(t).sequences.values() if use.next_value is None
    }
    yield offenders(
        "postgres.sequence_select",
        sorted(hidden),
        "the next value of every sequence can be read",
        "no SELECT on sequences, whose next values would not be carried over",
        f"GRANT SELECT ON SEQUENCE ... for each, or: {RUN}",
        otherwise="warn",
    )


# --- reading changes --------------------------------------------------------------------------------------------------


def _log(connection: Connection) -> Iterator[CheckResult]:
    yield from results([capturing.logical(connection)])
    yield _left(connection, "replication_slots")
    yield _left(connection, "wal_senders")
    kept = value(connection, "select setting from pg_settings where name = 'max_slot_wal_keep_size'")
    yield verdict(
        "postgres.max_slot_wal_keep_size",
        kept in (None, "-1"),
        "the log is kept for as long as a slot needs it",
        f"max_slot_wal_keep_size is {kept} MB: a migration that falls behind or pauses for longer loses its slot",
        "ALTER SYSTEM SET max_slot_wal_keep_size = -1, or make sure that this much is written only after a pause.",
        otherwise="warn",
    )
    idle = value(connection, "select setting from pg_settings where name = 'idle_replication_slot_timeout'")
    yield verdict(
        "postgres.idle_replication_slot_timeout",
        idle in (None, "0"),
        "a slot is kept however long it is not read",
        f"idle_replication_slot_timeout is {idle} s: a migration that pauses for longer loses its slot",
        "ALTER SYSTEM SET idle_replication_slot_timeout = 0, then SELECT pg_reload_conf().",
        otherwise="warn",
    )


def _left(connection: Connection, what: str) -> CheckResult:
    setting = f"max_{what}"
    most = int(value(connection, f"select current_setting('{setting}')"))
    taken = int(value(connection, f"select count(*) from pg_catalog.{prerequisites.USED[setting]}"))  # noqa: S608
    return verdict(
        f"postgres.{what}",
        taken < most,
        f"{taken} of {most} {what.replace('_', ' ')} are in use",
        f"all {most} {what.replace('_', ' ')} are in use",
        f"Drop unused ones, or ALTER SYSTEM SET {setting} = {most + prerequisites.MORE}, then restart"
        + ("; standbys first, which need as many." if what == "wal_senders" else "."),
    )


def _rights_to_capture(connection: Connection) -> Iterator[CheckResult]:
    yield from results([capturing.may_replicate(connection)])
    yield create_on_database(connection, "postgres.publication_rights", "make a publication")


def _capturable(connection: Connection, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    unowned = tables_where(connection, tables, "not pg_has_role(c.relowner, 'USAGE')")
    partitions = connection.info.server_version >= OLDEST_PUBLISHER
    said_too_little = f"c.relkind in ('r', 'p') and {prerequisites.UNIDENTIFIED}"
    unidentified = tables_where(connection, tables, said_too_little, partitions=partitions)
    foreign = tables_where(connection, tables, "c.relkind not in ('r', 'p')")
    yield from results(
        (
            capturing.owned(unowned),
            capturing.logged(_without_log(connection, tables)),
            capturing.identified(unidentified),
            capturing.tables(foreign),
        )
    )


def _without_log(connection: Connection, tables: Sequence[TableName]) -> list[str]:
    partitions = connection.info.server_version >= OLDEST_PUBLISHER
    return tables_where(connection, tables, "c.relpersistence <> 'p' and c.relkind = 'r'", partitions=partitions)


def _long_transactions(connection: Connection) -> CheckResult:
    prepared = names(
        connection,
        "select gid || ' (prepared ' || extract(epoch from now() - prepared)::int || ' s ago)' from pg_prepared_xacts"
        " where database = current_database() order by prepared",
    )
    old = names(
        connection,
        "select pid || ' (' || usename || ', ' || extract(epoch from now() - xact_start)::int || ' s)'"
        " from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'"
        " and xact_start < now() - %s * interval '1 second' order by xact_start",
        LONG_SECONDS,
    )
    if not (old or prepared) and not value(connection, "select pg_has_role('pg_read_all_stats', 'USAGE')"):
        return CheckResult("postgres.long_transactions", "warn", "other users' transactions cannot be seen", RUN)
    return offenders(
        "postgres.long_transactions",
        old + prepared,
        "no transaction is open for long",
        "a replication slot can be made only after these transactions have ended",
        "End them (ROLLBACK PREPARED what nobody will commit), or start the migration when they are over.",
        otherwise="warn",
    )
