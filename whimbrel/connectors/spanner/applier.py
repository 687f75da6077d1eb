"""Applies segments of changes: the last image of each row, in one commit with the position as long as that is within
Spanner's limits; a larger batch in several commits, the position with the last of them.

Written again after a kill each part ends the same, as it puts final images by their keys. But a value that the source
left out, of a row whose key has moved, is read from the row that had it before: that another part may have changed by
then. So the end of such a batch is noted before its first commit, and up to there such rows are asked of the source.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from whimbrel.codecs.compaction import Compacted, compact
from whimbrel.connectors.protocols import Refetch
from whimbrel.connectors.spanner.connection import SpannerSession, Transaction
from whimbrel.connectors.spanner.dialect import SpannerDialect
from whimbrel.connectors.spanner.images import Images, found_rows, images_of
from whimbrel.connectors.spanner.ledger import HOLD_SECONDS, Held, SpannerLedger, Standing
from whimbrel.connectors.spanner.loader import ShapeOf, remove_rows, required_shape
from whimbrel.connectors.spanner.mutations import Limits, Part, Shape, delete_all, halves, parts
from whimbrel.connectors.sql.images import in_order
from whimbrel.connectors.sql.merge import Pair
from whimbrel.connectors.verdicts import keyless
from whimbrel.errors import TableMissing, TargetInterrupted, WhimbrelError
from whimbrel.model.change import Segment, TableChanges, Truncate
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table

_LOOKS: Final = 4  # at rows that are not there as they should, before that is told
Fence = Callable[[Transaction], object]


@dataclass(frozen=True)
class Work:
    """What is to be done to a table, in order: all its rows go, or the images are put and removed."""

    pair: Pair
    shape: Shape
    images: Images | None = None
    refetch: Refetch | None = None


class SpannerApplier:
    """See ``protocols.Applier`` and ``Holder``. One session, for one thread. ``apply`` prepares, ``commit`` writes."""

    def __init__(
        self,
        session: SpannerSession,
        dialect: SpannerDialect,
        job: Job,
        source: Sequence[Table],
        target: Sequence[Table],
        shape_of: ShapeOf,
    ) -> None:
        self._session, self._dialect, self._shape_of = session, dialect, shape_of
        self._ledger = SpannerLedger(session, dialect, job.migration)
        tables = enumerate(zip(source, target, strict=True))
        self._pairs = {s.name: Pair(n, s, t, dialect) for n, (s, t) in tables}
        self._shapes: dict[TableName, Shape] = {}
        self._work: list[Work] = []
        self._limits = Limits()
        self._token = ""

    def apply(self, segment: Segment, refetch: Refetch) -> None:
        try:
            for step in segment.steps:
                if isinstance(step, Truncate):
                    for name in step.tables:
                        pair, shape = self._of(name)
                        self._work = [w for w in self._work if w.pair is not pair]
                        self._work.append(Work(pair, shape))
                else:
                    self._take(step, refetch)
        except BaseException:
            self.rollback()
            raise

    def commit(self, epoch: int, position: Position) -> None:
        try:
            again = any(w.images and len(w.images.moved) for w in self._work) and self._written_before(epoch)
            last, deadline = [self._ledger.moved(position)], time.monotonic() + 2 * HOLD_SECONDS
            while True:
                try:
                    self._written(lambda t: self._ledger.require_free(t, epoch), last, position, again=again)
                    break
                except Held:
                    _wait(deadline)
        finally:
            self._work.clear()

    def rollback(self) -> None:
        self._session.rollback()
        self._work.clear()
        if self._token:
            token, self._token = self._token, ""
            with suppress(WhimbrelError):
                self._ledger.end_hold(token)

    def hold(self) -> None:
        self.rollback()
        self._token = self._ledger.hold()

    def release(self) -> None:
        """What was written is older than what others may have written since, if the hold has ended before."""
        try:
            token = self._token
            self._written(lambda t: self._ledger.require_hold(t, token), [self._ledger.unheld], None, again=False)
            self._token = ""
        finally:
            self.rollback()

    def close(self) -> None:
        with suppress(WhimbrelError):
            self.rollback()
        self._session.close()

    # --- one table ----------------------------------------------------------------------------------------------------

    def _of(self, table: TableName) -> tuple[Pair, Shape]:
        if table not in self._pairs:
            raise TableMissing(f"{table}: changes came for a table that is not part of the migration")
        pair = self._pairs[table]
        if table not in self._shapes:
            self._shapes[table] = required_shape(self._session, self._shape_of, pair.source, pair.target)
        return pair, self._shapes[table]

    def _take(self, changes: TableChanges, refetch: Refetch) -> None:
        pair, shape = self._of(changes.table)
        if not pair.key:
            raise keyless([str(pair.source.name)])
        compacted = compact(in_order(pair, changes), pair.source.key)
        if not compacted.upserts.num_rows and not compacted.deletes.num_rows:
            return
        before = any(w.pair is pair for w in self._work)
        self._work.append(Work(pair, shape, images_of(pair, shape, compacted), refetch))
        if before:  # what a row has under its old key is not on the target yet
            self._refetched_moved(len(self._work) - 1)

    # --- commits ------------------------------------------------------------------------------------------------------

    def _written_before(self, epoch: int) -> bool:
        """Whether a batch that went on to here or further may have been written in part."""
        found: list[Standing] = []

        def work(transaction: Transaction) -> Iterable[bytes]:
            found.append(self._ledger.require_free(transaction, epoch))
            return ()

        deadline = time.monotonic() + 2 * HOLD_SECONDS
        while not found:
            try:
                self._session.transact(work)
            except Held:
                _wait(deadline)
        stored, writing = found[-1].position, found[-1].writing
        return writing is not None and (stored is None or stored.order < writing.order)

    def _written(self, fence: Fence, last: Sequence[str], position: Position | None, *, again: bool) -> None:
        """All work, under the fence; the statements ``last`` with its last commit."""
        if again:
            self._ask_for_moved()
        if self._fits():
            for _ in range(_LOOKS):
                try:
                    self._at_once(fence, last)
                    return
                except WhimbrelError as e:
                    if e.details.get("too_large"):
                        self._limits = self._limits.halved()
                        break
                    if not e.details.get("row_missing"):
                        raise
                self._ask_for_missing()
            else:
                raise TargetInterrupted("rows of the target come and go while their changes are applied")
        self._in_parts(fence, last, position)

    def _fits(self) -> bool:
        """Whether all goes into one commit."""
        if any(w.images is None and self._many(w) for w in self._work):
            return False
        writes = [write for w in self._work if w.images for write in w.images.measured]
        return len(list(parts(writes, self._limits))) <= 1

    def _many(self, work: Work) -> bool:
        """Whether a table that is to be emptied has more rows than one commit removes."""
        sql = f"SELECT 1 FROM {work.pair.table} LIMIT 1 OFFSET {work.shape.gone_at_once}"  # noqa: S608
        return bool(self._session.query(sql))

    def _at_once(self, fence: Fence, last: Sequence[str]) -> None:
        def work(transaction: Transaction) -> Iterable[bytes]:
            fence(transaction)
            found: list[bytes] = []
            for one in self._work:
                if one.images is None:
                    found.append(delete_all(one.shape.name))
                    continue
                writes = [*one.images.fixed, *one.images.moved_from(transaction, one.pair, one.shape)]
                found += [write.message(0, len(write.rows)) for write in writes if len(write.rows)]
            transaction.run(last)
            return found

        self._session.transact(work)

    def _in_parts(self, fence: Fence, last: Sequence[str], position: Position | None) -> None:
        """Bounded commits, of which each may be done again. What the target refuses because of a row that another
        part is to write or to remove comes after that."""
        if position is not None:
            self._do(fence, [], [self._ledger.under_way(position)])
        self._ask_for_moved()
        self._ask_for_missing()
        for one in (w for w in self._work if w.images is None):
            remove_rows(self._session, one.shape, one.pair.target.name, self._dialect, fence)
        tables = [w.pair.number for w in self._work]
        any_order = len(set(tables)) == len(tables)
        waiting: list[Part] = []
        for one in self._work:
            if one.images is None:
                self._do(fence, [delete_all(one.shape.name)], [])
            else:
                waiting += parts(one.images.fixed, self._limits)
        while waiting:
            left: list[Part] = []
            refused: WhimbrelError | None = None
            for part in waiting:
                try:
                    self._part(fence, part)
                except WhimbrelError as e:
                    if not (any_order and e.details.get("constraint")):
                        raise
                    left.append(part)
                    refused = e
            if refused is not None and len(left) == len(waiting):
                raise refused
            waiting = left
        self._do(fence, [], last)

    def _part(self, fence: Fence, part: Part) -> None:
        try:
            self._do(fence, [piece.message() for piece in part], [])
        except WhimbrelError as e:
            if not e.details.get("too_large"):
                raise
            several, self._limits = halves(part, self._limits)
            for one in several:
                self._part(fence, one)

    def _do(self, fence: Fence, mutations: Sequence[bytes], statements: Sequence[str]) -> None:
        """One commit; waits while a repair holds the target."""

        def work(transaction: Transaction) -> Iterable[bytes]:
            fence(transaction)
            transaction.run(statements)
            return mutations

        deadline = time.monotonic() + 2 * HOLD_SECONDS
        while True:
            try:
                self._session.transact(work)
                return
            except Held:
                _wait(deadline)

    # --- values that the source left out ------------------------------------------------------------------------------

    def _ask_for_moved(self) -> None:
        """Rows with left out values whose key has moved, as the source has them now."""
        for number in range(len(self._work)):
            self._refetched_moved(number)

    def _refetched_moved(self, number: int) -> None:
        images = self._work[number].images
        if images is not None and len(images.moved):
            self._refetched(number, images.moved)

    def _ask_for_missing(self) -> None:
        """The same of those that the target does not have."""
        for number, work in enumerate(self._work):
            if work.images is None or not len(work.images.masked):
                continue
            keys = work.images.keys(work.pair, work.images.masked)
            missing = np.array([row is None for row in self._looked_up(work.shape, keys)], dtype=np.bool_)
            if missing.any():
                self._refetched(number, work.images.masked[missing])

    def _looked_up(self, shape: Shape, keys: pa.RecordBatch) -> list[Any]:
        there: list[Any] = []

        def look(transaction: Transaction) -> Iterable[bytes]:
            there[:] = found_rows(transaction, shape, keys, shape.key)
            return ()

        self._session.transact(look)
        return there

    def _refetched(self, number: int, places: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Those that the source has not any more are left out: the change that removes them follows in the log."""
        work = self._work[number]
        assert work.images is not None
        assert work.refetch is not None
        compacted = work.images.compacted
        names = [c.name for c in work.pair.source.loaded_columns]
        keys = compacted.upserts.select(list(work.pair.source.key)).take(pa.array(places))
        found = work.refetch(work.pair.source.name, keys).select(names)
        kept = np.ones(compacted.upserts.num_rows, dtype=np.bool_)
        kept[places] = False
        rest = pa.array(kept)
        origins = compacted.origins.filter(rest) if compacted.origins is not None else None
        unchanged = {name: mask.filter(rest) for name, mask in compacted.unchanged.items()}
        fewer = Compacted(compacted.deletes, compacted.upserts.filter(rest), unchanged, origins)
        whole = images_of(work.pair, work.shape, Compacted(compacted.deletes.slice(0, 0), found))
        images = images_of(work.pair, work.shape, fewer)
        self._work[number] = replace(work, images=images.and_more(whole.fixed + work.images.more))


def _wait(deadline: float) -> None:
    """For a repair to let go. Raises TargetInterrupted once the deadline is over."""
    if time.monotonic() > deadline:
        raise TargetInterrupted("a repair holds the target")
    time.sleep(0.2)
