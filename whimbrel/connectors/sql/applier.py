"""Applies segments of changes by one MERGE a table, with the position in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from whimbrel.codecs.compaction import Compacted, compact, net
from whimbrel.connectors.protocols import Refetch
from whimbrel.connectors.sql import merge
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.connectors.sql.images import in_order, stacked, staged, typed
from whimbrel.connectors.sql.ledger import SqlLedger
from whimbrel.connectors.sql.merge import Pair
from whimbrel.connectors.sql.session import Session
from whimbrel.connectors.sql.stage import ChangeFiles, Stage
from whimbrel.errors import InternalError, TableMissing, ValueRefused
from whimbrel.model.change import Segment, TableChanges, Truncate
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table


class SqlApplier:
    """See ``protocols.Applier``. One session, for one thread. An error rolls the transaction back."""

    ledger_type: type[SqlLedger] = SqlLedger

    def __init__(
        self,
        session: Session,
        dialect: SqlDialect,
        stage: Stage,
        job: Job,
        source: Sequence[Table],
        target: Sequence[Table],
    ) -> None:
        self._session, self._dialect, self._stage = session, dialect, stage
        self._ledger = self.ledger_type(session, dialect, job.migration)
        self._files = ChangeFiles(job)
        tables = enumerate(zip(source, target, strict=True))
        self._pairs = {s.name: Pair(n, s, t, dialect) for n, (s, t) in tables}
        self._made: set[int] = set()  # pairs whose staging table is there
        self._filled: set[int] = set()  # those that may hold rows
        self._left: list[str] = []  # files on the stage that the transaction in hand has loaded

    def apply(self, segment: Segment, refetch: Refetch) -> None:
        try:
            self._prepare(segment)
            with self._ledger.told_apart():
                for step in segment.steps:
                    if isinstance(step, Truncate):
                        self._truncate(step.tables)
                    else:
                        self._apply(step, refetch)
        except BaseException:
            self.rollback()
            raise

    def commit(self, epoch: int, position: Position) -> None:
        try:
            self._session.begin()
            self._ledger.store_position(epoch, position)
            self._session.commit()
            self._ledger.require_stored(position)
        except BaseException:
            self.rollback()
            raise
        self._tidy()

    def rollback(self) -> None:
        self._session.rollback()
        self._left.clear()  # they go with the operation's others

    def hold(self) -> None:
        """The progress row's lock keeps every other applier of the migration from committing."""
        try:
            for pair in self._pairs.values():
                self._stage_for(pair)
            self._session.bound_waits(1)
            self._session.begin()
            self._ledger.lock()
        except BaseException:
            self.rollback()
            raise

    def release(self) -> None:
        """What was written is older than what others may have written since, if the hold has ended before."""
        try:
            self._ledger.require_open()
            self._session.commit()
        except BaseException:
            self.rollback()
            raise
        self._tidy()

    def close(self) -> None:
        self._session.close()

    # --- transaction and staging --------------------------------------------------------------------------------------

    def _prepare(self, segment: Segment) -> None:
        """Make or empty staging tables before the transaction begins: making one would end it. Of a transaction that
        comes in slices nobody knows which tables the next ones change, so all are made."""
        if self._session.in_transaction:
            return
        changed = {s.table for s in segment.steps if isinstance(s, TableChanges)}
        for name, pair in self._pairs.items():
            if name in changed or not segment.ends_transaction:
                self._stage_for(pair)

    def _stage_for(self, pair: Pair) -> None:
        if pair.number not in self._made:
            if self._session.in_transaction:
                raise InternalError(f"{pair.source.name}: its staging table was not made before the transaction began")
            self._session.execute(merge.create_staging(pair))
            self._made.add(pair.number)
        if pair.number in self._filled:
            self._session.execute(self._dialect.delete_all(pair.staging))
            self._filled.discard(pair.number)

    def _load(self, pair: Pair, batch: pa.RecordBatch, into: str) -> None:
        """Bring typed rows into a table, inside the transaction. Raises ValueRefused when not all of them came."""
        if batch.num_rows == 0:
            return
        with self._files.written(batch) as path:
            name = self._stage.put(self._session, path)
        self._left.append(name)
        self._session.begin()
        rows = self._stage.load(self._session, name, into, batch.schema.names)
        if rows != batch.num_rows:
            raise ValueRefused(
                f"{pair.target.name}: of {batch.num_rows} changed rows the target loaded {rows}",
                table=str(pair.target.name),
            )

    def _tidy(self) -> None:
        for name in self._left:
            self._stage.remove(self._session, name)
        self._left.clear()

    def _truncate(self, tables: Sequence[TableName]) -> None:
        """TRUNCATE would commit what came before it."""
        for name in tables:
            pair = self._pair(name)
            self._session.begin()
            self._session.execute(self._dialect.delete_all(pair.table))

    def _pair(self, table: TableName) -> Pair:
        if table not in self._pairs:
            raise TableMissing(f"{table}: changes came for a table that is not part of the migration")
        return self._pairs[table]

    # --- one table ----------------------------------------------------------------------------------------------------

    def _apply(self, changes: TableChanges, refetch: Refetch) -> None:
        pair = self._pair(changes.table)
        changes = in_order(pair, changes)
        self._stage_for(pair)
        if pair.key:
            self._apply_keyed(pair, compact(changes, pair.source.key), refetch)
        else:
            self._apply_images(pair, changes)

    def _apply_keyed(self, pair: Pair, compacted: Compacted, refetch: Refetch) -> None:
        self._filled.add(pair.number)
        self._load(pair, staged(pair, compacted), pair.staging)
        puts = compacted.upserts.num_rows
        if compacted.unchanged:
            puts -= self._fill(pair, compacted, refetch)
        gone = 0
        if compacted.deletes.num_rows:
            gone = int(self._session.query(merge.expected(pair))[0][0])
        if not puts and not compacted.deletes.num_rows:
            return
        written = self._put(pair)
        if written != puts + gone:
            raise ValueRefused(
                f"{pair.target.name}: {puts} rows were to be put and {gone} to be removed, but {written} were written",
                remedy="Look for rows with equal keys on the target, which does not refuse them, and remove them.",
                table=str(pair.target.name),
            )

    def _put(self, pair: Pair) -> int:
        """Staged rows in the place of those with their keys, and away with those that are gone; how many were
        written and removed."""
        return self._session.execute(merge.put(pair, pair.staging, removing=True))

    def _fill(self, pair: Pair, compacted: Compacted, refetch: Refetch) -> int:
        """Complete rows of which the source left values out: from the target's row, or from the source as it is now.
        Returns how many there are not: neither has them, and the change that removes them follows in the log."""
        names = dict(zip((c.name for c in pair.source.loaded_columns), (c.name for c in pair.columns), strict=True))
        self._session.execute(merge.fill(pair, [names[n] for n in compacted.unchanged]))
        missing = sorted(int(row[0]) for row in self._session.query(merge.not_found(pair)))
        if not missing:
            return 0
        self._session.execute(merge.drop_not_found(pair))
        keys = compacted.upserts.select(list(pair.source.key)).take(pa.array(missing))
        found = refetch(pair.source.name, keys).select(list(names))
        whole = Compacted(compacted.deletes.slice(0, 0), found)
        self._load(pair, staged(pair, whole), pair.staging)
        return len(missing) - int(found.num_rows)

    def _apply_images(self, pair: Pair, changes: TableChanges) -> None:
        result = net(changes)
        inserts, deletes = result.inserts, result.deletes
        names = [c.name for c in pair.source.loaded_columns]
        if deletes.num_rows:
            inserts = self._delete_images(pair, deletes, inserts)
        if inserts.num_rows:
            self._add(pair, typed(pair, inserts, names))

    def _add(self, pair: Pair, rows: pa.RecordBatch) -> None:
        count = rows.num_rows
        own = [pa.array(np.arange(count, dtype=np.int64)), pa.array(np.zeros(count, dtype=np.int64))]
        batch = pa.RecordBatch.from_arrays(
            [*rows.columns, *own], names=[*rows.schema.names, *(n for n, _ in merge.own_columns(pair))]
        )
        self._session.begin()
        if pair.number in self._filled:
            self._session.execute(self._dialect.delete_all(pair.staging))
        self._filled.add(pair.number)
        self._load(pair, batch, pair.staging)
        self._session.execute(merge.add(pair, pair.staging))

    def _delete_images(self, pair: Pair, deletes: pa.RecordBatch, inserts: pa.RecordBatch) -> pa.RecordBatch:
        """All equal rows go, and those that were too many come back with the inserts, which are returned."""
        names = [c.name for c in pair.source.loaded_columns]
        copies = np.asarray(deletes.column("#count"))
        rows = typed(pair, deletes, names)
        own = [pa.array(np.arange(len(copies), dtype=np.int64)), pa.array(copies)]
        batch = pa.RecordBatch.from_arrays(
            [*rows.columns, *own], names=[*rows.schema.names, *(n for n, _ in merge.own_columns(pair))]
        )
        self._filled.add(pair.number)
        self._load(pair, batch, pair.staging)
        copies = self._as_one(pair, copies)
        there = np.zeros(len(copies), dtype=np.int64)
        for number, count in self._session.query(merge.count_alike(pair)):
            there[int(number)] = int(count) if copies[int(number)] else 0
        if (there < copies).any():
            raise ValueRefused(
                f"{pair.target.name}: of {int(copies.sum())} rows that the source changed or deleted, "
                f"{int(np.minimum(there, copies).sum())} are there as the source had them",
                remedy="Something else has written to the target table: load it again.",
                table=str(pair.target.name),
            )
        self._session.execute(merge.remove_alike(pair))
        back = deletes.select(names).take(pa.array(np.repeat(np.arange(len(copies)), there - copies)))
        return stacked(inserts.select(names), back.columns)

    def _as_one(self, pair: Pair, copies: np.ndarray) -> np.ndarray:
        """How many rows of each staged image are to go, with all in the first one of those that are equal here."""
        if len(copies) < 2 or not any(self._dialect.merges_values(c) for c in pair.columns):
            return copies
        together = np.zeros_like(copies)
        for number, first in self._session.query(merge.first_alike(pair)):
            together[int(first)] += copies[int(number)]
        return together
