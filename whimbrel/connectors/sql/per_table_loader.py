"""Loads staged files where the load of a file and its record are two transactions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq

from whimbrel.connectors.sql import per_table_merge
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.connectors.sql.merge import Pair
from whimbrel.connectors.sql.per_table import ReadableStage, StatementSession
from whimbrel.connectors.sql.per_table_ledger import PerTableLedger
from whimbrel.connectors.sql.per_table_state import ChunkFacts
from whimbrel.connectors.sql.session import Session
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import InternalError, LoaderFailed
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table

_BLOCK = 1 << 20


class PerTableLoader:
    """See ``protocols.Loader``. One session, for one thread.

    A file is announced before it is loaded, and the engine loads each name once. Whoever comes after a death finds the
    announced name and loads under it again: the rows are there once, whoever was faster. The fence is looked at after
    the announcement, so that an older owner either has announced before the new one looks, or loads nothing.

    Before rows come another way, or all of them go, a name that was announced and not recorded is used up: a file
    without rows is loaded under it, so that a load of it that is still under way is refused or passed over.
    """

    def __init__(
        self,
        session: StatementSession,
        dialect: SqlDialect,
        stage: ReadableStage,
        migration: str,
        reflect: Callable[[Session, Sequence[TableName]], Mapping[TableName, Table]],
    ) -> None:
        self._session, self._dialect, self._stage, self._reflect = session, dialect, stage, reflect
        self._ledger = PerTableLedger(session, dialect, migration)

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
        facts = self._ledger.facts(epoch, chunk)
        if facts.loaded is not None:
            return facts.loaded
        for _ in file.blocks(_BLOCK, str(target.name)):
            pass  # whole, and what was written
        file.require_all(pq.read_metadata(file.path).num_rows, str(target.name))  # what is loaded cannot be undone
        pair = Pair(0, source, target, self._dialect)
        by_key = upsert and bool(pair.key)
        if facts.file is None:
            name = self._stage.new_name()
            self._ledger.announce(epoch, facts.plan, chunk, name, file.rows)
        elif by_key:
            self._use_up(facts.file, target.name)
            name = self._stage.new_name()
        else:
            name = facts.file
        try:
            self._stage.put_as(self._session, file.path, name)
            self._ledger.require(epoch)
            if by_key:
                rows = self._replaced(epoch, pair, name, file)
            else:
                rows = self._loaded(epoch, pair, name, file, facts)
        finally:
            self._stage.remove(self._session, name)
        self._ledger.record(epoch, facts.plan, chunk, rows)
        return rows

    def _loaded(self, epoch: int, pair: Pair, name: str, file: StagedFile, facts: ChunkFacts) -> int:
        rows = self._stage.load(self._session, name, pair.table, [c.name for c in pair.columns])
        if rows == 0 and file.rows:
            # The engine knows the name: an earlier attempt has loaded it, or the driver has sent this one twice.
            return self._replaced(epoch, pair, name, file) if pair.key else self._counted(pair, facts, file)
        file.require_all(rows, str(pair.target.name))
        return rows

    def _counted(self, pair: Pair, facts: ChunkFacts, file: StagedFile) -> int:
        """The rows of a file that was loaded before. They cannot be told apart, but the table must be large enough."""
        rows = facts.file_rows if facts.file else file.rows
        there = int(self._session.query(f"SELECT COUNT(*) FROM {pair.table}")[0][0])  # noqa: S608
        if there < self._ledger.loaded_rows(facts.plan) + rows:
            raise LoaderFailed(
                f"{pair.target.name}: the target says that a file of {rows} rows is loaded, but has {there} rows",
                remedy="Reset the target table and load again; if it repeats, report it.",
            )
        return rows

    def _replaced(self, epoch: int, pair: Pair, name: str, file: StagedFile) -> int:
        """Rows by their keys, which may be done again."""
        statement = per_table_merge.put(pair, self._stage.rows(name), self._ledger.fence(epoch), removing=False)
        written = self._session.merge(statement).put
        if written == 0 and file.rows:
            self._ledger.require(epoch)
        if written != file.rows:
            raise LoaderFailed(
                f"{pair.target.name}: of {file.rows} rows that the source has, {written} came into the target",
                remedy="Look for rows with equal keys on the target, which does not refuse them, and remove them.",
            )
        return written

    def truncate(self, epoch: int, source: TableName, target: TableName) -> None:
        """What somebody else may still be about to load is passed over."""
        self._ledger.require(epoch)
        for name in self._ledger.in_flight(source):
            self._use_up(name, target)
        self._ledger.empty(epoch, source, target)

    def _use_up(self, name: str, target: TableName) -> None:
        """Load no rows under a name, unless it is loaded already; the file is gone afterwards."""
        columns = self._reflect(self._session, [target])[target].columns[:1]  # a file needs one
        with TemporaryDirectory() as folder:
            path = Path(folder) / "none.parquet"
            pq.write_table(pa.table({c.name: pa.array([], c.type.arrow) for c in columns}), path)
            try:
                self._stage.put_as(self._session, path, name)
                self._stage.load(self._session, name, self._dialect.qualified(target), [c.name for c in columns])
            finally:
                self._stage.remove(self._session, name)

    def close(self) -> None:
        self._session.close()
