"""The change phase: segments of the capture process into the targets, each with its position in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

from whimbrel.codecs.ordering import after
from whimbrel.connectors.protocols import Pace, QueueWriter, Source
from whimbrel.connectors.queues import queue_of
from whimbrel.errors import Interrupted, InvalidRequest
from whimbrel.model.change import Segment
from whimbrel.model.job import Job
from whimbrel.model.position import Position
from whimbrel.model.progress import ChangeProgress, TableChangeTotals
from whimbrel.model.table import Table
from whimbrel.pipeline.changes.capture import Capture, CaptureSpec
from whimbrel.pipeline.changes.feeds import IDLE_COMMIT, DatabaseFeed, Feed, QueueFeed
from whimbrel.pipeline.changes.lag import Lag
from whimbrel.pipeline.changes.starting import start_of_database, start_of_queue, start_of_queue_beside
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.packet import write_packet
from whimbrel.pipeline.pair import open_pair, open_source, require_followed
from whimbrel.pipeline.retention import Expiry, Retention
from whimbrel.pipeline.scope import Newcomers, followed
from whimbrel.pipeline.stalls import Stalls

PACKET = 5.0  # seconds between rewrites of position.pkt


def replicate(job: Job, control: Control, *, resume: bool, position: str | None, handoff: bool) -> None:
    """Feed every change from the start position on to the job's targets, until ``control.check`` raises Interrupted.

    ``handoff`` goes on from the data phase of the same migration; ``resume`` from the stored position; otherwise from
    ``position`` (as users write it) or from now. A retry by the same operation always goes on from what each target
    has committed. On a graceful end sequences are moved past what was replicated.
    """
    control.phase("change")
    if position is not None and (handoff or resume):
        why = "replication begins where the load stands" if handoff else "with resume the stored one counts"
        control.log("orchestrator", f"the position given is not used: {why}")
    with (
        _watched(job, control) as sign,
        _open_work(job, control, resume=resume, position=position, handoff=handoff) as work,
    ):
        start = min((f.committed for f in work.feeds), key=lambda p: p.order)
        control.log("orchestrator", f"replication starts at {start.text}")
        pace = work.database.pace if work.database else Pace()
        spec = CaptureSpec(job, work.tables, start, work.queue is not None, pace)
        with Capture(spec, lambda line: control.log("extractor", line)) as capture:
            changes = _Changes(job, work, control, capture, start)
            try:
                changes.run(sign)
            except Interrupted:
                changes.end()
                raise
            finally:
                changes.report()  # what was counted since the last time, too


@contextmanager
def _watched(job: Job, control: Control) -> Iterator[Callable[[], None]]:
    """What to call with each turn. A queue's client has bounds of its own, and waits without either server at work."""
    if job.queue is not None:
        yield lambda: None
        return
    with Stalls(job, control) as stalls:
        yield stalls.sign


@dataclass(frozen=True)
class _Work:
    """A source and who is fed from it; at least one of ``database`` and ``queue`` is there."""

    source: Source
    tables: tuple[Table, ...]
    database: DatabaseFeed | None
    queue: QueueFeed | None

    @property
    def feeds(self) -> Sequence[Feed]:
        return [f for f in (self.database, self.queue) if f is not None]


@contextmanager
def _open_work(job: Job, control: Control, *, resume: bool, position: str | None, handoff: bool) -> Iterator[_Work]:
    """Open both sides and find out where each target goes on."""
    require_followed(job)
    with ExitStack() as stack:
        if not job.has_database:
            source = stack.enter_context(open_source(job))
            tables = source.reflect(source.resolve(job.tables))
            source.check_capture(tables)
            writer = stack.enter_context(_writer(job, tables))
            start = start_of_queue(source, job, tables, writer, control, resume=resume, position=position)
            yield _Work(source, tables, None, QueueFeed(writer, start, job.operation))
            return
        pair = stack.enter_context(open_pair(job))
        queue = None
        with closing(pair.target.ledger(job.migration)) as ledger:
            state = ledger.state()
            if handoff or resume or state.operation == job.operation:
                pair = followed(pair, state, control)
            pair.require_target_tables()
            pair.source.check_capture(pair.tables)
            pair.require_keys()
            epoch = ledger.claim()
            start = start_of_database(pair, ledger, epoch, control, resume=resume, position=position, handoff=handoff)
            state = ledger.state()
        if job.queue is not None:
            writer = stack.enter_context(_writer(job, pair.tables))
            owner = state.operation
            queue = QueueFeed(writer, start_of_queue_beside(job, writer, owner, start), owner)
        applier = stack.enter_context(closing(pair.target.open_applier(job, pair.tables, pair.target_tables)))
        keys_wait = handoff and state.snapshots > 1
        database = DatabaseFeed(pair, control, applier, epoch, start, keys_wait=keys_wait)
        yield _Work(pair.source, pair.tables, database, queue)


@contextmanager
def _writer(job: Job, tables: Sequence[Table]) -> Iterator[QueueWriter]:
    assert job.queue is not None
    with closing(queue_of(job.queue.type).writer(job.queue, job, tables)) as writer:
        yield writer


class _Changes:
    """One attempt at the change phase. ``applied`` is what every target shows.

    Figures go on from those of earlier attempts, so that none goes back because a worker died.
    """

    def __init__(self, job: Job, work: _Work, control: Control, capture: Capture, start: Position) -> None:
        self.job, self.work, self.control, self.capture = job, work, control, capture
        self.feeds = work.feeds
        self.applied = start
        self.counted = max((f.committed for f in self.feeds), key=lambda p: p.order)
        self.packet_at = self.told_at = 0.0
        earlier = control.earlier()
        told = earlier.change
        self.lag = Lag(work.source.current_position, unknown=earlier.age + told.lag_seconds if told else 0.0)
        self.retention = Retention(work.source, job, control)
        self.expiry = Expiry(work.source, control)
        self.newcomers = Newcomers(work.source, job, work.tables, control)
        self.shown = _shown(work.source, told)
        names = [str(t.name) for t in work.tables]
        self.totals = {n: TableChangeTotals(n) for n in names} | dict(earlier.totals)
        self.transactions = told.transactions if told else 0
        self.last_commit_us = told.last_commit_us if told else 0

    @property
    def in_transaction(self) -> bool:
        return any(f.in_transaction for f in self.feeds)

    @property
    def committed(self) -> Position:
        """What the source may forget: the older of the targets' positions."""
        return min((f.committed for f in self.feeds), key=lambda p: p.order)

    def run(self, sign: Callable[[], None]) -> None:
        """``sign`` is called with each turn: what lasts between two calls is a statement."""
        self.tell()  # nothing is counted before lag is known
        resting = False
        while True:
            sign()
            self.control.check()
            if self.control.pause_wanted() and not self.in_transaction:
                self.move(0)
                if not resting:
                    for feed in self.feeds:
                        feed.rest()
                resting = True
                self.control.at_rest(True)
                self.tell()
                time.sleep(0.05)
                continue
            resting = False
            self.control.at_rest(False)
            segment = self.capture.receive(0.2)
            if segment is not None:
                self.apply(segment)
            elif not self.in_transaction:
                self.move(IDLE_COMMIT)  # or a position that came just behind a commit would wait for the next segment
            self.tell()

    def apply(self, segment: Segment) -> None:
        for feed in self.feeds:
            feed.apply(segment)
        if segment.ends_transaction:
            self.applied = segment.position
            self.move(IDLE_COMMIT)
        self.count(after(segment, self.counted) if segment.marks else segment)
        self.capture.applied(self.committed)
        if self.job.verbose and segment.counts:
            self.control.log("loader", _told(segment))

    def move(self, seconds: float) -> None:
        for feed in self.feeds:
            feed.move(self.applied, seconds)

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
        self.retention.look()
        self.expiry.look(lambda: self.committed)
        self.newcomers.look()
        now = time.monotonic()
        if not sampled and now - self.told_at < 0.25:
            return
        self.told_at = now
        self.report()
        if now - self.packet_at > PACKET:
            self.packet_at = now
            self.write_packet()
        if not self.in_transaction:
            for feed in self.feeds:
                feed.caught_up()

    def report(self) -> None:
        """Tell the figures, unless the source was not asked yet: then those of earlier attempts stand."""
        if self.lag.source is None:
            return
        self.lag.compare(self.applied)
        totals = self.totals.values()
        behind = self.shown is not None and self.applied.order < self.shown.order
        self.control.change(
            ChangeProgress(
                position=self.shown.text if self.shown and behind else self.applied.text,
                source_position=self.lag.source.text,
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

    def write_packet(self) -> None:
        database, queue = self.work.database, self.work.queue
        write_packet(
            self.job.workdir,
            self.job.migration,
            database.committed if database else None,
            data_complete=database is not None,
            queue=queue.mirror if queue else None,
        )

    def end(self) -> None:
        """After a graceful stop: what is whole is committed, what is half is not."""
        if not self.in_transaction:
            self.move(0)
        for feed in self.feeds:
            feed.end()
        self.write_packet()


def _shown(source: Source, told: ChangeProgress | None) -> Position | None:
    """The position that an earlier attempt showed. A log without changes of ours is passed before it is stored as
    passed, so a new attempt begins a little before; what was shown stays true, as all up to there was applied."""
    try:
        return source.parse_position(told.position) if told else None
    except InvalidRequest:
        return None


def _told(segment: Segment) -> str:
    """A line of a verbose log."""
    tables = (f"{name} +{c.inserts} ~{c.updates} -{c.deletes}" for name, c in segment.counts.items())
    return f"{segment.transactions} transactions up to {segment.position.text}: {', '.join(tables)}"
