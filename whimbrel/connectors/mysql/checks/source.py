"""What must be true of a MySQL or MariaDB server that is read from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from whimbrel.connectors.mysql.checks import prerequisites
from whimbrel.connectors.mysql.checks.grants import Grants, read_grants
from whimbrel.connectors.mysql.checks.server import read_settings, server
from whimbrel.connectors.mysql.connection import Session, query
from whimbrel.connectors.mysql.source import capturing, schema
from whimbrel.connectors.mysql.source.capturing import Settings
from whimbrel.connectors.mysql.source.log import log_status, replicates
from whimbrel.connectors.mysql.source.snapshot import without_transactions
from whimbrel.connectors.protocols import CheckResult
from whimbrel.connectors.requirements import results
from whimbrel.connectors.verdicts import definitions, offenders, schemas_of, verdict
from whimbrel.errors import SchemaFailed, SourcePermissionDenied, TableMissing
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

LONG_SECONDS: Final = 300
DAY: Final = 86_400

RUN: Final = "Run the source statements that POST /v1/prereqs lists."


def source(session: Session, patterns: Sequence[TableName], changes: bool) -> Iterator[CheckResult]:
    """All checks; with ``changes`` those of capturing too."""
    settings, grants = read_settings(session), read_grants(session)
    yield from server(session, settings)
    tables, missing = _resolved(session, patterns)
    yield verdict(
        "mysql.tables_exist",
        missing is None,
        f"{len(tables)} tables found",
        f"{missing} (or no right to see them)",
        f"Correct 'tables' of the migration, or: {RUN}",
    )
    unreadable = [str(t) for t in patterns if not t.is_pattern and not grants.on_table("SELECT", t)]
    unreadable += [str(t) for t in patterns if t.is_pattern and grants.in_schema(["SELECT"], t.schema)]
    yield offenders("mysql.table_select", unreadable, "all tables can be read", "no SELECT on", RUN)
    yield _snapshot_lock(grants, patterns)
    reflected: tuple[Table, ...] = ()
    try:
        reflected = schema.reflect(session, tables) if tables else ()
        yield CheckResult("mysql.definitions", "ok", "all definitions can be read")
    except (SchemaFailed, SourcePermissionDenied) as e:
        yield CheckResult("mysql.definitions", "fail", e.message, e.how_to_fix)
    else:
        yield from _definitions(reflected, changes)
    if changes:
        yield from _log(session, settings)
        yield from results((capturing.cascades(settings, reflected), capturing.versioned(reflected)))
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
        RUN,
        otherwise="warn",
    )


def _definitions(reflected: Sequence[Table], changes: bool) -> Iterator[CheckResult]:
    yield from definitions("mysql", "MySQL", "MySQL and MariaDB", reflected)
    loose = without_transactions(reflected)
    keyless = [str(t.name) for t in loose if changes and not t.key]
    yield offenders(
        "mysql.table_engines",
        keyless or [str(t.name) for t in loose],
        "every table takes part in a snapshot",
        "tables without transactions and without a key, whose rows and changes cannot be told apart"
        if keyless
        else "tables whose engine has no transactions",
        "ALTER TABLE ... ENGINE=InnoDB, or add a primary key."
        if keyless
        else "ALTER TABLE ... ENGINE=InnoDB, or keep writers away while the data is loaded.",
        otherwise="fail" if keyless else "warn",
    )


# --- reading changes --------------------------------------------------------------------------------------------------


def _log(session: Session, settings: Settings) -> Iterator[CheckResult]:
    yield from results((capturing.logged(settings), *capturing.formats(settings)))
    metadata = settings.get("binlog_row_metadata", "").upper()
    yield verdict(
        "mysql.binlog_row_metadata",
        metadata in ("FULL", ""),
        "the log names columns" if metadata else "this server has no binlog_row_metadata",
        f"binlog_row_metadata is {metadata}: columns that are added, dropped or renamed meanwhile stop the replication",
        "SET GLOBAL binlog_row_metadata = 'FULL'",
        otherwise="warn",
    )
    yield from results([capturing.numbered(settings)])
    yield _gtid(session, settings)
    yield _retention(settings)
    replica = None if capturing.logs_relayed(settings) else replicates(session, settings)
    yield from results([capturing.relayed(settings, replica)])


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
    yield offenders("mysql.replication_grants", lacking, "the binary log can be read", "not granted", RUN)
    if "REPLICATION CLIENT" in lacking:
        return
    status = log_status(session)
    if status is not None:
        yield from results([capturing.unfiltered(status, tables)])


def _long_transactions(session: Session, grants: Grants) -> CheckResult:
    if grants.everywhere(["PROCESS"]):
        return CheckResult("mysql.long_transactions", "warn", "open transactions cannot be seen", RUN)
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
