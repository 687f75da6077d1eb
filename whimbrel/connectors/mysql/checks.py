"""What must be true of a MySQL or MariaDB server before a migration works, each point with its own stable id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Final, Literal

from whimbrel.connectors.mysql import prerequisites, schema
from whimbrel.connectors.mysql.connection import Session, connect, mapped, query
from whimbrel.connectors.mysql.grants import Grants, read_grants
from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.verdicts import needs_changes, offenders, schemas_of, verdict
from whimbrel.errors import SchemaFailed, SourcePermissionDenied, TableMissing
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Table

OLDEST: Final = {"MySQL": (5, 7), "MariaDB": (10, 3)}
CONNECTIONS: Final = 12  # what one migration may open
LONG_SECONDS: Final = 300
DAY: Final = 86_400
SMALL_PACKET: Final = 16 << 20

RUN_SOURCE: Final = "Run the source statements that POST /v1/prereqs lists."
RUN_TARGET: Final = "Run the target statements that POST /v1/prereqs lists."

Settings = Mapping[str, str]


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
        with closing(connect(endpoint.parameters, "checks")) as session, mapped(role):
            if role == "target":
                return tuple(_target(session, tables))
            return tuple(_source(session, tables, changes))


CHECKS: Final = MySQLChecks()


def _settings(session: Session) -> Settings:
    rows = query(session, "SHOW GLOBAL VARIABLES")
    return {str(name).lower(): str(value) for name, value in rows}


def _on(settings: Settings, name: str, default: str = "OFF") -> bool:
    return settings.get(name, default).upper() in ("ON", "1")


def _server(session: Session, settings: Settings) -> Iterator[CheckResult]:
    title = "MariaDB" if session.mariadb else "MySQL"
    version, oldest = ".".join(map(str, session.version)), ".".join(map(str, OLDEST[title]))
    yield verdict(
        "mysql.version",
        session.version >= OLDEST[title],
        f"{title} {version}",
        f"{title} {version} is older than {oldest}",
        "Upgrade the server.",
    )
    used = int(query(session, "SHOW GLOBAL STATUS LIKE 'Threads_connected'")[0][1])
    free = int(settings["max_connections"]) - used
    yield verdict(
        "mysql.free_connections",
        free >= CONNECTIONS,
        f"{free} connections are free",
        f"only {free} connections are free; a migration opens up to {CONNECTIONS}",
        "Raise max_connections, end idle sessions, or lower 'threads' of the migration.",
        otherwise="warn" if free >= 4 else "fail",
    )


# --- source -----------------------------------------------------------------------------------------------------------


def _source(session: Session, patterns: Sequence[TableName], changes: bool) -> Iterator[CheckResult]:
    settings, grants = _settings(session), read_grants(session)
    yield from _server(session, settings)
    tables, missing = _resolved(session, patterns)
    yield verdict(
        "mysql.tables_exist",
        missing is None,
        f"{len(tables)} tables found",
        f"{missing} (or no right to see them)",
        f"Correct 'tables' of the migration, or: {RUN_SOURCE}",
    )
    unreadable = [str(t) for t in patterns if not t.is_pattern and not grants.on_table("SELECT", t)]
    unreadable += [str(t) for t in patterns if t.is_pattern and grants.in_schema(["SELECT"], t.schema)]
    yield offenders("mysql.table_select", unreadable, "all tables can be read", "no SELECT on", RUN_SOURCE)
    yield _snapshot_lock(grants, patterns)
    yield from _definitions(session, tables)
    if changes:
        yield from _log(session, settings, tables)
        yield from _log_rights(session, grants, tables)
        yield _long_transactions(session, grants)


def _resolved(session: Session, patterns: Sequence[TableName]) -> tuple[tuple[TableName, ...], str | None]:
    """The tables meant, and a message when some do not exist: then those are left out."""
    found: list[TableName] = []
    missing = []
    for pattern in patterns:
        try:
            found += schema.resolve(session, [pattern])
        except (TableMissing, SourcePermissionDenied) as e:
            missing.append(e.message)
    return tuple(dict.fromkeys(found)), "; ".join(missing) or None


def _snapshot_lock(grants: Grants, patterns: Sequence[TableName]) -> CheckResult:
    lockable = not any(grants.in_schema(["LOCK TABLES"], s) for s in schemas_of(patterns)) and bool(patterns)
    flush = not grants.everywhere(["RELOAD"]) or not grants.everywhere(["FLUSH_TABLES"])
    return verdict(
        "mysql.snapshot_lock",
        flush or lockable,
        "writers can be held back for the moment in which the snapshot opens",
        "neither RELOAD nor LOCK TABLES is granted: the snapshot cannot know its place in the log exactly",
        RUN_SOURCE,
        otherwise="warn",
    )


def _definitions(session: Session, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    try:
        reflected = schema.reflect(session, tables) if tables else ()
    except SchemaFailed as e:
        yield CheckResult("mysql.types", "fail", e.message, e.how_to_fix)
        return
    except SourcePermissionDenied as e:
        yield CheckResult("mysql.definitions", "fail", e.message, e.how_to_fix)
        return
    yield offenders(
        "mysql.tables_without_key",
        [str(t.name) for t in reflected if not t.key],
        "every table has a key",
        "tables without a primary key or a unique key of NOT NULL columns",
        "Add a key. Without one an interrupted load starts the table again, changes are found by the whole row, which "
        "is slow, and validation compares rows as multisets.",
        otherwise="warn",
    )
    yield offenders(
        "mysql.types",
        [name for table in reflected for name in _native_columns(table)],
        "every column type travels to other engines",
        "columns of types that only MySQL has",
        "They are copied to MySQL and MariaDB targets only; leave the tables out, or change the types, for any other.",
        otherwise="warn",
    )
    yield offenders(
        "mysql.table_engines",
        _untransactional(session, tables),
        "every table takes part in a snapshot",
        "tables whose engine has no transactions",
        "ALTER TABLE ... ENGINE=InnoDB, or keep writers away while the data is loaded.",
        otherwise="warn",
    )


def _native_columns(table: Table) -> Iterator[str]:
    for column in table.loaded_columns:
        if column.type.annotation in (Annotation.NATIVE, Annotation.SPATIAL):
            yield f"{table.name}.{column.name} ({column.type.native})"


def _untransactional(session: Session, tables: Sequence[TableName]) -> list[str]:
    rows = query(
        session,
        "SELECT t.TABLE_SCHEMA, t.TABLE_NAME FROM information_schema.TABLES t JOIN information_schema.ENGINES e"
        " ON e.ENGINE = t.ENGINE WHERE e.TRANSACTIONS <> 'YES' OR e.TRANSACTIONS IS NULL",
    )
    return sorted(str(name) for name in {TableName(str(s), str(t)) for s, t in rows} & set(tables))


# --- source: reading changes ------------------------------------------------------------------------------------------


def _log(session: Session, settings: Settings, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    yield verdict(
        "mysql.log_bin",
        _on(settings, "log_bin"),
        "a binary log is written",
        "log_bin is OFF: no binary log is written",
        "Set log_bin and server_id in the server's configuration file and restart it.",
    )
    for name, wanted in (("binlog_format", "ROW"), ("binlog_row_image", "FULL"), ("binlog_row_value_options", "")):
        found = settings.get(name, wanted).upper()
        yield verdict(
            f"mysql.{name}",
            found == wanted,
            f"{name} is {found or 'empty'}",
            f"{name} is {found}; {wanted or 'no value'} is needed",
            f"SET GLOBAL {name} = '{wanted}'; then reconnect the clients that write.",
        )
    metadata = settings.get("binlog_row_metadata", "").upper()
    yield verdict(
        "mysql.binlog_row_metadata",
        metadata in ("FULL", ""),
        "the log names columns" if metadata else "this server has no binlog_row_metadata",
        f"binlog_row_metadata is {metadata}: columns that are added, dropped or renamed meanwhile stop the replication",
        "SET GLOBAL binlog_row_metadata = 'FULL'",
        otherwise="warn",
    )
    yield verdict(
        "mysql.server_id",
        settings.get("server_id", "0") != "0",
        f"server_id is {settings.get('server_id')}",
        "server_id is 0",
        "Give the server an id of its own: server_id in its configuration file, or SET GLOBAL server_id.",
    )
    yield _gtid(session, settings)
    yield _retention(settings)
    replica_logs = _on(settings, "log_replica_updates", settings.get("log_slave_updates", "ON"))
    yield verdict(
        "mysql.log_slave_updates",
        replica_logs,
        "what the server replicates from others is logged too",
        "log_slave_updates is OFF: if this server is a replica, what it replicates is not in its log",
        "Set log_slave_updates = ON in the configuration file and restart, or read from the primary.",
        otherwise="warn",
    )


def _gtid(session: Session, settings: Settings) -> CheckResult:
    good = session.mariadb or settings.get("gtid_mode", "OFF").upper() == "ON"
    return verdict(
        "mysql.gtid",
        good,
        "transactions have global ids",
        "gtid_mode is OFF: after a failover of the source the place in the log cannot be found on the new server",
        "Set gtid_mode = ON and enforce_gtid_consistency = ON.",
        otherwise="warn",
    )


def _retention(settings: Settings) -> CheckResult:
    seconds = int(float(settings.get("binlog_expire_logs_seconds", "0")))
    seconds = seconds or int(float(settings.get("expire_logs_days", "0")) * DAY)
    return verdict(
        "mysql.binlog_retention",
        seconds == 0 or seconds >= DAY,
        f"the binary log is kept for {seconds // 3600} hours" if seconds else "the binary log is kept until purged",
        f"the binary log is kept for {seconds} s only: a migration that pauses for longer must start again",
        f"SET GLOBAL binlog_expire_logs_seconds = {prerequisites.RETENTION_SECONDS}",
        otherwise="warn",
    )


def _log_rights(session: Session, grants: Grants, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    lacking = grants.everywhere(["REPLICATION SLAVE", "REPLICATION CLIENT"])
    yield offenders("mysql.replication_grants", lacking, "the binary log can be read", "not granted", RUN_SOURCE)
    if "REPLICATION CLIENT" in lacking:
        return
    new = not session.mariadb and session.version >= (8, 2)
    status = query(session, "SHOW BINARY LOG STATUS" if new else "SHOW MASTER STATUS")
    if status:
        only, never = ({n for n in str(status[0][i] or "").split(",") if n} for i in (2, 3))
        schemas = set(schemas_of(tables))
        yield offenders(
            "mysql.binlog_filters",
            sorted(schemas & never | (schemas - only if only else set())),
            "every database is logged",
            "binlog_do_db or binlog_ignore_db leaves out",
            "Remove the filter from the server's configuration file and restart it.",
        )


def _long_transactions(session: Session, grants: Grants) -> CheckResult:
    if grants.everywhere(["PROCESS"]):
        return CheckResult("mysql.long_transactions", "warn", "open transactions cannot be seen", RUN_SOURCE)
    rows = query(
        session,
        "SELECT trx_mysql_thread_id, TIMESTAMPDIFF(SECOND, trx_started, NOW()) FROM information_schema.INNODB_TRX"
        " WHERE trx_started < NOW() - INTERVAL %s SECOND ORDER BY trx_started",
        (LONG_SECONDS,),
    )
    return offenders(
        "mysql.long_transactions",
        [f"connection {id} ({age} s)" for id, age in rows],
        "no transaction is open for long",
        "opening the snapshot may wait for",
        "End them, or start the migration when they are over.",
        otherwise="warn",
    )


# --- target -----------------------------------------------------------------------------------------------------------


def _target(session: Session, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    settings, grants = _settings(session), read_grants(session)
    yield from _server(session, settings)
    yield verdict(
        "mysql.writable",
        not (_on(settings, "read_only") or _on(settings, "super_read_only")),
        "the server takes writes",
        "the target is read_only",
        "Point the target at a primary server that takes writes.",
    )
    lacking = grants.in_schema(["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP"], "whimbrel")
    yield offenders(
        "mysql.progress_database",
        lacking,
        "progress can be kept in the database 'whimbrel'",
        "not granted on the database 'whimbrel', which keeps the progress",
        RUN_TARGET,
    )
    missing = [f"{r} on {s}" for s in schemas_of(tables) for r in grants.in_schema(prerequisites.WRITING, s)]
    if not tables:
        missing = grants.everywhere(prerequisites.WRITING)
    yield offenders("mysql.write_grants", missing, "tables can be made, filled and changed", "not granted", RUN_TARGET)
    yield verdict(
        "mysql.local_infile",
        _on(settings, "local_infile"),
        "LOAD DATA LOCAL is allowed",
        "local_infile is OFF: rows cannot be loaded",
        "SET GLOBAL local_infile = ON",
    )
    packet = int(settings["max_allowed_packet"])
    yield verdict(
        "mysql.max_allowed_packet",
        packet >= prerequisites.PACKET_BYTES,
        f"max_allowed_packet is {packet} bytes",
        f"max_allowed_packet is {packet} bytes; longer values are refused",
        f"SET GLOBAL max_allowed_packet = {prerequisites.PACKET_BYTES}",
        otherwise="warn" if packet >= SMALL_PACKET else "fail",
    )
    yield verdict(
        "mysql.sql_require_primary_key",
        not _on(settings, "sql_require_primary_key"),
        "tables without a key can be made",
        "sql_require_primary_key is ON: tables without a key cannot be made",
        "SET GLOBAL sql_require_primary_key = OFF, or add keys at the source.",
        otherwise="warn",
    )
