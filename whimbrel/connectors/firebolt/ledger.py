"""Progress kept in Firebolt, where nothing waits for a lock: of two transactions that write one row, the one that
commits second is undone whole (snapshot isolation, "Transactions and concurrency" in its documentation).

So a fence must write a row that a new owner writes too, and reading one is none. What loads a chunk writes that chunk's
row of the plan, so that lanes do not undo each other; all else writes the migration's row; and a claim writes both. Two
claims of a migration that is not there yet would add two rows, which is no conflict: both write the row of no migration
first, which was made with the table.
"""

from __future__ import annotations

from collections.abc import Sequence

from whimbrel.connectors.firebolt.connection import replayed
from whimbrel.connectors.firebolt.dialect import TOUCHED
from whimbrel.connectors.sql.ledger import SqlLedger
from whimbrel.errors import Fenced, InternalError
from whimbrel.model.chunk import Chunk
from whimbrel.model.position import Position

FIRST_ROW = "('', 0, '', NULL, FALSE, 0, 0)"  # of the progress table: no migration's, written by each first claim
_TOUCH = "touched = touched + 1"  # another value, so that no optimizer can take it for nothing written


class FireboltLedger(SqlLedger):
    """See ``protocols.Ledger``. What is undone by a conflict is done again."""

    clear = replayed(SqlLedger.clear)
    restart = replayed(SqlLedger.restart)
    forget = replayed(SqlLedger.forget)
    remove = replayed(SqlLedger.remove)
    save_plan = replayed(SqlLedger.save_plan)
    save_layouts = replayed(SqlLedger.save_layouts)
    own = replayed(SqlLedger.own)
    disown = replayed(SqlLedger.disown)
    snapshot_opened = replayed(SqlLedger.snapshot_opened)
    table_finished = replayed(SqlLedger.table_finished)
    data_complete = replayed(SqlLedger.data_complete)
    set_position = replayed(SqlLedger.set_position)

    def claim(self) -> int:
        epoch = replayed(self._claim)()
        if self._newest() < epoch:
            raise self._ended()  # a commit of nothing: the epoch is still somebody else's
        return epoch

    def _claim(self) -> int:
        first = int(self._session.now().timestamp() * 1_000_000)
        progress = self._own("progress")
        with self._session.transaction():
            newest = self._newest()
            if newest:
                self._session.execute(f"UPDATE {progress} SET epoch = epoch + 1 WHERE {self._mine}")  # noqa: S608
            else:
                self._write_first_row()
                self._session.execute(
                    f"INSERT INTO {progress} (migration, epoch, operation, position, data_complete, snapshots, "  # noqa: S608
                    f"touched) VALUES ({self._text(self._migration)}, {first}, '', NULL, FALSE, 0, 0)"
                )
            self.touch_chunks()
            return self._newest()

    def _write_first_row(self) -> None:
        progress = self._own("progress")
        if not self._session.query(f"SELECT epoch FROM {progress} WHERE migration = ''"):  # noqa: S608
            raise InternalError(
                f"{progress} has lost its first row, without which two workers could own one migration",
                remedy=f"Insert it: INSERT INTO {progress} VALUES {FIRST_ROW}",  # noqa: S608
            )
        self._session.execute(f"UPDATE {progress} SET {_TOUCH} WHERE migration = ''")  # noqa: S608

    def touch_chunks(self) -> None:
        """Undo every transaction in hand that loads a chunk."""
        self._session.execute(f"UPDATE {self._own('chunks')} SET {_TOUCH} WHERE {self._mine}")  # noqa: S608

    def touch(self) -> None:
        """Undo every transaction in hand that would end with a fence."""
        with self._session.transaction():
            self.lock()
            self.touch_chunks()

    def lock(self) -> None:
        """Of this transaction and every other one that would end with a fence one is undone."""
        self._set(_TOUCH)

    def fence_chunk(self, epoch: int, chunk: Chunk) -> None:
        if not self._owned_by(epoch):
            raise self._fenced_off(epoch)
        where = f"{self._mine} AND {self._is(chunk.table)} AND number = {chunk.number}"
        if not self._session.query(f"SELECT number FROM {self._own('chunks')} WHERE {where}"):  # noqa: S608
            raise self._fenced_off(epoch)
        self._session.execute(f"UPDATE {self._own('chunks')} SET {_TOUCH} WHERE {where}")  # noqa: S608

    def record(self, chunk: Chunk, rows: int) -> None:
        values = ", ".join((*self._of(chunk.table), str(chunk.number), str(rows)))
        self._session.execute(f"INSERT INTO {self._own('loaded')} VALUES ({values})")  # noqa: S608

    def require_recorded(self, chunk: Chunk) -> None:
        if self.recorded(chunk) is None:
            raise self._ended()

    def require_stored(self, position: Position) -> None:
        if self.position() != position:
            raise self._ended()

    def _require(self, epoch: int, assignment: str) -> None:
        if not self._owned_by(epoch):
            raise self._fenced_off(epoch)
        self._set(f"{assignment}, {_TOUCH}")

    def _insert(self, table: str, rows: Sequence[Sequence[str]]) -> None:
        super()._insert(table, [(*row, "0") for row in rows] if table in TOUCHED else rows)

    def _owned_by(self, epoch: int) -> bool:
        return self._newest() == epoch

    def _fenced_off(self, epoch: int) -> Fenced:
        return Fenced(
            f"another worker has taken over the migration {self._migration}: epoch {epoch} is not its own any more"
        )
