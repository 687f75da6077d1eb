"""Where segments of changes go: a database, a queue or both, each with a position of its own."""

from __future__ import annotations

import time
from typing import Protocol

import pyarrow as pa

from whimbrel.codecs.ordering import after
from whimbrel.connectors.protocols import Applier, Claim, Pace, QueueWriter
from whimbrel.errors import WhimbrelError
from whimbrel.model.change import Segment
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.packet import QueueMirror
from whimbrel.pipeline.pair import Pair

IDLE_COMMIT = 1.0  # seconds between commits of a position that moved without changes of ours; comparisons wait for it


class Feed(Protocol):
    """One target of the change phase. What it has committed it is never given again."""

    committed: Position
    in_transaction: bool

    def apply(self, segment: Segment) -> None:
        """Take in a segment, and commit if it ends a transaction."""

    def move(self, position: Position, seconds: float) -> None:
        """Between transactions: store a position that moved without changes of ours, if the last commit was that long
        ago, so that the source can forget its log."""

    def caught_up(self) -> None:
        """Told now and then between transactions: do what had to wait until old changes are applied."""

    def rest(self) -> None:
        """A pause has begun."""

    def end(self) -> None:
        """After a graceful stop: nothing half-written stays."""


class DatabaseFeed:
    """Applies segments, with the position in the target's own transaction."""

    def __init__(
        self, pair: Pair, control: Control, applier: Applier, epoch: int, start: Position, *, keys_wait: bool
    ) -> None:
        self.pair, self.control, self.applier, self.epoch = pair, control, applier, epoch
        self.committed = start
        self.in_transaction = False
        self._start = start
        self._committed_at = 0.0
        self._keys_after = pair.source.current_position() if keys_wait else None

    def apply(self, segment: Segment) -> None:
        wanted = after(segment, self._start)
        if wanted.steps:
            self.in_transaction = True
            self.applier.apply(wanted, self._refetch)
        if segment.ends_transaction and self.in_transaction:
            self._commit(segment.position)
            self.in_transaction = False

    @property
    def pace(self) -> Pace:
        """How changes are gathered before they come here."""
        return self.pair.target.pace

    def move(self, position: Position, seconds: float) -> None:
        wanted = max(seconds, self.pair.target.pace.idle) if seconds else 0.0
        if self.committed.order < position.order and time.monotonic() - self._committed_at >= wanted:
            self._commit(position)

    def caught_up(self) -> None:
        if self._keys_after is not None and self._keys_after <= self.committed:
            if (finisher := self.pair.target.finisher) is not None:
                self.control.log("loader", "caught up with the last snapshot, adding foreign keys")
                finisher.keys(self.pair.target_tables, Claim(self.pair.job.migration, self.epoch))
            self._keys_after = None

    def rest(self) -> None:
        """The target can number its own rows, should its users go there from here."""
        self._number_on()

    def end(self) -> None:
        """The target can number its own rows from here on, too."""
        if self.in_transaction:
            self.applier.rollback()
            self.in_transaction = False
        self._number_on()

    def _number_on(self) -> None:
        try:
            if (finisher := self.pair.target.finisher) is not None:
                finisher.sequences(self.pair.tables, self.pair.target_tables)
        except WhimbrelError as e:
            self.control.log("loader", f"sequences on the target were not moved: {e.message}")

    def _commit(self, position: Position) -> None:
        self.applier.commit(self.epoch, position)
        self.committed, self._committed_at = position, time.monotonic()

    def _refetch(self, table: TableName, keys: pa.RecordBatch) -> pa.RecordBatch:
        definition = next(t for t in self.pair.tables if t.name == table)
        return self.pair.source.fetch_rows(definition, keys)


class QueueFeed:
    """Sends segments as messages, with the position in the producer's own transaction. ``owner``: the operation that
    began it."""

    def __init__(self, writer: QueueWriter, start: Position, owner: str) -> None:
        self.writer, self.owner = writer, owner
        self.committed = start
        self.in_transaction = False
        self._start = start
        self._committed_at = 0.0

    def apply(self, segment: Segment) -> None:
        wanted = after(segment, self._start)
        if wanted.steps:
            self.in_transaction = True
        committed = self.writer.write(wanted)
        if committed is not None:
            self._committed(committed)
        if segment.ends_transaction and self.in_transaction:
            self.in_transaction = False
            if self.committed.order < segment.position.order and wanted.marks[-1].commit != committed:
                self.writer.commit(segment.position)
                self._committed(segment.position)

    def move(self, position: Position, seconds: float) -> None:
        if self.committed.order < position.order and time.monotonic() - self._committed_at >= seconds:
            self.writer.commit(position)
            self._committed(position)

    @property
    def mirror(self) -> QueueMirror:
        return QueueMirror(self.committed, self.writer.keeps_position_in, self.owner)

    def caught_up(self) -> None:
        """Nothing waits."""

    def rest(self) -> None:
        """Nothing to do."""

    def end(self) -> None:
        if self.in_transaction:
            self.writer.abort()
            self.in_transaction = False

    def _committed(self, position: Position) -> None:
        self.committed, self._committed_at = position, time.monotonic()
