"""Loads staged files, each with its record in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from whimbrel.connectors.sql import merge
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.connectors.sql.ledger import SqlLedger
from whimbrel.connectors.sql.merge import Pair
from whimbrel.connectors.sql.session import Session
from whimbrel.connectors.sql.stage import Stage
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import InternalError, LoaderFailed
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table

_BLOCK = 1 << 20


class SqlLoader:
    """See ``protocols.Loader``. One session, for one thread.

    A file is put beside the tables outside of any transaction, and loaded, recorded and fenced inside of one. Its name
    there is never used again, so an attempt that was cut leaves a file that nobody loads and ``cleanup`` removes.
    """

    ledger_type: type[SqlLedger] = SqlLedger

    def __init__(self, session: Session, dialect: SqlDialect, stage: Stage, migration: str) -> None:
        self._session, self._dialect, self._stage = session, dialect, stage
        self._ledger = self.ledger_type(session, dialect, migration)
        self._pairs: dict[TableName, Pair] = {}

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
        if format is not Format.PARQUET:
            raise InternalError(f"{self._dialect.title} does not load {format.value}")
        recorded = self._ledger.recorded(chunk)
        if recorded is not None:
            return recorded
        for _ in file.blocks(_BLOCK, str(target.name)):
            pass  # whole, and what was written
        pair = self._pair(source, target)
        replacing = upsert and bool(pair.key)
        staged = replacing or any(self._dialect.from_staged(c, "v") != "v" for c in pair.columns)
        name = self._stage.put(self._session, file.path)
        try:
            if staged:
                self._prepare(pair)
            with self._session.transaction(), self._ledger.told_apart():
                rows = self._loaded(pair, name, staged=staged, replacing=replacing)
                file.require_all(rows, str(target.name))
                self._ledger.record(chunk, rows)
                self._ledger.fence_chunk(epoch, chunk)
                self._ledger.require_first(chunk)
            self._ledger.require_recorded(chunk)
        finally:
            self._stage.remove(self._session, name)
        return rows

    def _loaded(self, pair: Pair, name: str, *, staged: bool, replacing: bool) -> int:
        names = [c.name for c in pair.columns]
        if not staged:
            return self._stage.load(self._session, name, pair.table, names)
        rows = self._stage.load(self._session, name, pair.loading, names)
        written = self._put(pair) if replacing else self._session.execute(merge.add(pair, pair.loading))
        if written != rows:
            raise LoaderFailed(
                f"{pair.target.name}: of {rows} rows that the source has, {written} came into the target",
                remedy="Look for rows with equal keys on the target, which does not refuse them, and remove them.",
            )
        return rows

    def _put(self, pair: Pair) -> int:
        """Staged rows in the place of those with their keys; how many were written."""
        return self._session.execute(merge.put(pair, pair.loading, removing=False))

    def _prepare(self, pair: Pair) -> None:
        """An empty staging table; between transactions, as its making may end one."""
        self._session.execute(merge.create_loading(pair))
        self._session.execute(self._dialect.delete_all(pair.loading))

    def _pair(self, source: Table, target: Table) -> Pair:
        if source.name not in self._pairs:
            self._pairs[source.name] = Pair(len(self._pairs), source, target, self._dialect)
        return self._pairs[source.name]

    def truncate(self, epoch: int, source: TableName, target: TableName) -> None:
        with self._session.transaction():
            self._session.execute(self._dialect.delete_all(self._dialect.qualified(target)))
            self._ledger.forget_loaded(source)
            self._ledger.fence(epoch)

    def close(self) -> None:
        self._session.close()
