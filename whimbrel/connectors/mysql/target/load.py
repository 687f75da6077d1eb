"""Loads staged tab-text files with LOAD DATA LOCAL, and records each chunk in the transaction of its rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

from whimbrel.connectors.mysql.connection import (
    Session,
    connect,
    execute,
    mapped,
    qualified,
)
from whimbrel.connectors.mysql.locks import lock_holders_named
from whimbrel.connectors.mysql.target import merge
from whimbrel.connectors.mysql.target.infile import BLOCK_BYTES
from whimbrel.connectors.mysql.target.ledger import ledger_on, transaction
from whimbrel.connectors.mysql.target.ledger_layout import DATABASE, ensure_tables
from whimbrel.connectors.mysql.target.loading import Loading, documents_of, fields_of, load_rows
from whimbrel.connectors.mysql.target.merge import Pair
from whimbrel.connectors.mysql.target.putting import put_rows
from whimbrel.connectors.mysql.target.unique_keys import read_keys
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import DataFailed, ValueRefused
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table


class _Loaded(Exception):
    """Somebody else has loaded the chunk in the meantime."""


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
        self._ledger = ledger_on(self.session, job.migration)

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
        recorded = self._ledger.recorded(chunk)
        if recorded is not None:
            return recorded
        with lock_holders_named(self.session), suppress(_Loaded):
            with self._or_loaded(chunk), transaction(self.session, str(target.name)):
                if upsert and source.key:
                    rows = self._put_file(source, target, file)
                else:
                    rows = _load_file(self.session, loading_of(target, columns), file, str(target.name))
                file.require_all(rows, str(target.name))
                if not self._ledger.record_new(chunk, rows):
                    raise _Loaded
                self._ledger.fence(epoch)
            return rows
        return self.load(epoch, source, target, columns, chunk, format, file, upsert=upsert)

    @contextmanager
    def _or_loaded(self, chunk: Chunk) -> Iterator[None]:
        """What an attempt that was given up has loaded after all is in the way of its own rows."""
        try:
            yield
        except ValueRefused:
            if self._ledger.recorded(chunk) is not None:
                raise _Loaded from None
            raise

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

    def truncate(self, epoch: int, source: TableName, target: TableName) -> None:
        """Forget the chunks first, in their own transaction: TRUNCATE commits by itself.

        A crash in between leaves rows that nothing records; the next attempt finds the table filled and empties it.
        The second session holds the epoch until the table is empty.
        """
        with transaction(self.session, str(target)):
            self._ledger.forget_loaded(source)
            self._ledger.fence(epoch)
        with (
            closing(connect(self.parameters, self.job.operation, role="target")) as guard,
            transaction(guard, str(target)),
        ):
            ledger_on(guard, self.job.migration).fence(epoch)
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
