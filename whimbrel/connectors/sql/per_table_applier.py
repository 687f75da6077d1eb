"""Applies segments by one MERGE a table, each a transaction of its own, and stores the position after the last one.

A kill between two of them makes a part of a batch be written again. That is harmless, as a MERGE puts final images: but
for values that the source left out and that are filled from a row which the batch moves to another key. Before such a
batch its end is noted, and up to there such values are asked of the source when changes come again.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.codecs.compaction import Compacted, compact
from whimbrel.connectors.protocols import Refetch
from whimbrel.connectors.sql import per_table_merge
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.connectors.sql.images import in_order, staged
from whimbrel.connectors.sql.merge import Pair
from whimbrel.connectors.sql.per_table import ReadableStage, StatementSession
from whimbrel.connectors.sql.per_table_ledger import PerTableLedger
from whimbrel.connectors.sql.per_table_state import Row
from whimbrel.connectors.sql.stage import ChangeFiles
from whimbrel.connectors.verdicts import keyless
from whimbrel.errors import TableMissing, TargetInterrupted, ValueRefused, WhimbrelError
from whimbrel.model.change import Segment, TableChanges, Truncate
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table


@dataclass(frozen=True)
class _Step:
    """A table's part of a batch: a file on the stage (None: nothing is left to write), or that all rows go.
    ``compacted`` is kept only where the source left values out."""

    pair: Pair
    name: str | None = None
    empties: bool = False
    puts: int = 0
    compacted: Compacted | None = None
    refetch: Refetch | None = None


class PerTableApplier:
    """See ``protocols.Applier``. One session, for one thread. ``apply`` brings files near; ``commit`` writes."""

    def __init__(
        self,
        session: StatementSession,
        dialect: SqlDialect,
        stage: ReadableStage,
        job: Job,
        source: Sequence[Table],
        target: Sequence[Table],
    ) -> None:
        self._session, self._dialect, self._stage = session, dialect, stage
        self._ledger = PerTableLedger(session, dialect, job.migration)
        self._files = ChangeFiles(job)
        tables = enumerate(zip(source, target, strict=True))
        self._pairs = {s.name: Pair(n, s, t, dialect) for n, (s, t) in tables}
        self._steps: list[_Step] = []
        self._left: list[str] = []  # files on the stage
        self._holder = ""
        self._seen = ""  # who had held the target last, when it was seen free

    def apply(self, segment: Segment, refetch: Refetch) -> None:
        try:
            for step in segment.steps:
                if isinstance(step, Truncate):
                    self._steps += [_Step(self._pair(name), empties=True) for name in step.tables]
                else:
                    self._take(step, refetch)
        except BaseException:
            self._forget()
            raise

    def commit(self, epoch: int, position: Position) -> None:
        try:
            if self._steps:
                row = self._free(epoch)
                # Changes are gathered anew after a kill, so what begins before the noted end is written again.
                stands = row.position.order if row.position else ()
                again = row.writing is not None and stands < row.writing.order
                if any(_moved(s) is not None for s in self._steps) and not again:
                    self._ledger.note_writing(epoch, position)
                for step in self._steps:
                    self._write(step, self._ledger.free(epoch), epoch, again)
            while not self._ledger.store_position(epoch, position):
                self._ledger.require_free(epoch)
        finally:
            self._forget()

    def rollback(self) -> None:
        self._forget()
        if self._holder:
            with suppress(WhimbrelError):
                self._ledger.release(self._holder)
            self._holder = ""

    def hold(self) -> None:
        """A word in the progress row, which every applier's statements look for. What one of them has in hand may
        still come to its end: its changes are older than what is read from now on, and go on from there."""
        holder = uuid.uuid4().hex
        self._ledger.hold(holder)
        self._holder = holder

    def release(self) -> None:
        try:
            for step in self._steps:
                self._write(step, self._ledger.holding(self._holder), None, False)
            self._ledger.release(self._holder)
            self._holder = ""
        finally:
            self.rollback()

    def close(self) -> None:
        self._session.close()

    # --- one table ----------------------------------------------------------------------------------------------------

    def _take(self, changes: TableChanges, refetch: Refetch) -> None:
        pair = self._pair(changes.table)
        if not pair.key:
            raise keyless([str(pair.source.name)])
        compacted = compact(in_order(pair, changes), pair.source.key)
        batch = staged(pair, compacted)
        if batch.num_rows:
            kept = (compacted, refetch) if compacted.unchanged else (None, None)
            self._steps.append(
                _Step(pair, self._put(batch), puts=compacted.upserts.num_rows, compacted=kept[0], refetch=kept[1])
            )

    def _put(self, batch: pa.RecordBatch) -> str:
        with self._files.written(batch) as path:
            name = self._stage.put(self._session, path)
        self._left.append(name)
        return name

    def _write(self, step: _Step, fence: str, epoch: int | None, again: bool) -> None:
        """Write one step, as often as somebody came between; ``epoch`` is None for who holds the target."""
        table = step.pair.table
        if step.empties:
            # Nothing gone may mean that it was fenced.
            while not self._session.execute(f"DELETE FROM {table} WHERE {fence}") and self._came_between(epoch):  # noqa: S608
                pass
            return
        while True:
            ready = self._completed(step, again) if step.compacted is not None else step
            if ready.name is None:
                return
            masked = ready.compacted is not None
            sql = per_table_merge.put(ready.pair, self._stage.rows(ready.name), fence, removing=True, masked=masked)
            merged = self._session.merge(sql)
            if merged.put or merged.removed or not self._came_between(epoch):
                break
        if merged.put != ready.puts:
            raise ValueRefused(
                f"{step.pair.target.name}: {ready.puts} rows were to be put, but {merged.put} were written",
                remedy="Look for rows with equal keys on the target, which does not refuse them, and remove them.",
                table=str(step.pair.target.name),
            )

    def _came_between(self, epoch: int | None) -> bool:
        """Why nothing was written: a new owner (raises Fenced), a repair (True, once it is over; it may have been over
        before anybody looked, but has left its name), or nothing to do."""
        if epoch is None:
            row = self._ledger.row()
            if row is None or not row.held or row.holder != self._holder:
                raise TargetInterrupted("the repair took too long, and lost its hold of the target")
            return False
        row = self._ledger.require(epoch)
        if not row.held and row.holder == self._seen:
            return False
        self._free(epoch)
        return True

    def _free(self, epoch: int) -> Row:
        """The row, once no repair holds the target."""
        row = self._ledger.require_free(epoch)
        self._seen = row.holder
        return row

    def _completed(self, step: _Step, again: bool) -> _Step:
        """With rows that the target cannot complete as the source has them now; those that it has not are left out,
        and the change that removes them follows in the log."""
        compacted, refetch, pair = step.compacted, step.refetch, step.pair
        assert compacted is not None
        assert refetch is not None
        numbers = {
            int(row[0])
            for row in self._session.query(per_table_merge.not_found(pair, self._stage.rows(step.name or "")))
        }
        moved = _moved(step)
        if again and moved is not None:
            numbers |= set(np.flatnonzero(moved).tolist())
        if not numbers:
            return step
        missing = np.zeros(compacted.upserts.num_rows, dtype=np.bool_)
        missing[sorted(numbers)] = True
        found = refetch(pair.source.name, compacted.upserts.select(list(pair.source.key)).filter(pa.array(missing)))
        kept = pa.array(~missing)
        origins = compacted.origins.filter(kept) if compacted.origins is not None else None
        unchanged = {name: mask.filter(kept) for name, mask in compacted.unchanged.items()}
        rest = Compacted(compacted.deletes, compacted.upserts.filter(kept), unchanged, origins)
        whole = Compacted(compacted.deletes.slice(0, 0), found.select([c.name for c in pair.source.loaded_columns]))
        batch = pa.Table.from_batches([staged(pair, rest), staged(pair, whole)]).combine_chunks()
        puts = rest.upserts.num_rows + found.num_rows
        name = self._put(batch.to_batches()[0]) if batch.num_rows else None
        return _Step(pair, name, puts=puts, compacted=rest, refetch=refetch)

    def _forget(self) -> None:
        self._steps.clear()
        for name in self._left:
            with suppress(WhimbrelError):  # what is left is removed with the operation
                self._stage.remove(self._session, name)
        self._left.clear()

    def _pair(self, table: TableName) -> Pair:
        if table not in self._pairs:
            raise TableMissing(f"{table}: changes came for a table that is not part of the migration")
        return self._pairs[table]


def _moved(step: _Step) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
    """Which rows with left out values come from another key; None where none does."""
    if step.compacted is None or step.compacted.origins is None:
        return None
    upserts, origins = step.compacted.upserts, step.compacted.origins
    moved = np.zeros(upserts.num_rows, dtype=np.bool_)
    for name in step.pair.source.key:
        same = pc.fill_null(pc.equal(upserts.column(name), origins.column(name)), False)
        moved |= ~np.asarray(same)
    masked = np.logical_or.reduce([np.asarray(m).astype(np.bool_) for m in step.compacted.unchanged.values()])
    moved &= masked
    return moved if moved.any() else None
