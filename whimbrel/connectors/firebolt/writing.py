"""Loading and applying where a statement does not say what it wrote, and a conflict undoes a transaction at its end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from whimbrel.connectors.firebolt.connection import CONFLICTS, pause_after, replayed
from whimbrel.connectors.firebolt.ledger import FireboltLedger
from whimbrel.connectors.firebolt.refusals import is_conflict
from whimbrel.connectors.protocols import Refetch
from whimbrel.connectors.sql import merge
from whimbrel.connectors.sql.applier import SqlApplier
from whimbrel.connectors.sql.loader import SqlLoader
from whimbrel.connectors.sql.merge import Pair
from whimbrel.errors import TargetInterrupted, WhimbrelError
from whimbrel.model.change import Segment
from whimbrel.model.position import Position


class FireboltLoader(SqlLoader):
    """See ``protocols.Loader``. A load that was undone by a conflict is done again, as it left nothing."""

    ledger_type = FireboltLedger
    load = replayed(SqlLoader.load)
    truncate = replayed(SqlLoader.truncate)

    def _prepare(self, pair: Pair) -> None:
        """Nothing: the staging table is made and dropped inside the transaction."""

    def _loaded(self, pair: Pair, name: str, *, staged: bool, replacing: bool) -> int:
        if not staged:
            return super()._loaded(pair, name, staged=staged, replacing=replacing)
        self._session.execute(merge.create_loading(pair))
        rows = super()._loaded(pair, name, staged=staged, replacing=replacing)
        self._session.execute(f"DROP TABLE {pair.loading}")
        return rows

    def _put(self, pair: Pair) -> int:
        super()._put(pair)
        return int(self._session.query(found(pair, pair.loading))[0][0])


class FireboltApplier(SqlApplier):
    """See ``protocols.Holder``. What was applied in one piece and undone by a conflict is applied again, so that the
    source's log need not be read again for it."""

    ledger_type = FireboltLedger
    _applied: Sequence[tuple[Segment, Refetch]] = ()  # of the transaction in hand

    def apply(self, segment: Segment, refetch: Refetch) -> None:
        if self._session.in_transaction:
            super().apply(segment, refetch)
        else:
            replayed(super().apply)(segment, refetch)
        self._applied = (*self._applied, (segment, refetch))[-2:]  # two are as good as more: they are not repeated

    def commit(self, epoch: int, position: Position) -> None:
        applied = self._applied
        for attempt in range(CONFLICTS):
            try:
                self._commit(epoch, position)
                return
            except TargetInterrupted as e:
                if not is_conflict(e) or len(applied) > 1 or attempt == CONFLICTS - 1:
                    raise
            pause_after(attempt)
            for segment, refetch in applied:
                self.apply(segment, refetch)

    def _commit(self, epoch: int, position: Position) -> None:
        try:
            self._session.begin()
            self._drop_staged()
            self._ledger.store_position(epoch, position)
            self._session.commit()
            self._ledger.require_stored(position)
        except BaseException:
            self.rollback()
            raise
        self._tidy()
        self._applied = ()

    def rollback(self) -> None:
        self._session.rollback()
        self._made.clear()
        self._filled.clear()
        self._applied = ()
        with suppress(WhimbrelError):  # what is left goes with the operation's other files
            self._tidy()
        self._left.clear()

    def hold(self) -> None:
        """Nobody is kept waiting: of the holder and who commits meanwhile one is undone, so that the rows are one
        moment's all the same."""
        try:
            self._session.begin()
            self._ledger.lock()
        except BaseException:
            self.rollback()
            raise

    def release(self) -> None:
        try:
            self._drop_staged()
            self._session.commit()
        except BaseException:
            self.rollback()
            raise
        self._tidy()
        self._applied = ()

    def _prepare(self, segment: Segment) -> None:
        """Nothing: staging tables are made and dropped inside the transaction."""

    def _stage_for(self, pair: Pair) -> None:
        self._session.begin()
        if pair.number not in self._made:
            self._session.execute(merge.create_staging(pair))
            self._made.add(pair.number)
        elif pair.number in self._filled:
            self._session.execute(self._dialect.delete_all(pair.staging))
            self._filled.discard(pair.number)

    def _drop_staged(self) -> None:
        for pair in self._pairs.values():
            if pair.number in self._made:
                self._session.execute(f"DROP TABLE {pair.staging}")
        self._made.clear()
        self._filled.clear()

    def _put(self, pair: Pair) -> int:
        gone = int(self._session.query(merge.expected(pair))[0][0])
        super()._put(pair)
        return int(self._session.query(found(pair, pair.staging))[0][0]) + gone


def found(pair: Pair, staging: str) -> str:
    """How many rows of the table have the keys of staged ones after they were put: each one that was put is there once,
    and of those that are gone none."""
    return f"SELECT COUNT(*) FROM {staging} s JOIN {pair.table} t ON {merge.by_key(pair)}"  # noqa: S608
