"""Applies segments of changes: all rows are brought into tables of ours first, then one script writes them.

Nothing of a transaction reaches the server's tables before ``commit``. Its script changes at most a hundred tables and
has at most a megabyte; of a transaction over more, which may come in many slices, what has a key is written by scripts
before the last one, which has the position. Written again after a kill these end the same, as each has the last image
of its rows; where one has not, the transaction is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.codecs.compaction import Compacted, compact, net
from whimbrel.connectors.bigquery import statements
from whimbrel.connectors.bigquery.connection import BigQuerySession
from whimbrel.connectors.bigquery.dialect import BigQueryDialect, plain
from whimbrel.connectors.bigquery.ledger import HOLD_SECONDS, LONGEST_SCRIPT, BigQueryLedger
from whimbrel.connectors.bigquery.refusals import raised
from whimbrel.connectors.bigquery.stage import BigQueryStage
from whimbrel.connectors.bigquery.statements import StagedPair
from whimbrel.connectors.protocols import Refetch
from whimbrel.connectors.sql import merge
from whimbrel.connectors.sql.images import in_order, staged, typed
from whimbrel.connectors.sql.merge import Pair
from whimbrel.connectors.sql.stage import ChangeFiles
from whimbrel.errors import ReplicationFailed, TableMissing, TargetInterrupted, ValueRefused, WhimbrelError
from whimbrel.model.change import Segment, TableChanges, Truncate
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table

_log = logging.getLogger(__name__)
MOST_TABLES: Final = 100  # that one transaction changes, ours among them


@dataclass
class Piece:
    """What one slice of a transaction has for one table. ``borrows``: values of rows whose key has changed come from
    the table, where they stand under the old key until this is written, and not any more then."""

    pair: Pair
    statements: list[str] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)  # tables, its own and ours
    borrows: bool = False

    def add(self, *statements: str, changes: str) -> None:
        self.statements.extend(statements)
        self.changed |= {self.pair.table, changes}

    @property
    def size(self) -> int:
        return sum(len(s) + 2 for s in self.statements)


@dataclass
class Work:
    """What a transaction has for one table, slice by slice: ``puts`` are the staged ones of its changes by key, oldest
    first; ``emptied`` says that nothing counts which the table had before."""

    pair: Pair
    pieces: list[Piece] = field(default_factory=list)
    puts: list[StagedPair] = field(default_factory=list)
    emptied: bool = False

    def piece(self) -> Piece:
        self.pieces.append(Piece(self.pair))
        return self.pieces[-1]


class BigQueryApplier:
    """See ``protocols.Applier`` and ``Holder``. One session, for one thread. An error undoes what is in hand."""

    def __init__(
        self,
        session: BigQuerySession,
        dialect: BigQueryDialect,
        stage: BigQueryStage,
        job: Job,
        source: Sequence[Table],
        target: Sequence[Table],
    ) -> None:
        self._session, self._dialect, self._stage = session, dialect, stage
        self._ledger = BigQueryLedger(session, dialect, job.migration)
        self._files = ChangeFiles(job)
        tables = enumerate(zip(source, target, strict=True))
        self._pairs = {s.name: Pair(n, s, t, dialect) for n, (s, t) in tables}
        self._work: dict[int, Work] = {}
        self._left: list[str] = []  # our tables that the transaction in hand reads
        self._token = ""

    def apply(self, segment: Segment, refetch: Refetch) -> None:
        try:
            for step in segment.steps:
                if isinstance(step, Truncate):
                    for name in step.tables:
                        self._empty(self._work_on(name))
                else:
                    self._apply(step, refetch)
        except BaseException:
            self.rollback()
            raise

    def commit(self, epoch: int, position: Position) -> None:
        try:
            *before, last = self._parts()
            with self._ledger.told(epoch):
                for part in before:
                    self._written(part, lambda: self._fence(epoch, None))
                self._written(last, lambda: self._fence(epoch, position))
        except BaseException:
            self.rollback()
            raise
        self._forget()

    def rollback(self) -> None:
        self._session.rollback()
        self._forget()
        if self._token:
            token, self._token = self._token, ""
            with suppress(WhimbrelError), self._session.transaction():
                self._ledger.end_hold(token)

    def hold(self) -> None:
        self.rollback()
        self._token = self._ledger.hold()

    def release(self) -> None:
        """What was written is older than what others may have written since, if the hold has ended before."""
        try:
            parts = self._parts()
            if len(parts) > 1:
                raise ReplicationFailed(
                    "a repair of this size does not go into one transaction of BigQuery",
                    remedy="Repair fewer tables at once.",
                )
            token, self._token = self._token, ""
            with self._ledger.told(0):
                self._written(parts[0], lambda: self._ledger.end_hold(token))
        except BaseException:
            self.rollback()
            raise
        self._forget()

    def close(self) -> None:
        with suppress(WhimbrelError):
            self.rollback()
        self._session.close()

    # --- the scripts --------------------------------------------------------------------------------------------------

    def _parts(self) -> list[list[Piece]]:
        """What each script writes, the pieces of a table in their order. What has no key must come with the position,
        as it must not come twice."""
        pieces = [p for work in self._work.values() for p in work.pieces]
        keyed, keyless = [p for p in pieces if p.pair.key], [p for p in pieces if not p.pair.key]
        if not _fit(pieces) and not _fit(keyless):
            raise ReplicationFailed(
                f"a transaction of the source changes so much of {_names(keyless)} that its scripts pass BigQuery's "
                "limits, and without a key it cannot come in parts",
                remedy="Begin the migration anew: the load brings what the transaction has changed. With a primary key "
                "on these tables such a transaction is applied in parts.",
            )
        if _fit(pieces):
            return [pieces]
        parts: list[list[Piece]] = []
        for piece in keyed:
            if parts and _fit([*parts[-1], piece]):
                parts[-1].append(piece)
            else:
                parts.append([piece])
        if borrowing := [piece for part in parts for piece in part if piece.borrows]:
            raise ReplicationFailed(
                "a transaction of the source passes what one transaction of BigQuery takes, and it changes keys of "
                f"{_names(borrowing)} and leaves values out: in parts it might end otherwise than the source",
                remedy="Let the source write whole rows (REPLICA IDENTITY FULL, or binlog_row_image=FULL) for these "
                "tables, and begin the migration anew: the load brings what the transaction has changed.",
            )
        _log.info("a transaction of the source is written by %d transactions of BigQuery", len(parts) + 1)
        return [*parts, keyless]

    def _written(self, part: Sequence[Piece], fence: Callable[[], None]) -> None:
        while True:
            try:
                with self._refused(), self._session.transaction():
                    fence()
                    if part:
                        self._session.declare(statements.VARIABLE)
                    for piece in part:
                        for statement in piece.statements:
                            self._session.execute(statement)
                return
            except WhimbrelError as e:
                if (raised(e) or ("",))[0] != "held":
                    raise
            self._ledger.wait_until_free(2 * HOLD_SECONDS)

    def _fence(self, epoch: int, position: Position | None) -> None:
        self._ledger.require_free()
        self._ledger.store_freely(epoch, position)

    @contextmanager
    def _refused(self) -> Iterator[None]:
        """What a script has ended itself with, as an error that names the table."""
        try:
            yield
        except WhimbrelError as e:
            word, numbers = raised(e) or ("", ())
            if word not in ("written", "images", "moved"):
                raise
            table = str(next(p.target.name for p in self._pairs.values() if p.number == numbers[0]))
            if word == "moved":
                raise TargetInterrupted(f"{table}: rows came or went while their changes were prepared") from None
            if word == "images":
                raise ValueRefused(
                    f"{table}: of the rows that the source changed or deleted, {numbers[1]} are not there as the "
                    "source had them",
                    remedy="Something else has written to the target table: load it again.",
                    table=table,
                ) from None
            raise ValueRefused(
                f"{table}: {numbers[2]} rows were to be written, but {numbers[1]} were",
                remedy="Look for rows with equal keys on the target, which does not refuse them, and remove them.",
                table=table,
            ) from None

    def _forget(self) -> None:
        self._work.clear()
        left, self._left = self._left, []
        for name in left:
            self._stage.remove(self._session, name)

    # --- one table ----------------------------------------------------------------------------------------------------

    def _work_on(self, table: TableName) -> Work:
        if table not in self._pairs:
            raise TableMissing(f"{table}: changes came for a table that is not part of the migration")
        pair = self._pairs[table]
        return self._work.setdefault(pair.number, Work(pair))

    def _empty(self, work: Work) -> None:
        work.pieces.clear()
        work.puts.clear()
        work.emptied = True
        work.piece().add(statements.empty(work.pair), changes=work.pair.table)

    def _apply(self, changes: TableChanges, refetch: Refetch) -> None:
        work = self._work_on(changes.table)
        changes = in_order(work.pair, changes)
        if work.pair.key:
            self._apply_keyed(work, compact(changes, work.pair.source.key), refetch)
        else:
            self._apply_images(work, changes)

    def _apply_keyed(self, work: Work, compacted: Compacted, refetch: Refetch) -> None:
        pair, puts = work.pair, compacted.upserts.num_rows
        if not puts and not compacted.deletes.num_rows:
            return
        columns, piece = statements.staged_columns(pair), work.piece()
        rows = staged(pair, compacted)
        on = self._staged(pair, rows, columns)
        if compacted.unchanged:
            names = dict(zip((c.name for c in pair.source.loaded_columns), (c.name for c in pair.columns), strict=True))
            asked = statements.absent(on, work.puts, emptied=work.emptied)
            missing = sorted(int(row[0]) for row in self._session.query(asked))
            piece.add(
                *statements.filled(on, [names[n] for n in compacted.unchanged], len(missing)), changes=on.table_name
            )
            piece.borrows = _borrows(pair, rows)
            if missing:
                keys = compacted.upserts.select(list(pair.source.key)).take(pa.array(missing))
                found = refetch(pair.source.name, keys).select(list(names))
                whole = Compacted(compacted.deletes.slice(0, 0), found)
                self._load(on.table_name, staged(pair, whole), columns)
                puts += int(found.num_rows) - len(missing)
        if puts or compacted.deletes.num_rows:
            deletes = bool(compacted.deletes.num_rows)
            piece.add(*statements.put(on, puts, deletes=deletes), changes=pair.table)
            work.puts.append(on)

    def _apply_images(self, work: Work, changes: TableChanges) -> None:
        pair, piece, result = work.pair, work.piece(), net(changes)
        if result.deletes.num_rows:
            copies = np.asarray(result.deletes.column("#count"))
            on = self._staged_images(pair, result.deletes, copies)
            piece.add(*statements.remove_images(on), changes=on.table_name)
        if result.inserts.num_rows:
            on = self._staged_images(pair, result.inserts, np.zeros(result.inserts.num_rows, dtype=np.int64))
            piece.add(*statements.add_images(on, result.inserts.num_rows), changes=pair.table)

    def _staged_images(self, pair: Pair, images: pa.RecordBatch, copies: np.ndarray) -> StagedPair:
        rows = typed(pair, images, [c.name for c in pair.source.loaded_columns])
        own = [pa.array(np.arange(len(copies), dtype=np.int64)), pa.array(copies.astype(np.int64))]
        names = [*rows.schema.names, *(name for name, _ in merge.own_columns(pair))]
        batch = pa.RecordBatch.from_arrays([*rows.columns, *own], names=names)
        return self._staged(pair, batch, statements.staged_columns(pair))

    def _staged(self, pair: Pair, batch: pa.RecordBatch, columns: Sequence[tuple[str, str]]) -> StagedPair:
        name = self._stage.make(self._session, columns)
        self._left.append(name)
        self._load(name, batch, columns)
        return StagedPair(pair.number, pair.source, pair.target, self._dialect, name)

    def _load(self, name: str, batch: pa.RecordBatch, columns: Sequence[tuple[str, str]]) -> None:
        """Bring typed rows into a table of ours. Raises ValueRefused when not all of them came."""
        if batch.num_rows == 0:
            return
        whole = [*batch.columns, pa.nulls(batch.num_rows, pa.bool_())]
        named = pa.RecordBatch.from_arrays(whole, names=[*map(plain, batch.schema.names), plain(merge.FOUND)])
        with self._files.written(named) as path:
            rows = self._stage.load(self._session, path, name, columns)
        if rows != batch.num_rows:
            raise ValueRefused(f"of {batch.num_rows} changed rows the target loaded {rows}")


def _fit(part: Sequence[Piece]) -> bool:
    """Whether one transaction can write them."""
    changed = {table for piece in part for table in piece.changed}
    return len(changed) < MOST_TABLES and sum(piece.size for piece in part) < LONGEST_SCRIPT


def _names(pieces: Sequence[Piece]) -> str:
    return ", ".join(dict.fromkeys(str(piece.pair.target.name) for piece in pieces))


def _borrows(pair: Pair, rows: pa.RecordBatch) -> bool:
    """Whether a staged row of which values were left out has another key than the row that they come from."""
    left_out = pc.not_equal(rows.column(merge.MASK), "")
    for n, name in enumerate(pair.key):
        new, old = rows.column(name), rows.column(merge.origin(n))
        if pc.any(pc.and_kleene(left_out, pc.and_(pc.is_valid(old), pc.not_equal(new, old)))).as_py():
            return True
    return False
