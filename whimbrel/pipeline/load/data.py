"""The data phase: plan, open the snapshot, copy chunk by chunk, build keys and indexes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from whimbrel.connectors.protocols import Claim, Ledger, Snapshot
from whimbrel.connectors.registry import engine
from whimbrel.errors import Interrupted, TargetFull, TargetInterrupted, WhimbrelError
from whimbrel.model.job import Job
from whimbrel.model.progress import TablePhase, TableProgress
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.load.budget import BUDGET, Share, cores
from whimbrel.pipeline.load.lane import Extracted, LaneSpec, Loaded, Take, Waiting
from whimbrel.pipeline.load.lanes import Event, Lanes
from whimbrel.pipeline.load.patience import patiently
from whimbrel.pipeline.load.plan import TableWork, plan_load, require_planned
from whimbrel.pipeline.load.staging import Staging
from whimbrel.pipeline.packet import write_packet
from whimbrel.pipeline.pair import Pair, open_pair, open_target, require_followed
from whimbrel.pipeline.retention import Expiry, Retention
from whimbrel.pipeline.scope import goes_on, joined
from whimbrel.pipeline.stalls import Stalls

TURN = 0.2  # seconds between two looks at whose turn it is
KEEPALIVE = 20.0  # seconds between signs of life on the snapshot's own connection
_PASSING = (TargetInterrupted, TargetFull)
FINISHING = 3.0  # seconds that chunks in hand may take to end after a cancel, which somebody waits for


@dataclass(frozen=True)
class DataResult:
    """What a data phase moved, in rows and staged bytes; ``seconds`` of the attempt that ended it."""

    tables: int
    rows: int
    bytes: int
    seconds: float


def copy_data(job: Job, control: Control, *, capture: bool, resume: bool) -> DataResult:
    """Copy all rows as of one moment, and with ``capture`` keep every change since then readable.

    Idempotent: tried again by the same operation, or with ``resume``, it goes on where the target says it stood. Raises
    Interrupted at a safe point when asked to stop, leaving what is loaded and recorded.
    """
    started = time.monotonic()
    if capture:
        require_followed(job)
    control.phase("snapshot")
    with (
        Stalls(job, control) as stalls,
        open_pair(job) as pair,
        closing(pair.target.ledger(job.migration)) as ledger,
    ):
        state = ledger.state()
        if goes_on(state, job, resume=resume):
            pair = joined(pair, state, control, capture=capture)
        pair.require_target_tables()
        if capture:
            pair.source.check_capture(pair.tables)
            pair.require_keys()
            if job.queue is not None:
                engine(job.queue.type).test(job.queue)  # it is fed afterwards; better to know now
        epoch = ledger.claim()
        work = plan_load(pair, control, ledger, epoch, capture=capture, resume=resume)
        ledger.own([t.name for t in pair.target_tables])  # now that nobody else's rows are in them
        load = _Load(pair, control, ledger, epoch, work, stalls, capture=capture)
        load.run()
        with closing(pair.target.ledger(job.migration)) as after:  # the target may have restarted meanwhile
            write_packet(job.workdir, job.migration, after.position(), data_complete=True)
        rows = sum(sum(w.loaded.values()) for w in work)
        return DataResult(len(work), rows, sum(load.bytes), time.monotonic() - started)


class _Load:
    """One attempt at a load."""

    def __init__(
        self,
        pair: Pair,
        control: Control,
        ledger: Ledger,
        epoch: int,
        work: list[TableWork],
        stalls: Stalls,
        *,
        capture: bool,
    ) -> None:
        self.pair, self.control, self.ledger, self.epoch, self.work = pair, control, ledger, epoch, work
        self.claim = Claim(pair.job.migration, epoch)
        self.stalls, self.capture = stalls, capture
        self.retention = Retention(pair.source, pair.job, control)
        self.expiry = Expiry(pair.source, control)
        self.staging = Staging(pair.job)
        self.extracted = {w.number: dict(w.loaded) for w in work}
        told = control.earlier().tables
        self.bytes = [t.bytes_extracted if (t := told.get(str(w.source.name))) else 0 for w in work]  # by table
        self.finishing: dict[int, Future[None]] = {}
        self.stopping = False
        self.waiting = False

    def run(self) -> None:
        self.control.all_tables([self.figures(table) for table in self.work])
        with ThreadPoolExecutor(max_workers=_builders(self.pair.job), thread_name_prefix="indexes") as builders:
            try:
                if any(w.waiting for w in self.work):
                    self.copy(builders)
                self.finish(builders)
            except BaseException:
                self.stopping = True
                self.end_builds()
                raise
            finally:
                self.staging.remove()

    def end_builds(self) -> None:
        """An index build in the server can take hours; nobody waits for it once this attempt is over."""
        if any(not f.done() for f in self.finishing.values()):
            with open_target(self.pair.job) as target:
                target.cleanup(self.pair.job)

    def copy(self, builders: ThreadPoolExecutor) -> None:
        queue = self.takes()
        earlier = self.ledger.state().snapshots
        routes = self.pair.routes()
        self.staging.open()
        tables = tuple((w.source, w.target, routes[w.source.name]) for w in self.work)
        with (
            BUDGET.share(min(self.pair.job.threads, len(queue), cores())) as share,
            Lanes(LaneSpec(self.pair.job, self.epoch, tables), self.begin(share)) as lanes,
        ):
            lanes.started(self.control.check)
            with closing(
                self.pair.source.open_snapshot(self.pair.job, self.pair.tables, capture=self.capture, lanes=share.size)
            ) as snapshot:
                # Nothing is written to the target until the source has thawed: they may be one server.
                lanes.join(snapshot.token, self.control.check, snapshot.lane_opened)
                snapshot.release()
                require_planned(self.pair, self.work)
                self.ledger.snapshot_opened(self.epoch, snapshot.position, keep_older=earlier > 0)
                write_packet(
                    self.pair.job.workdir, self.pair.job.migration, self.ledger.position(), data_complete=False
                )
                self.control.log("extractor", f"snapshot open at {snapshot.position.text}, {share.size} lanes")
                self.control.phase("data")
                self.finish_loaded(builders)
                self.dispatch(lanes, share, queue, snapshot, builders)

    def takes(self) -> deque[Take]:
        """All chunks left: tables that a second snapshot could not complete first, then the largest."""
        order = sorted(self.work, key=lambda w: (w.replayable, -w.source.bytes))
        return deque(Take(w.number, c, w.upsert) for w in order for c in w.waiting)

    def begin(self, share: Share) -> int:
        """How many lanes to start, once this worker's budget has any for this load. No snapshot is open meanwhile."""
        waits = False
        while not (count := BUDGET.begin(share, wants=not (waits and self.control.pause_wanted()))):
            self.control.check()
            self.control.at_rest(self.control.pause_wanted())
            if not waits:
                waits = True
                self.control.phase("waiting")
                self.tell_waiting(share)
            self.stalls.check()
            time.sleep(TURN)
        if waits:
            self.control.at_rest(False)
            self.control.phase("snapshot")
        return count

    def tell_waiting(self, share: Share) -> None:
        self.control.log(
            "orchestrator",
            f"waits for a lane: the {BUDGET.total} of this worker (WHIMBREL_WORKER_LANES) are at work for other loads, "
            f"{BUDGET.others(share)} at the moment",
        )

    def dispatch(
        self, lanes: Lanes, share: Share, queue: deque[Take], snapshot: Snapshot, builders: ThreadPoolExecutor
    ) -> None:
        alive = time.monotonic()
        self.stalls.sign()
        while queue or lanes.in_hand:
            try:
                self.control.check()
            except Interrupted:
                self.drain(lanes, builders)
                raise
            resting = self.control.pause_wanted()
            most = BUDGET.settle(share, wants=bool(queue) and not resting, working=lanes.working)
            if not resting:
                self.control.at_rest(False)
                self.turn(share, waits=bool(queue) and not most and not lanes.in_hand)
                lanes.take(lambda: queue.popleft() if queue else None, most)
            elif not lanes.in_hand:
                self.control.at_rest(True)
                self.stalls.sign()
            for event in lanes.events(0.2):
                self.record(event, builders)
            self.raise_finished()
            self.look()
            if time.monotonic() - alive > KEEPALIVE:
                snapshot.keepalive()
                alive = time.monotonic()

    def turn(self, share: Share, *, waits: bool) -> None:
        """Say so when a load, after a pause, has to wait until others have a lane to spare; and when it goes on."""
        if waits:
            self.stalls.sign()
        if waits is not self.waiting:
            self.waiting = waits
            self.control.phase("waiting" if waits else "data")
            if waits:
                self.tell_waiting(share)

    def drain(self, lanes: Lanes, builders: ThreadPoolExecutor) -> None:
        """After a cancel: let the chunks in hand end, so that their work is not lost."""
        deadline = time.monotonic() + FINISHING
        while lanes.in_hand and time.monotonic() < deadline:
            for event in lanes.events(0.2):
                self.record(event, builders)

    def record(self, event: Event, builders: ThreadPoolExecutor) -> None:
        self.stalls.sign()
        if isinstance(event, Waiting):
            self.waits(event.role, event.message, event.error)
            return
        table = self.work[event.table]
        if self.pair.job.verbose:
            self.control.log(*_told(table, event))
        if isinstance(event, Extracted):
            self.extracted[table.number][event.chunk.number] = event.rows
            self.bytes[table.number] += event.bytes
        elif isinstance(event, Loaded):
            table.loaded[event.chunk.number] = event.rows
            self.finish_when_loaded(table, builders)
        self.report(table)

    def finish_loaded(self, builders: ThreadPoolExecutor) -> None:
        """What an earlier attempt loaded. Never before the snapshot: on one server a build would hold up its lock."""
        for table in self.work:
            self.finish_when_loaded(table, builders)

    def finish_when_loaded(self, table: TableWork, builders: ThreadPoolExecutor) -> None:
        if not table.waiting and not table.finished and table.number not in self.finishing:
            self.finishing[table.number] = builders.submit(self.finish_table, table)

    def finish_table(self, table: TableWork) -> None:
        """Keys, indexes and statistics of one table, beside the copying of others."""
        if self.stopping:
            return
        self.control.log("loader", f"{table.source.name}: {sum(table.loaded.values())} rows, building indexes")
        patiently(lambda: self.build(table), _PASSING, partial(self.waits, "loader"), lambda: self.stopping)

    def waits(self, role: str, line: str, error: WhimbrelError) -> None:
        """Tell what is waited for: in the log, and as the error of the running operation."""
        self.stalls.sign()
        self.control.log(role, line)
        self.control.waits_for(error)

    def build(self, table: TableWork) -> None:
        with open_target(self.pair.job) as target, closing(target.ledger(self.pair.job.migration)) as ledger:
            if target.finisher is not None:
                target.finisher.indexes(table.source, table.target, lambda: self.stopping, self.claim)
            self.stalls.sign()
            if not self.stopping:
                ledger.table_finished(self.epoch, table.source.name)
                table.finished = True
                self.report(table)

    def raise_finished(self) -> None:
        """Surface an index build that failed, as soon as it is known."""
        for future in self.finishing.values():
            if future.done():
                future.result()

    def finish(self, builders: ThreadPoolExecutor) -> None:
        """Wait for the last indexes, then what needs all tables: foreign keys and sequences."""
        self.control.phase("indexes")
        self.stalls.sign()
        self.finish_loaded(builders)
        self.wait_for(self.finishing.values())
        self.wait_for([builders.submit(self.finish_all)])

    def finish_all(self) -> None:
        pair = self.pair
        with open_target(pair.job) as target, closing(target.ledger(pair.job.migration)) as ledger:
            if target.finisher is not None:
                if self.capture and ledger.state().snapshots > 1:
                    self.control.log("loader", "foreign keys follow once changes since the first snapshot are applied")
                else:
                    target.finisher.keys(pair.target_tables, self.claim)
                target.finisher.sequences(pair.tables, pair.target_tables)
            self.require_recorded(ledger)
            ledger.data_complete(self.epoch)

    def require_recorded(self, ledger: Ledger) -> None:
        """A target that may lose its newest commits in a crash (MySQL with innodb_flush_log_at_trx_commit = 0 or 2)
        takes back chunks that it has confirmed, together with their records."""
        recorded = ledger.state().tables
        kept = {name: len(load.loaded) for name, load in recorded.items()}
        lost = [str(w.source.name) for w in self.work if kept.get(w.source.name, 0) < len(w.chunks)]
        if lost:
            raise TargetInterrupted(
                f"the target has lost rows that it had committed, of {', '.join(lost[:20])}; they are read again",
                tables=lost[:100],
            )

    def wait_for(self, futures: Iterable[Future[None]]) -> None:
        waiting = list(futures)
        while waiting:
            self.control.check()
            self.look()
            waiting = [f for f in waiting if not _done(f, 0.2)]

    def look(self) -> None:
        """Whether the servers still answer; and the source keeps its log for the changes that follow, however long the
        load takes."""
        self.stalls.check()
        if self.capture:
            self.retention.look()
            self.expiry.look(self.ledger.position)

    def report(self, table: TableWork) -> None:
        self.control.table(self.figures(table))

    def figures(self, table: TableWork) -> TableProgress:
        extracted = self.extracted[table.number]
        counted = len(extracted) == len(table.chunks)
        known = sum(extracted.values())
        loaded = not table.waiting
        # The source's own estimate, unless what is read already says that there is more.
        estimate = max(table.source.rows, known * len(table.chunks) // max(1, len(extracted)))
        phase = TablePhase.DONE if table.finished else TablePhase.INDEXING if loaded else TablePhase.COPYING
        return TableProgress(
            table=str(table.source.name),
            status=(TablePhase.WAITING if not extracted else phase).value,
            rows_total=known if counted else estimate,
            rows_extracted=known,
            rows_loaded=sum(table.loaded.values()),
            bytes_extracted=self.bytes[table.number],
            files_done=len(table.loaded),
            files_total=len(table.chunks),
        )


def _told(table: TableWork, event: Extracted | Loaded) -> tuple[str, str]:
    """Role and line of a verbose log."""
    file = f"{table.source.name}: file {event.chunk.number + 1} of {len(table.chunks)}"
    if isinstance(event, Extracted):
        return "extractor", f"{file} extracted, {event.rows} rows, {event.bytes} bytes"
    return "loader", f"{file} loaded, {event.rows} rows"


def _done(future: Future[None], seconds: float) -> bool:
    try:
        future.result(seconds)
    except TimeoutError:
        if future.done():
            raise
        return False
    return True


def _builders(job: Job) -> int:
    """Index builds at once: they work in the target, and take no lane."""
    return max(1, min(job.threads, cores()))
