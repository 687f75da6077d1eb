"""The statements that an administrator runs on MySQL or MariaDB before a migration.

Written without asking the server anything. What only the server's configuration file can set is given as a piece of
that file, marked with ``restart``; all else is SQL that may be run twice. What only some versions know stands in a
comment that those execute and others skip: ``/*!80000 ... */`` (MySQL 8.0 and newer), ``/*M!100500 ... */`` (MariaDB
10.5 and newer).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal

from whimbrel.connectors.mysql.connection import qualified, quote_identifier, quote_literal
from whimbrel.connectors.protocols import Statement
from whimbrel.connectors.verdicts import needs_changes, schemas_of
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

PACKET_BYTES: Final = 67_108_864
RETENTION_SECONDS: Final = 604_800

# Rights on the databases that are written to.
WRITING: Final = (
    *("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX", "REFERENCES"),
    *("LOCK TABLES", "CREATE TEMPORARY TABLES", "CREATE VIEW", "SHOW VIEW", "TRIGGER"),
)


def statements(
    endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
) -> tuple[Statement, ...]:
    """See ``protocols.Checks.statements``. The account is taken to be of any host."""
    account = f"{quote_literal(str(endpoint.parameters['user']))}@'%'"
    mariadb = endpoint.type == "mariadb"
    changes = needs_changes(mode)
    if role == "target":
        return tuple(_target(account, mariadb, tables))
    reading = tuple(_source(account, tables))
    return (*reading, *_capture(account, mariadb)) if changes else reading


def _source(account: str, tables: Sequence[TableName]) -> Iterator[Statement]:
    yield Statement(
        f"GRANT RELOAD, PROCESS ON *.* TO {account}",
        "to hold writers back for the moment in which the snapshot opens, and to see open transactions; write the "
        "account's own host if it is not '%', here and below",
    )
    if not tables:
        yield Statement(f"GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER ON *.* TO {account}", "to read every table")
    for table in tables:
        what = f"{quote_pattern(table.schema)}.*" if table.is_pattern else qualified(table)
        yield Statement(f"GRANT SELECT ON {what} TO {account}", "to read rows")
    for schema in schemas_of(tables):
        yield Statement(
            f"GRANT LOCK TABLES, SHOW VIEW, TRIGGER ON {quote_pattern(schema)}.* TO {account}",
            "to read definitions (MariaDB shows foreign keys only to who has such a right on the whole database), and "
            "to lock the tables for that moment on servers that refuse a global lock",
        )


def _capture(account: str, mariadb: bool) -> Iterator[Statement]:
    yield Statement(
        f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {account}",
        "to read the binary log and where it ends (MariaDB calls the second one BINLOG MONITOR)",
    )
    why = "so that the log holds whole rows; sessions that are open go on as they were"
    yield _setting(mariadb, "binlog_format", "'ROW'", why)
    yield _setting(mariadb, "binlog_row_image", "'FULL'", why)
    yield _newer(mariadb, "binlog_row_metadata", "'FULL'", "so that the log names columns", (80001, 100500))
    if not mariadb:
        yield _newer(mariadb, "binlog_row_value_options", "''", "so that JSON is logged whole", (80003, 0))
    now = "@@GLOBAL.binlog_expire_logs_seconds"
    kept = f"CAST(IF({now} = 0, 0, GREATEST({now}, {RETENTION_SECONDS})) AS SIGNED)"
    older = "MariaDB before 10.6" if mariadb else "MySQL 5.7"
    why = (
        f"so that a migration that pauses finds its place again; 0 keeps all ({older}: SET GLOBAL expire_logs_days = 7)"
    )
    yield _newer(mariadb, "binlog_expire_logs_seconds", kept, why, (80001, 100601))
    gtid = "gtid_strict_mode = ON" if mariadb else "gtid_mode = ON\nenforce_gtid_consistency = ON"
    yield Statement(
        f"[{'mariadb' if mariadb else 'mysqld'}]\nlog_bin = binlog\nserver_id = 1\nlog_slave_updates = ON\n"
        f"{gtid}\nbinlog_format = ROW\nbinlog_row_image = FULL\nloose_binlog_row_metadata = FULL\n",
        "in the server's configuration file, so that a log is written and stays so after a restart; leave out what "
        "is there already, and use a server_id that no other server in the same replication has (managed services: "
        "in their parameter group)",
        restart=True,
    )


def _target(account: str, mariadb: bool, tables: Sequence[TableName]) -> Iterator[Statement]:
    yield Statement("CREATE DATABASE IF NOT EXISTS `whimbrel` CHARACTER SET utf8mb4", "where progress is kept")
    yield Statement(f"GRANT ALL PRIVILEGES ON `whimbrel`.* TO {account}", "to keep it, and to stage changes there")
    for schema in schemas_of(tables):
        made = f"CREATE DATABASE IF NOT EXISTS {quote_identifier(schema)} CHARACTER SET utf8mb4"
        yield Statement(made, "to hold the tables")
    for what in [f"{quote_pattern(s)}.*" for s in schemas_of(tables)] or ["*.*"]:
        yield Statement(f"GRANT {', '.join(WRITING)} ON {what} TO {account}", "to make, fill and change the tables")
    packet = f"CAST(GREATEST(@@GLOBAL.max_allowed_packet, {PACKET_BYTES}) AS SIGNED)"
    yield _setting(mariadb, "local_infile", "ON", "to load rows with LOAD DATA LOCAL")
    yield _setting(mariadb, "max_allowed_packet", packet, "so that long rows pass")


def _setting(mariadb: bool, name: str, value: str, why: str) -> Statement:
    """A setting that every version knows. It takes effect at once; only MySQL 8.0 can be told to keep it."""
    kept = "" if mariadb else f" /*!80000 , PERSIST {name} = {value} */"
    return Statement(f"SET GLOBAL {name} = {value}{kept}", f"{why}; {_keep(mariadb)}")


def _newer(mariadb: bool, name: str, value: str, why: str, since: tuple[int, int]) -> Statement:
    """A setting that is known since a version of (MySQL, MariaDB)."""
    if mariadb:
        return Statement(f"/*M!{since[1]} SET GLOBAL {name} = {value} */", f"{why}; {_keep(mariadb)}")
    return Statement(f"/*!{since[0]} SET PERSIST {name} = {value} */", f"{why}; MySQL 5.7 skips it")


def _keep(mariadb: bool) -> str:
    older = "" if mariadb else "MySQL 8.0 and newer keep it over a restart; on 5.7 "
    return f"{older}put it into the configuration file too, so that it survives a restart"


def quote_pattern(schema: str) -> str:
    """A database as GRANT takes it, where ``_`` and ``%`` are wildcards."""
    return quote_identifier(schema.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%"))
