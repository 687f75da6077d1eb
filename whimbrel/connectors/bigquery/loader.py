"""Loads staged files: a load job into a table of ours, then one transaction that brings its rows and records them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from whimbrel.connectors.bigquery.connection import BigQuerySession
from whimbrel.connectors.bigquery.dialect import BigQueryDialect
from whimbrel.connectors.bigquery.ledger import BigQueryLedger, ends
from whimbrel.connectors.bigquery.refusals import raised
from whimbrel.connectors.bigquery.stage import BigQueryStage
from whimbrel.connectors.sql import merge
from whimbrel.connectors.sql.merge import Pair
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import InternalError, LoaderFailed, StagingFull, TargetInterrupted, WhimbrelError
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table

_BLOCK = 1 << 20


class BigQueryLoader:
    """See ``protocols.Loader``. One session, for one thread."""

    def __init__(self, session: BigQuerySession, dialect: BigQueryDialect, stage: BigQueryStage, job: Job) -> None:
        self._session, self._dialect, self._stage = session, dialect, stage
        self._ledger = BigQueryLedger(session, dialect, job.migration)
        self._turns = job.workdir / "staging" / job.operation / "turns"

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
        pair = Pair(0, source, target, self._dialect)
        staged = [(c.name, self._dialect.staged_type(c)) for c in pair.columns]
        table = self._stage.make(self._session, staged)
        try:
            rows = self._stage.load(self._session, file.path, table, staged)
            file.require_all(rows, str(target.name))
            return self._brought(epoch, pair, self._dialect.own(table), chunk, rows, upsert=upsert and bool(pair.key))
        finally:
            self._stage.remove(self._session, table)

    def _brought(self, epoch: int, pair: Pair, table: str, chunk: Chunk, rows: int, *, upsert: bool) -> int:
        try:
            with _turn(self._turns), self._ledger.told(epoch), self._session.transaction():
                self._ledger.fence(epoch)
                self._session.execute(merge.put(pair, table, removing=False) if upsert else merge.add(pair, table))
                self._session.execute(
                    ends("written", f"COALESCE(@@row_count, -1) != {rows}", "COALESCE(@@row_count, -1)")
                )
                self._ledger.record(chunk, rows)
        except WhimbrelError as e:
            found = raised(e)
            if found is not None and found[0] == "recorded":
                return self._recorded(chunk)
            if found is not None and found[0] == "written":
                raise LoaderFailed(
                    f"{pair.target.name}: of {rows} rows that the source has, {found[1][0]} came into the target",
                    remedy="Look for rows with equal keys on the target, which does not refuse them, and remove them.",
                ) from None
            raise
        return rows

    def _recorded(self, chunk: Chunk) -> int:
        rows = self._ledger.recorded(chunk)
        if rows is None:
            raise TargetInterrupted(f"{chunk.table}: chunk {chunk.number} was said to be recorded, and is not")
        return rows

    def truncate(self, epoch: int, source: TableName, target: TableName) -> None:
        with self._ledger.told(epoch), self._session.transaction():
            self._ledger.fence(epoch)
            self._session.execute(f"DELETE FROM {self._dialect.qualified(target)} WHERE TRUE")  # noqa: S608
            self._ledger.forget_loaded(source)

    def close(self) -> None:
        self._session.close()


@contextmanager
def _turn(file: Path) -> Iterator[None]:
    """Of the lanes of one operation, which are processes of one machine, one at a time is inside the block, in about
    the order in which they came. The server would let one of them commit and end the others, and one that has bad luck
    again and again would have its rows loaded once more. A lane that dies leaves its turn to the next."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise StagingFull(f"{file.parent} cannot be written to: {e.strerror}") from e
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
