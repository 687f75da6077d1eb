"""The tables of the progress: database ``whimbrel``. Made where they are absent, and brought up to date.

The version before kept in ``chunks`` how many rows of each were loaded. MySQL's DDL commits by itself, so that column
is renamed first, in one statement that waits for who is writing: a worker of that version is refused where it loads or
plans from there on, and may write no more than a position, for which it must be the owner as ever. Then what it had
recorded is taken over, and the column dropped. Each step may be cut, and is taken again by whoever comes next, before
it reads anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pymysql

from whimbrel.connectors.mysql.connection import Session, execute, query
from whimbrel.connectors.mysql.refusals import number_and_text, server_refusal
from whimbrel.errors import TargetInterrupted, TargetPermissionDenied

DATABASE: Final = "whimbrel"
_OPTIONS = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
_OF_TABLE = "migration VARCHAR(64) NOT NULL, source_schema VARCHAR(128) NOT NULL, source_table VARCHAR(128) NOT NULL"
# The order of the columns is that of ``sql.ledger.TABLES``.
_DEFINITIONS: Final = {
    "progress": (
        "migration VARCHAR(64) NOT NULL PRIMARY KEY, epoch BIGINT NOT NULL, operation VARCHAR(64) NOT NULL DEFAULT '',"
        " position LONGTEXT NULL, data_complete TINYINT(1) NOT NULL DEFAULT 0, snapshots INT NOT NULL DEFAULT 0,"
        " turn BIGINT NOT NULL DEFAULT 0,"
        " updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"
    ),
    "tables": (
        f"{_OF_TABLE}, fingerprint VARCHAR(64) NOT NULL, finished TINYINT(1) NOT NULL DEFAULT 0,"
        " PRIMARY KEY (migration, source_schema, source_table)"
    ),
    "chunks": (
        f"{_OF_TABLE}, number INT NOT NULL, bounds LONGTEXT NOT NULL, planned_rows BIGINT NOT NULL,"
        " planned_bytes BIGINT NOT NULL, PRIMARY KEY (migration, source_schema, source_table, number)"
    ),
    "loaded": (
        f"{_OF_TABLE}, number INT NOT NULL, loaded_rows BIGINT NOT NULL,"
        " PRIMARY KEY (migration, source_schema, source_table, number)"
    ),
    # indexes and foreign keys that were dropped before a load, as they stand behind ADD in ALTER TABLE
    "dropped": (
        "target_schema VARCHAR(64) NOT NULL, target_table VARCHAR(64) NOT NULL, kind VARCHAR(16) NOT NULL,"
        " name VARCHAR(64) NOT NULL, definition LONGTEXT NOT NULL,"
        " PRIMARY KEY (target_schema, target_table, kind, name)"
    ),
    # tables of the target that a migration made or loaded
    "owned": (
        "migration VARCHAR(64) NOT NULL, target_schema VARCHAR(64) NOT NULL, target_table VARCHAR(64) NOT NULL,"
        " PRIMARY KEY (migration, target_schema, target_table)"
    ),
}
_OLD: Final = "loaded_rows"  # of chunks, in the version before
_RENAMED: Final = "loaded_before"
_LOCK: Final = "whimbrel upgrade"
_LOCK_SECONDS: Final = 30
_THERE: Final = "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s"
_KEY: Final = "migration, source_schema, source_table, number"
_TAKE_OVER: Final = (
    f"INSERT IGNORE INTO whimbrel.loaded SELECT {_KEY}, {_RENAMED} FROM whimbrel.chunks "  # noqa: S608 - constants
    f"WHERE {_RENAMED} IS NOT NULL"
)

Layout = dict[str, set[str]]


def ensure_tables(session: Session, before_upgrade: Callable[[], None] = lambda: None) -> None:
    """Make the database and its tables when absent, and upgrade those of the version before; ``before_upgrade`` is
    called then. Raises TargetPermissionDenied with the statements to run."""
    there = _layout(session)
    missing = [name for name in _DEFINITIONS if name not in there]
    try:
        if missing and not query(
            session, "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", (DATABASE,)
        ):
            execute(session, f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4")
        for name in missing:
            execute(session, f"CREATE TABLE IF NOT EXISTS {DATABASE}.{name} ({_DEFINITIONS[name]}) {_OPTIONS}")
        if _is_old(there):
            before_upgrade()
            _upgrade(session)
    except pymysql.MySQLError as e:
        refusal = server_refusal(e, "target")
        if not isinstance(refusal, TargetPermissionDenied):
            raise
        raise TargetPermissionDenied(
            f"the target account may not make or change tables of the database {DATABASE!r}, where progress is kept",
            remedy=f"As an administrator: CREATE DATABASE {DATABASE}; GRANT ALL ON {DATABASE}.* TO the target's user.",
            errno=number_and_text(e)[0],
        ) from e


def _layout(session: Session) -> Layout:
    """The columns of our tables that there are."""
    found: Layout = {}
    sql = "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s"
    for table, column in query(session, sql, (DATABASE,)):
        found.setdefault(table, set()).add(column)
    return found


def _is_old(there: Layout) -> bool:
    return bool(there.get("chunks", set()) & {_OLD, _RENAMED}) or "turn" not in there.get("progress", {"turn"})


def _upgrade(session: Session) -> None:
    """One at a time; whoever waited finds nothing left to do."""
    if query(session, "SELECT GET_LOCK(%s, %s)", (_LOCK, _LOCK_SECONDS)) != [(1,)]:
        raise TargetInterrupted("another session has been upgrading the tables of the progress for too long")
    try:
        there = _layout(session)
        if "turn" not in there["progress"]:
            execute(session, "ALTER TABLE whimbrel.progress ADD COLUMN turn BIGINT NOT NULL DEFAULT 0 AFTER snapshots")
        if _OLD in there["chunks"]:
            execute(session, f"ALTER TABLE whimbrel.chunks CHANGE COLUMN {_OLD} {_RENAMED} BIGINT NULL")
        if there["chunks"] & {_OLD, _RENAMED}:
            execute(session, _TAKE_OVER)
            execute(session, f"ALTER TABLE whimbrel.chunks DROP COLUMN {_RENAMED}")
    finally:
        if session.open:
            query(session, "SELECT RELEASE_LOCK(%s)", (_LOCK,))
