"""What must be true of a server whose binary log is captured: the checks tell it, and a capture refuses by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from whimbrel.connectors.requirements import Requirement, nothing_found
from whimbrel.errors import LogDisabled, LogFormatRefused
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

Settings = Mapping[str, str]
"""Global variables by their names in lower case."""

SETTINGS: Final = (
    *("log_bin", "binlog_format", "binlog_row_image", "binlog_row_value_options", "server_id"),
    *("log_slave_updates", "log_replica_updates", "innodb_native_foreign_keys", "wsrep_on"),
)
_FORMATS: Final = (("binlog_format", "ROW"), ("binlog_row_image", "FULL"), ("binlog_row_value_options", ""))
_RULES: Final = ("CASCADE", "SET NULL", "SET DEFAULT")


def on(settings: Settings, name: str, default: str = "OFF") -> bool:
    return settings.get(name, default).upper() in ("ON", "1")


def logged(settings: Settings) -> Requirement:
    return Requirement(
        "mysql.log_bin",
        on(settings, "log_bin"),
        "a binary log is written",
        "log_bin is OFF: the source writes no binary log",
        "Set log_bin and server_id in the server's configuration file and restart it.",
        LogDisabled,
    )


def formats(settings: Settings) -> Iterator[Requirement]:
    """What the log holds of each row."""
    for name, wanted in _FORMATS:
        found = settings.get(name, wanted).upper()
        yield Requirement(
            f"mysql.{name}",
            found == wanted,
            f"{name} is {found or 'empty'}",
            f"{name} is {found} on the source; {wanted or 'no value'} is needed",
            f"SET GLOBAL {name} = '{wanted}'; then reconnect the clients that write.",
            LogFormatRefused,
            details={"setting": name},
        )


def numbered(settings: Settings) -> Requirement:
    return Requirement(
        "mysql.server_id",
        settings.get("server_id", "0") != "0",
        f"server_id is {settings.get('server_id')}",
        "server_id is 0 on the source",
        "Give the server an id of its own: server_id in its configuration file, or SET GLOBAL server_id.",
        LogDisabled,
    )


def logs_relayed(settings: Settings) -> bool:
    """Whether what the server replicates from others is in its own log."""
    return on(settings, "log_replica_updates", settings.get("log_slave_updates", "ON"))


def relayed(settings: Settings, replica: bool | None) -> Requirement:
    """A replica that does not log what it replicates would hide those changes from us. Where the account may not know
    whether it is one (None), most sources are none."""
    logs = logs_relayed(settings)
    state = {True: "this server is a replica, and", False: "", None: "if this server is a replica,"}[replica]
    return Requirement(
        "mysql.log_slave_updates",
        logs or replica is False,
        "what the server replicates from others is logged too" if logs else "the server replicates from no other",
        f"log_slave_updates is OFF: {state} what it replicates is not in its log",
        "Set log_slave_updates = ON in the configuration file and restart, or read from the primary.",
        LogFormatRefused,
        otherwise="fail" if replica else "warn",
    )


def unfiltered(status: tuple[Any, ...], tables: Sequence[TableName]) -> Requirement:
    """``status`` as ``log.log_status`` has it."""
    only, never = ({name for name in str(status[n] or "").split(",") if name} for n in (2, 3))
    schemas = {t.schema for t in tables}
    return nothing_found(
        "mysql.binlog_filters",
        sorted(schemas & never | (schemas - only if only else set())),
        "every database is logged",
        "the source's binary log leaves out (binlog_do_db, binlog_ignore_db)",
        "Remove the filter from the server's configuration file and restart it.",
        LogFormatRefused,
        "databases",
    )


def cascades(settings: Settings, tables: Sequence[Table]) -> Requirement:
    """InnoDB's own cascades change child rows without a trace in the log; only MySQL from 9.6 on can log them."""
    silent = [
        f"{table.name}.{key.name}"
        for table in tables
        for key in table.foreign_keys
        if on(settings, "innodb_native_foreign_keys", "ON") and (key.on_delete in _RULES or key.on_update in _RULES)
    ]
    return nothing_found(
        "mysql.foreign_keys",
        silent,
        "no foreign key changes rows without logging it",
        "foreign keys that change rows without logging it",
        "Make them RESTRICT or NO ACTION on the source, or leave their tables out, or move data only.",
        LogFormatRefused,
        "foreign_keys",
    )


def versioned(tables: Sequence[Table]) -> Requirement:
    """In a system-versioned table each change makes rows of history too, and the log does not tell them apart."""
    return nothing_found(
        "mysql.versioned_tables",
        [str(t.name) for t in tables if t.versioned],
        "no table keeps a history of its rows",
        "system-versioned tables, of which the log mixes today's rows with history",
        "ALTER TABLE ... DROP SYSTEM VERSIONING, or leave the tables out, or move data only.",
        LogFormatRefused,
        "tables",
    )
