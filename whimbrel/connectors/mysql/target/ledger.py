"""A migration's progress, kept in the target beside its rows: database ``whimbrel``, tables progress, tables, chunks.

Every write holds the migration's row of ``progress`` in the same transaction and compares the epoch, so that a worker
that was replaced can no longer write. Loaders hold it shared, and so work side by side.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import pymysql

from whimbrel.connectors.mysql.connection import Session, connect, execute, mapped, query
from whimbrel.connectors.mysql.refusals import number_and_text, server_refusal
from whimbrel.connectors.protocols import Claim, LoadState, TableLoad
from whimbrel.errors import Fenced, TargetPermissionDenied
from whimbrel.model.chunk import Chunk
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table

DATABASE = "whimbrel"
_OPTIONS = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
_TABLE_NAME = "migration VARCHAR(64) NOT NULL, source_schema VARCHAR(128) NOT NULL, source_table VARCHAR(128) NOT NULL"
_DEFINITIONS = {
    "progress": (
        "migration VARCHAR(64) NOT NULL PRIMARY KEY, epoch BIGINT NOT NULL, operation VARCHAR(64) NOT NULL DEFAULT '',"
        " position LONGTEXT NULL, data_complete TINYINT(1) NOT NULL DEFAULT 0, snapshots INT NOT NULL DEFAULT 0,"
        " updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"
    ),
    "tables": (
        f"{_TABLE_NAME}, fingerprint VARCHAR(64) NOT NULL, finished TINYINT(1) NOT NULL DEFAULT 0,"
        " PRIMARY KEY (migration, source_schema, source_table)"
    ),
    "chunks": (
        f"{_TABLE_NAME}, number INT NOT NULL, bounds LONGTEXT NOT NULL, planned_rows BIGINT NOT NULL,"
        " planned_bytes BIGINT NOT NULL, loaded_rows BIGINT NULL,"
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
# A migration that is deleted and made again must not come to the epochs of its namesake, whose workers may still live:
# a row is new for longer than it takes to claim it once, so the time is ahead of all that was claimed before.
_FIRST_EPOCH = "CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS UNSIGNED)"
_OF_TABLE = "migration = %s AND source_schema = %s AND source_table = %s"


def ensure_tables(session: Session) -> None:
    """Make the database and its tables when absent. Raises TargetPermissionDenied with the statements to run."""
    rows = query(session, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", (DATABASE,))
    missing = [name for name in _DEFINITIONS if (name,) not in rows]
    if not missing:
        return
    try:
        if not query(session, "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", (DATABASE,)):
            execute(session, f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb4")
        for name in missing:
            execute(session, f"CREATE TABLE IF NOT EXISTS {DATABASE}.{name} ({_DEFINITIONS[name]}) {_OPTIONS}")
    except pymysql.MySQLError as e:
        refusal = server_refusal(e, "target")
        if not isinstance(refusal, TargetPermissionDenied):
            raise
        raise TargetPermissionDenied(
            f"the target account may not make the database {DATABASE!r}, where progress is kept",
            remedy=f"As an administrator: CREATE DATABASE {DATABASE}; GRANT ALL ON {DATABASE}.* TO the target's user.",
            errno=number_and_text(e)[0],
        ) from e


def require(session: Session, claim: Claim | None) -> None:
    """Raise Fenced when somebody else has claimed the migration since. For what commits by itself, as DDL does."""
    if claim is None:
        return
    rows = query(session, "SELECT epoch FROM whimbrel.progress WHERE migration = %s", (claim.migration,))
    _require_newest(rows, claim.migration, claim.epoch)


def hold(session: Session, migration: str, epoch: int, how: Literal["SHARE", "UPDATE"]) -> None:
    """Lock the migration's row until the open transaction ends. Raises Fenced unless ``epoch`` is its newest."""
    lock = "FOR UPDATE" if how == "UPDATE" else "LOCK IN SHARE MODE"
    sql = f"SELECT epoch FROM whimbrel.progress WHERE migration = %s {lock}"  # noqa: S608 - a constant
    _require_newest(query(session, sql, (migration,)), migration, epoch)


def _require_newest(rows: Sequence[tuple[Any, ...]], migration: str, epoch: int) -> None:
    newest = int(rows[0][0]) if rows else 0
    if newest != epoch:
        raise Fenced(f"migration {migration}: epoch {epoch} was replaced by {newest}", epoch=epoch, newest=newest)


@contextmanager
def transaction(session: Session, subject: str = "") -> Iterator[None]:
    """Commit at the end of the block; roll back and map the driver's errors when it raises."""
    with mapped("target", subject):
        try:
            execute(session, "START TRANSACTION")
            yield
            execute(session, "COMMIT")
        except BaseException:
            if session.open:
                _roll_back(session)
            raise


def _roll_back(session: Session) -> None:
    """What could not be rolled back because the connection is gone, the server rolls back."""
    try:
        execute(session, "ROLLBACK")
    except pymysql.MySQLError:
        session.close()


class MySQLLedger:
    """See ``protocols.Ledger``."""

    def __init__(self, parameters: Mapping[str, Any], operation: str, migration: str) -> None:
        self.migration = migration
        self.session = connect(parameters, operation, role="target")
        try:
            with mapped("target"):
                ensure_tables(self.session)
        except BaseException:
            self.session.close()
            raise

    def claim(self) -> int:
        with transaction(self.session, "whimbrel.progress"):
            execute(
                self.session,
                f"INSERT INTO whimbrel.progress (migration, epoch) VALUES (%s, {_FIRST_EPOCH})"  # noqa: S608 - a constant
                " ON DUPLICATE KEY UPDATE epoch = epoch + 1",
                (self.migration,),
            )
            sql = "SELECT epoch FROM whimbrel.progress WHERE migration = %s"
            return int(query(self.session, sql, (self.migration,))[0][0])

    def state(self) -> LoadState:
        with transaction(self.session, "whimbrel.progress"):
            rows = query(
                self.session,
                "SELECT epoch, operation, position, data_complete, snapshots FROM whimbrel.progress"
                " WHERE migration = %s",
                (self.migration,),
            )
            if not rows:
                return LoadState(0, "", None, False, 0)
            epoch, operation, position, complete, snapshots = rows[0]
            return LoadState(
                epoch=int(epoch),
                operation=operation,
                position=Position.from_json(position) if position else None,
                data_complete=bool(complete),
                snapshots=int(snapshots),
                tables=self._tables(layouts := self._layouts()),
                layouts={name: fingerprint for name, (fingerprint, _) in layouts.items()},
            )

    def _layouts(self) -> dict[TableName, tuple[str, bool]]:
        """Fingerprint, and whether its keys are built."""
        sql = "SELECT source_schema, source_table, fingerprint, finished FROM whimbrel.tables WHERE migration = %s"
        rows = query(self.session, sql, (self.migration,))
        return {TableName(schema, name): (fingerprint, bool(finished)) for schema, name, fingerprint, finished in rows}

    def _tables(self, layouts: Mapping[TableName, tuple[str, bool]]) -> dict[TableName, TableLoad]:
        chunks: dict[TableName, list[Chunk]] = {}
        loaded: dict[TableName, dict[int, int]] = {}
        for schema, name, number, bounds, rows, size, done in query(
            self.session,
            "SELECT source_schema, source_table, number, bounds, planned_rows, planned_bytes, loaded_rows"
            " FROM whimbrel.chunks WHERE migration = %s ORDER BY source_schema, source_table, number",
            (self.migration,),
        ):
            table = TableName(schema, name)
            chunks.setdefault(table, []).append(Chunk(table, int(number), json.loads(bounds), int(rows), int(size)))
            if done is not None:
                loaded.setdefault(table, {})[int(number)] = int(done)
        return {
            name: TableLoad(fingerprint, tuple(chunks[name]), loaded.get(name, {}), finished)
            for name, (fingerprint, finished) in layouts.items()
            if name in chunks  # of a replication without a load there are only layouts
        }

    def clear(self, epoch: int, operation: str) -> None:
        with self._fenced(epoch):
            self._begin(operation, None)

    def restart(self, epoch: int, operation: str, position: Position, tables: Sequence[Table]) -> None:
        with self._fenced(epoch):
            self._begin(operation, position.to_json())
            self._save_layouts(tables)

    def _begin(self, operation: str, position: str | None) -> None:
        for name in ("tables", "chunks"):
            sql = f"DELETE FROM whimbrel.{name} WHERE migration = %s"  # noqa: S608 - a constant
            execute(self.session, sql, (self.migration,))
        self._update("operation = %s, position = %s, data_complete = 0, snapshots = 0", operation, position)

    def forget(self, epoch: int, tables: Sequence[TableName]) -> None:
        with self._fenced(epoch), self.session.cursor() as cursor:
            for name in ("tables", "chunks"):
                cursor.executemany(
                    f"DELETE FROM whimbrel.{name} WHERE {_OF_TABLE}",  # noqa: S608 - constants
                    [(self.migration, t.schema, t.table) for t in tables],
                )

    def remove(self) -> None:
        with transaction(self.session, "whimbrel.progress"):
            for name in ("chunks", "tables", "owned", "progress"):
                sql = f"DELETE FROM whimbrel.{name} WHERE migration = %s"  # noqa: S608 - a constant
                execute(self.session, sql, (self.migration,))

    def save_plan(self, epoch: int, table: Table, chunks: Sequence[Chunk]) -> None:
        name = (self.migration, table.name.schema, table.name.table)
        with self._fenced(epoch), self.session.cursor() as cursor:
            cursor.execute(f"DELETE FROM whimbrel.chunks WHERE {_OF_TABLE}", name)  # noqa: S608 - a constant
            cursor.execute("REPLACE INTO whimbrel.tables VALUES (%s, %s, %s, %s, 0)", (*name, table.fingerprint))
            cursor.executemany(
                "INSERT INTO whimbrel.chunks VALUES (%s, %s, %s, %s, %s, %s, %s, NULL)",
                [(*name, c.number, json.dumps(c.bounds), c.rows, c.bytes) for c in chunks],
            )

    def save_layouts(self, epoch: int, tables: Sequence[Table]) -> None:
        with self._fenced(epoch):
            self._save_layouts(tables)

    def _save_layouts(self, tables: Sequence[Table]) -> None:
        with self.session.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO whimbrel.tables VALUES (%s, %s, %s, %s, 0)"
                " ON DUPLICATE KEY UPDATE fingerprint = VALUES(fingerprint)",
                [(self.migration, t.name.schema, t.name.table, t.fingerprint) for t in tables],
            )

    def own(self, tables: Sequence[TableName]) -> None:
        self._change_owned("INSERT IGNORE INTO whimbrel.owned VALUES (%s, %s, %s)", tables)

    def owned(self) -> frozenset[TableName]:
        sql = "SELECT target_schema, target_table FROM whimbrel.owned WHERE migration = %s"
        with mapped("target", "whimbrel.owned"):
            return frozenset(TableName(*row) for row in query(self.session, sql, (self.migration,)))

    def disown(self, tables: Sequence[TableName]) -> None:
        sql = "DELETE FROM whimbrel.owned WHERE migration = %s AND target_schema = %s AND target_table = %s"
        self._change_owned(sql, tables)

    def _change_owned(self, sql: str, tables: Sequence[TableName]) -> None:
        with transaction(self.session, "whimbrel.owned"), self.session.cursor() as cursor:
            cursor.executemany(sql, [(self.migration, t.schema, t.table) for t in tables])

    def snapshot_opened(self, epoch: int, position: Position, *, keep_older: bool) -> None:
        with self._fenced(epoch):
            kept = "COALESCE(position, %s)" if keep_older else "%s"
            known = position.to_json() if position.text else None
            self._update(f"snapshots = snapshots + 1, position = {kept}", known)

    def table_finished(self, epoch: int, table: TableName) -> None:
        with self._fenced(epoch):
            sql = f"UPDATE whimbrel.tables SET finished = 1 WHERE {_OF_TABLE}"  # noqa: S608 - a constant
            execute(self.session, sql, (self.migration, table.schema, table.table))

    def data_complete(self, epoch: int) -> None:
        with self._fenced(epoch):
            self._update("data_complete = 1")

    def position(self) -> Position | None:
        with mapped("target", "whimbrel.progress"):
            sql = "SELECT position FROM whimbrel.progress WHERE migration = %s"
            rows = query(self.session, sql, (self.migration,))
        return Position.from_json(rows[0][0]) if rows and rows[0][0] else None

    def set_position(self, epoch: int, position: Position) -> None:
        with self._fenced(epoch):
            self._update("position = %s", position.to_json())

    def close(self) -> None:
        self.session.close()

    @contextmanager
    def _fenced(self, epoch: int) -> Iterator[None]:
        with transaction(self.session, "whimbrel.progress"):
            hold(self.session, self.migration, epoch, "UPDATE")
            yield

    def _update(self, assignments: str, *values: object) -> None:
        sql = f"UPDATE whimbrel.progress SET {assignments} WHERE migration = %s"  # noqa: S608 - constants above
        execute(self.session, sql, (*values, self.migration))
