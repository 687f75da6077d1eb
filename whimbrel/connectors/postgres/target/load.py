"""Loads staged files with COPY, each with its record in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import errors as pg

from whimbrel.connectors.postgres.connection import identifiers, mapped, qualified
from whimbrel.connectors.postgres.locks import lock_holders_named
from whimbrel.connectors.postgres.source.reflection import Connection
from whimbrel.connectors.postgres.target import merge
from whimbrel.connectors.postgres.target.ledger import ledger_on
from whimbrel.connectors.postgres.target.ledger_layout import ensure_schema
from whimbrel.connectors.postgres.target.merge import Pair
from whimbrel.connectors.postgres.target.pairs import pair_tables
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import InternalError, LoaderFailed
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table

BLOCK = 512 << 10
_COPY_FORMATS = {Format.COPY_BINARY: "binary", Format.COPY_TEXT: "text"}
_STAGE = "whimbrel_stage"
_COMMIT_TO_DISK = """
select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'
"""


class PostgresLoader:
    """See protocols.Loader. One connection, for one thread.

    Commits wait for the disk as everywhere: the staged file is deleted once ``load`` has returned, so a commit that a
    crash of the target could still take back would lose the rows.
    """

    def __init__(self, connection: Connection, migration: str) -> None:
        self._connection = connection
        self._ledger = ledger_on(connection, migration)
        with mapped("target"):
            ensure_schema(connection)
            _silence_triggers(connection)
            connection.execute(_COMMIT_TO_DISK)

    def load(
        self,
        epoch: int,
        source: Table,
        target: Table,
        columns: Sequence[Column],
        chunk: Chunk,
        format: Format,
        file: StagedFile,
        *,
        upsert: bool,
    ) -> int:
        with lock_holders_named(self._connection), mapped("target"):
            recorded = self._ledger.recorded(chunk)
            if recorded is not None:
                return recorded
            pair = pair_tables(self._connection, [source], [target])[0] if upsert and source.key else None
            try:
                with self._connection.transaction() as transaction:
                    names = [c.name for c in columns]
                    if pair is not None:
                        rows = self._replace(pair, format, file)
                    else:
                        rows = self._copy(qualified(target.name), names, format, file, str(target.name))
                    file.require_all(rows, str(target.name))
                    if not self._ledger.record_new(chunk, rows):
                        raise psycopg.Rollback(transaction)
                    self._ledger.fence(epoch)
                    return rows
            except pg.UniqueViolation:  # by what an attempt that was given up has loaded after all?
                if self._ledger.recorded(chunk) is None:
                    raise
            return self.load(epoch, source, target, columns, chunk, format, file, upsert=upsert)

    def _copy(self, into: str, columns: Sequence[str], format: Format, file: StagedFile, table: str) -> int:
        if format not in _COPY_FORMATS:
            raise InternalError(f"PostgreSQL does not load {format.value}")
        statement = f"copy {into} ({identifiers(columns)}) from stdin (format {_COPY_FORMATS[format]})"
        with self._connection.cursor() as cursor:
            with cursor.copy(statement.encode()) as copy:
                for block in file.blocks(BLOCK, table):
                    copy.write(block)
            return cursor.rowcount

    def _replace(self, pair: Pair, format: Format, file: StagedFile) -> int:
        """Rows whose key exists go first: that needs no unique index to be there, nor an immediate one."""
        listed = identifiers(pair.columns)
        self._connection.execute(
            f"create temp table {_STAGE} on commit drop as select {listed} from {pair.table} with no data".encode()  # noqa: S608
        )
        stage = f"pg_temp.{_STAGE}"
        rows = self._copy(stage, pair.columns, format, file, str(pair.target.name))
        self._connection.execute(f"analyze {stage}".encode())
        delete, insert = merge.replace_staged(pair, stage)
        self._connection.execute(delete.encode())
        put = self._connection.execute(insert.encode()).rowcount
        if put != rows:
            raise LoaderFailed(
                f"{pair.target.name}: of {rows} rows that the source has, {put} came into the target",
                remedy="Look for rules and triggers on the target that take rows away, and drop them.",
            )
        return rows

    def truncate(self, epoch: int, source: TableName, target: TableName) -> None:
        with lock_holders_named(self._connection), mapped("target"), self._connection.transaction():
            empty_table(self._connection, target)
            self._ledger.forget_loaded(source)
            self._ledger.fence(epoch)

    def close(self) -> None:
        self._connection.close()


def empty_table(connection: Connection, name: TableName) -> None:
    """TRUNCATE, or DELETE where a foreign key from elsewhere forbids it."""
    try:
        with connection.transaction():
            connection.execute(f"truncate {qualified(name)}".encode())
    except pg.FeatureNotSupported:
        connection.execute(f"delete from {qualified(name)}".encode())  # noqa: S608


def _silence_triggers(connection: Connection) -> None:
    """Rows that were written once must not fire the target's triggers again. Only some users may ask for that."""
    try:
        connection.execute("set session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return
