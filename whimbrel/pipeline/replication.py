"""The change phase: segments from the capture process, applied with the position in the target's own transaction."""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import replace

import pyarrow as pa

from whimbrel.connectors.protocols import Applier, Checkpoint
from whimbrel.errors import DataFailed, Interrupted, PositionLost, ReplicationFailed, WhimbrelError
from whimbrel.model.change import Segment
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.progress import ChangeProgress, TableChangeTotals
from whimbrel.pipeline.capture import Capture, CaptureSpec
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.lag import Lag
from whimbrel.pipeline.packet import write_packet
from whimbrel.pipeline.pair import Pair, open_pair

IDLE_COMMIT = 5.0  # seconds between commits of a position that moved without changes of ours
PACKET = 5.0  # seconds between rewrites of position.pkt


def replicate(job: Job, control: Control, *, resume: bool, position: str | None, handoff: bool) -> None:
    """Apply every change from the start position on, until ``control.check`` raises Interrupted.

    ``handoff`` goes on from the data phase of the same migration; ``resume`` from the stored position; otherwise from
    ``position`` (as users write it) or from now. A retry by the same operation always goes on from what the target
    has committed. On a graceful end sequences are moved past what was replicated.
    """
    control.phase("change")
    with open_pair(job) as pair:
        pair.require_target_tables()
        pair.source.check_capture(pair.tables)
        with closing(pair.target.checkpoint(job.migration)) as checkpoint:
            epoch = checkpoint.claim()
            start = _start(pair, checkpoint, epoch, resume=resume, position=position, handoff=handoff)
            keys_wait = handoff and checkpoint.state().snapshots > 1
        control.log("orchestrator", f"replication starts at {start.text}")
        with (
            Capture(CaptureSpec(job, pair.tables, start)) as capture,
            closing(pair.target.open_applier(job, pair.tables, pair.target_tables)) as applier,
        ):
            changes = _Changes(pair, control, capture, applier, epoch, start, keys_wait=keys_wait)
            try:
                changes.run()
            except Interrupted:
                changes.end()
                raise


def _start(
    pair: Pair, checkpoint: Checkpoint, epoch: int, *, resume: bool, position: str | None, handoff: bool
) -> Position:
    """Where to read from. Only a fresh start changes anything: it forgets the stored position and stores its own."""
    state, job, source = checkpoint.state(), pair.job, pair.source
    if handoff and not state.data_complete:
        raise DataFailed(f"migration {job.migration}: the data phase is not complete", remedy="Run it again.")
    if handoff or resume or state.operation == job.operation:
        if state.position is None:
            raise ReplicationFailed(
                f"migration {job.migration} has no stored position to go on from",
                remedy="Start with resume=false, or give a position.",
            )
        return state.position
    if position is None:
        source.cleanup(job)
        try:
            start = source.prepare_changes(job, pair.tables)
        except WhimbrelError:
            with suppress(WhimbrelError):
                source.cleanup(job)  # no half of it, publication without slot, stays
            raise
    else:
        start = source.parse_position(position)
        kept = state.position is not None and source.holds(job, state.position)
        source.prepare_changes(job, pair.tables)
        if not source.holds(job, start):
            if not kept:
                source.cleanup(job)
            raise PositionLost(f"the source no longer has the changes since {start.text}")
    checkpoint.clear(epoch, job.operation)
    checkpoint.set_position(epoch, start)
    return start


class _Changes:
    """One attempt at the change phase. ``applied`` is what the target shows, ``committed`` what its table says."""

    def __init__(
        self, pair: Pair, control: Control, capture: Capture, applier: Applier, epoch: int, start: Position,
        *, keys_wait: bool,
    ) -> None:  # fmt: skip
        self.pair, self.control, self.capture, self.applier, self.epoch = pair, control, capture, applier, epoch
        self.applied = self.committed = start
        self.keys_after: Position | None = pair.source.current_position() if keys_wait else None
        self.in_transaction = False
        self.committed_at = self.packet_at = self.told_at = 0.0
        self.lag = Lag(pair.source.current_position)
        names = [str(t.name) for t in pair.tables]
        self.totals = {n: TableChangeTotals(n) for n in names} | dict(control.earlier_totals())
        self.transactions = 0
        self.last_commit_us = 0

    def run(self) -> None:
        while True:
            self.control.check()
            if self.control.pause_wanted() and not self.in_transaction:
                self.commit_idle(0)
                self.control.at_rest(True)
                self.tell()
                time.sleep(0.05)
                continue
            self.control.at_rest(False)
            segment = self.capture.receive(0.2)
            if segment is not None:
                self.apply(segment)
            self.tell()

    def apply(self, segment: Segment) -> None:
        if segment.steps:
            self.in_transaction = True
            self.applier.apply(segment, self.refetch)
        if segment.ends_transaction:
            if self.in_transaction:
                self.applier.commit(self.epoch, segment.position)
                self.committed, self.committed_at = segment.position, time.monotonic()
                self.in_transaction = False
            self.applied = segment.position
            self.commit_idle(IDLE_COMMIT)
        self.count(segment)
        self.capture.applied(self.committed)

    def commit_idle(self, after: float) -> None:
        """Store a position that moved without changes of ours, so that the source can forget its log."""
        if self.committed.order < self.applied.order and time.monotonic() - self.committed_at >= after:
            self.applier.commit(self.epoch, self.applied)
            self.committed, self.committed_at = self.applied, time.monotonic()

    def refetch(self, table: TableName, keys: pa.RecordBatch) -> pa.RecordBatch:
        definition = next(t for t in self.pair.tables if t.name == table)
        return self.pair.source.fetch_rows(definition, keys)

    def count(self, segment: Segment) -> None:
        for name, c in segment.counts.items():
            old = self.totals[str(name)]
            self.totals[str(name)] = replace(
                old,
                inserts=old.inserts + c.inserts,
                updates=old.updates + c.updates,
                deletes=old.deletes + c.deletes,
                truncates=old.truncates + c.truncates,
            )
            self.lag.count(c.inserts + c.updates + c.deletes + c.truncates)
            self.control.change_totals(self.totals[str(name)])
        self.transactions += segment.transactions
        self.last_commit_us = max(self.last_commit_us, segment.commit_us)

    def tell(self) -> None:
        """Progress a few times a second; with every new sample of the source also what depends on having caught up."""
        sampled = self.lag.update(self.applied)
        now = time.monotonic()
        if not sampled and now - self.told_at < 0.25:
            return
        self.told_at = now
        totals = self.totals.values()
        self.control.change(
            ChangeProgress(
                position=self.applied.text,
                source_position=self.lag.source.text if self.lag.source else "",
                lag_seconds=self.lag.seconds,
                lag_bytes=self.lag.bytes,
                transactions=self.transactions,
                inserts=sum(t.inserts for t in totals),
                updates=sum(t.updates for t in totals),
                deletes=sum(t.deletes for t in totals),
                truncates=sum(t.truncates for t in totals),
                ddl=0,
                events_per_second=self.lag.events_per_second,
                last_commit_us=self.last_commit_us,
            )
        )
        if now - self.packet_at > PACKET:
            self.packet_at = now
            self.write_packet()
        if self.keys_after is not None and not self.in_transaction and self.keys_after <= self.committed:
            self.control.log("loader", "caught up with the last snapshot, adding foreign keys")
            self.pair.target.finish_keys(self.pair.tables, self.pair.target_tables)
            self.keys_after = None

    def write_packet(self) -> None:
        job = self.pair.job
        write_packet(job.workdir, job.migration, self.committed, data_complete=True)

    def end(self) -> None:
        """After a graceful stop: nothing half-applied stays, and the target can number its own rows from here on."""
        if self.in_transaction:
            self.applier.rollback()
            self.in_transaction = False
        else:
            self.commit_idle(0)
        self.write_packet()
        try:
            self.pair.target.sync_sequences(self.pair.tables, self.pair.target_tables)
        except WhimbrelError as e:
            self.control.log("loader", f"sequences on the target were not moved: {e.message}")
