"""The same ledger where rows are locked one by one and keys hold.

The fence is the same row, looked at in the same place, behind the bulk; but who only loads locks it shared, so that
the lanes of a load commit side by side, and no version of the row is written for each chunk. That a chunk is loaded is
added once: the key of the facts lets nobody add it again, and who tries waits for the one before.

A new owner would wait for what an old one has in hand: a worker that stands still in the midst of a load keeps the rows
and the tables that it has touched. So a claim ends the sessions of the old owner first. Its own process it lets be.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from whimbrel.connectors.protocols import LoadState
from whimbrel.connectors.sql.ledger import LedgerDialect, LedgerSession, SqlLedger, parted
from whimbrel.model.chunk import Chunk
from whimbrel.model.names import TableName


class LockingSession(LedgerSession, Protocol):
    def snapshot(self) -> AbstractContextManager[None]:
        """Everything that is read inside the block is of one moment."""

    def end_others(self, operations: Collection[str]) -> None:
        """End the sessions that other processes have open on the target for these operations, and wait for a while
        until the server has undone what they had in hand. Whom the account may not end it lets be."""


class LockingDialect(LedgerDialect, Protocol):
    share: str  # behind a SELECT: its rows stay what they are until the transaction ends, and others may read them so

    def add_new(self, table: str, rows: str) -> str:
        """INSERT of rendered rows, as far as there is none with their key; counts what was added."""


class LockingLedger(SqlLedger):
    """See ``protocols.Ledger``. One session, for one thread. ``operation`` is whose sessions a claim ends, beside those
    of the operation that began the load."""

    _session: LockingSession
    _dialect: LockingDialect

    def __init__(self, session: LockingSession, dialect: LockingDialect, migration: str, operation: str = "") -> None:
        super().__init__(session, dialect, migration)
        self._operation = operation

    def claim(self) -> int:
        began = {str(operation) for (operation,) in self._select("progress", "operation")}
        self._session.end_others({o for o in (self._operation, *began) if o})
        return super().claim()

    def state(self) -> LoadState:
        with self._session.snapshot():
            return super().state()

    def fence(self, epoch: int) -> None:
        self._require_newest(epoch, self._dialect.share)

    def require(self, epoch: int) -> None:
        """Raise Fenced unless ``epoch`` owns the migration at the moment. For what commits by itself, as DDL may."""
        self._require_newest(epoch, "")

    def _require_newest(self, epoch: int, lock: str) -> None:
        sql = f"SELECT epoch FROM {self._own('progress')} WHERE {self._mine}{lock}"  # noqa: S608
        if [int(newest) for (newest,) in self._session.query(sql)] != [epoch]:
            raise self._fenced_off(epoch)

    def record_new(self, chunk: Chunk, rows: int) -> bool:
        """False where somebody else has loaded the chunk in the meantime; their commit was waited for."""
        values = ", ".join((*self._of(chunk.table), str(chunk.number), str(rows)))
        return self._session.execute(self._dialect.add_new(self._own("loaded"), f"({values})")) == 1

    def own(self, tables: Sequence[TableName]) -> None:
        """Two that own the same at once are both right."""
        with self._session.transaction():
            for rows in parted(f"({', '.join(self._of(t))})" for t in dict.fromkeys(tables)):
                self._session.execute(self._dialect.add_new(self._own("owned"), rows))

    def _delete(self, table: str, names: Sequence[TableName], side: str = "source") -> None:
        """A DELETE that finds nothing may lock the place where somebody else is about to add rows."""
        if self._session.query(f"SELECT 1 FROM {self._own(table)} WHERE {self._mine} LIMIT 1"):  # noqa: S608
            super()._delete(table, names, side)
