"""Loads staged tab-text files with LOAD DATA LOCAL, and records each chunk in the transaction of its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from whimbrel.connectors.mysql.connection import (
    Session,
    connect,
    execute,
    mapped,
    qualified,
    query,
)
from whimbrel.connectors.mysql.locks import lock_holders_named
from whimbrel.connectors.mysql.target import merge
from whimbrel.connectors.mysql.target.infile import BLOCK_BYTES
from whimbrel.connectors.mysql.target.ledger import DATABASE, ensure_tables, hold, transaction
from whimbrel.connectors.mysql.target.loading import Loading, documents_of, fields_of, load_rows
from whimbrel.connectors.mysql.target.merge import Pair
from whimbrel.connectors.mysql.target.putting import put_rows
from whimbrel.connectors.mysql.target.unique_keys import read_keys
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import DataFailed
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table

_CHUNK = "migration = %s AND source_schema = %s AND source_table = %s AND number = %s"


class MySQLLoader:
    """See ``protocols.Loader``. One connection; not for two threads at once."""

    def __init__(self, parameters: Mapping[str, Any], job: Job) -> None:
        self.parameters, self.job = parameters, job
        self.session = connect(parameters, job.operation, role="target", local_infile=True)
        try:
            with mapped("target"):
                ensure_tables(self.session)
                # rows come from a source that has checked its foreign keys; checks and unique keys stay on
                execute(self.session, "SET SESSION foreign_key_checks = 0")
                self.session.select_db(DATABASE)  # DELETE with an alias wants some default database
        except BaseException:
            self.session.close()
            raise

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
        if format is not Format.TAB_TEXT:
            raise DataFailed(f"{source.name}: MySQL loads {Format.TAB_TEXT}, not {format}")
        chunk_key = (self.job.migration, source.name.schema, source.name.table, chunk.number)
        with lock_holders_named(self.session), transaction(self.session, str(target.name)):
            hold(self.session, self.job.migration, epoch, "SHARE")
            done = self._recorded(chunk_key)
            if done is not None:
                return done
            if upsert and source.key:
                rows = self._put_file(source, target, file)
            else:
                rows = _load_file(self.session, loading_of(target, columns), file, str(target.name))
            file.require_all(rows, str(target.name))
            self._record(chunk_key, rows)
            return rows

    def _put_file(self, source: Table, target: Table, file: StagedFile) -> int:
        """Rows of a later snapshot take the place of those with their keys, and of no others."""
        pair = Pair(0, source, target, read_keys(self.session, source, target.name))
        staging = pair.staging("upserts")
        execute(self.session, f"DROP TEMPORARY TABLE IF EXISTS {staging}")  # nothing of this commits
        execute(self.session, merge.create_upserts(pair))
        rows = _load_file(self.session, merge.load_upserts(pair), file, str(target.name))
        put_rows(self.session, pair, rows)
        execute(self.session, f"DROP TEMPORARY TABLE {staging}")
        return rows

    def _recorded(self, chunk_key: tuple[object, ...]) -> int | None:
        """The rows of a chunk that is loaded already; locks its record, so that nobody else loads it meanwhile."""
        sql = f"SELECT loaded_rows FROM whimbrel.chunks WHERE {_CHUNK} FOR UPDATE"  # noqa: S608 - a constant
        rows = query(self.session, sql, chunk_key)
        if not rows:
            raise DataFailed(f"{chunk_key[1]}.{chunk_key[2]}: chunk {chunk_key[3]} is not in the plan")
        return None if rows[0][0] is None else int(rows[0][0])

    def _record(self, chunk_key: tuple[object, ...], rows: int) -> None:
        sql = f"UPDATE whimbrel.chunks SET loaded_rows = %s WHERE {_CHUNK}"  # noqa: S608 - a constant
        execute(self.session, sql, (rows, *chunk_key))

    def truncate(self, epoch: int, source: TableName, target: TableName) -> None:
        """Forget the chunks first, in their own transaction: TRUNCATE commits by itself.

        A crash in between leaves rows that nothing records; the next attempt finds the table filled and empties it.
        The second session holds the epoch until the table is empty.
        """
        name = (self.job.migration, source.schema, source.table)
        of_table = "migration = %s AND source_schema = %s AND source_table = %s"
        with transaction(self.session, str(target)):
            hold(self.session, self.job.migration, epoch, "SHARE")
            execute(self.session, f"UPDATE whimbrel.chunks SET loaded_rows = NULL WHERE {of_table}", name)  # noqa: S608
            execute(self.session, f"UPDATE whimbrel.tables SET finished = 0 WHERE {of_table}", name)  # noqa: S608
        with (
            closing(connect(self.parameters, self.job.operation, role="target")) as guard,
            transaction(guard, str(target)),
        ):
            hold(guard, self.job.migration, epoch, "SHARE")
            with lock_holders_named(self.session), mapped("target", str(target)):
                execute(self.session, f"TRUNCATE TABLE {qualified(target)}")

    def close(self) -> None:
        self.session.close()


def loading_of(target: Table, columns: Sequence[Column]) -> Loading:
    """These source columns of a tab-text file into the columns of the same names."""
    return Loading(qualified(target.name), fields_of(columns), documents_of(columns, target))


def _load_file(session: Session, loading: Loading, file: StagedFile, table: str) -> int:
    """Load the whole file or nothing."""
    return load_rows(session, loading, lambda: file.blocks(BLOCK_BYTES, table), file.rows, table)
