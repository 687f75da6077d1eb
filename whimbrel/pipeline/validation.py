"""Comparing the rows of a migration's source and target: see docs/validation.md."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.connectors.protocols import Comparable, Comparison
from whimbrel.connectors.registry import engine
from whimbrel.errors import ConnectionRefused, Interrupted, ValidateFailed, WhimbrelError
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.normal import Columns, cheap, normal_form, ordered, strict
from whimbrel.model.progress import TableProgress
from whimbrel.model.table import Table
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.pair import open_pair
from whimbrel.pipeline.segments_diff import Descent, Point, Segment, Side
from whimbrel.pipeline.settling import (
    Key,
    Live,
    Rows,
    Settled,
    Settling,
    counts,
    key_batches,
    keys_of,
    replication,
    seen_rows,
)

SAMPLES: Final = 100  # reported a kind and table
PENDING: Final = 50_000  # differing keys a table that are looked up again one by one
PASSES: Final = 3  # over a table that differs in more keys than that while replication runs
TABLES_AT_ONCE: Final = 4
POLL_SECONDS: Final = 0.2
KINDS: Final = ("missing", "extra", "different")

T = TypeVar("T")


def validate_data(job: Job, control: Control, sample_percent: int) -> dict[str, Any]:
    """Compare every table and return the result of the REST contract. ``sample_percent`` 0 or 100 is all rows.

    A difference is a result; raised are ValidateFailed when a table cannot be compared, the leaves of
    ConnectionRefused, and retryable errors of a server that went away. Bounded memory.
    """
    sample = sample_percent if 1 <= sample_percent <= 99 else 100
    control.phase("validate")
    with _as_validate_failed(), open_pair(job) as pair:
        pair.require_target_tables()
        plans = [_plan(job, s, t) for s, t in pair.both]
        with closing(pair.target.checkpoint(job.migration)) as checkpoint:
            live = replication(pair.source, checkpoint)
            tables = _all_tables(job, control, plans, sample, live)
    return {"valid": all(t["status"] == "equal" for t in tables), "sample_percent": sample, "tables": tables}


@contextmanager
def _as_validate_failed() -> Iterator[None]:
    """What stops the comparison has one code; what a retry may heal, and what did not let us in, keeps its own."""
    try:
        yield
    except WhimbrelError as e:
        if e.retryable or isinstance(e, ConnectionRefused | ValidateFailed):
            raise
        raise ValidateFailed(e.message, remedy=e.how_to_fix, **e.extra) from e


# --- what is compared -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """One table on both sides. Columns stand in the same order; their forms are the same."""

    source: Table
    target: Table
    forms: tuple[str, ...]

    def columns(self, target: bool) -> Columns:
        table = self.target if target else self.source
        return tuple(zip((c.name for c in table.loaded_columns), self.forms, strict=True))

    def key(self, target: bool) -> Columns:
        at = [c.name for c in self.source.loaded_columns]
        columns = self.columns(target)
        return tuple(columns[at.index(name)] for name in self.source.key)

    @property
    def method(self) -> str:
        if not self.source.key:
            return "checksum by row hash"
        return "checksum by key range" if ordered(self.key(False)) else "checksum by key hash"


def _plan(job: Job, source: Table, target: Table) -> Plan:
    same = job.source.type == job.target.type
    pairs = zip(source.loaded_columns, target.loaded_columns, strict=True)
    try:
        forms = tuple(normal_form(s.type, t.type, same_engine=same) for s, t in pairs)
    except ValidateFailed as e:
        raise ValidateFailed(f"{source.name}: {e.message}", remedy=e.how_to_fix, table=str(source.name)) from e
    return Plan(source, target, forms)


@dataclass(frozen=True)
class BoundSide:
    """``segments_diff.Side`` over one connection: one table in given forms."""

    comparison: Comparison
    table: TableName
    columns: Columns
    key: Columns
    sample: int

    def checksums(self, low: Point, high: Point, cuts: Any) -> list[tuple[int, int]]:
        return self.comparison.checksums(self.table, self.columns, self.key, low, high, self.sample, cuts)

    def cuts(self, low: Point, high: Point, rows: int, parts: int) -> list[tuple[str, ...]]:
        return self.comparison.cuts(self.table, self.key, low, high, rows, parts)

    def hashes(self, low: Point, high: Point, limit: int) -> pa.RecordBatch:
        return self.comparison.hashes(self.table, self.columns, self.key, low, high, self.sample, limit)

    def count(self) -> int:
        return self.comparison.checksum(self.table, (), self.key, None, None, 100)[0]

    def look(self, keys: list[Key]) -> dict[Key, Rows]:
        lookup = self.comparison.lookup
        return seen_rows(keys, [lookup(self.table, self.columns, self.key, b) for b in key_batches(keys)])


# --- asking both sides ------------------------------------------------------------------------------------------------


@dataclass
class Lines:
    """A connection to each side, asked at the same time; whoever waits sees a cancel within ``POLL_SECONDS``."""

    source: Comparison
    target: Comparison
    check: Callable[[], None]
    threads: ThreadPoolExecutor

    def wait(self, *asked: Future[Any]) -> None:
        try:
            while wait(asked, POLL_SECONDS).not_done:
                self.check()
        except Interrupted:
            self.source.cancel()
            self.target.cancel()
            wait(asked)
            raise


@contextmanager
def _lines(job: Job, check: Callable[[], None]) -> Iterator[Lines]:
    with ExitStack() as stack:
        opened = []
        for endpoint in (job.source, job.target):
            connector = cast(Comparable, engine(endpoint.type))
            opened.append(stack.enter_context(closing(connector.open_comparison(endpoint, job.operation))))
        threads = stack.enter_context(ThreadPoolExecutor(2, thread_name_prefix="compare"))
        yield Lines(opened[0], opened[1], check, threads)


@dataclass(frozen=True)
class TableEnds:
    """``segments_diff.Ends`` of one table."""

    lines: Lines
    source: BoundSide
    target: BoundSide

    def both(self, ask: Callable[[Any], T]) -> tuple[T, T]:
        asked = [self.lines.threads.submit(ask, side) for side in (self.source, self.target)]
        self.lines.wait(*asked)
        return asked[0].result(), asked[1].result()

    def one(self, target: bool, ask: Callable[[Side], T]) -> T:
        asked = self.lines.threads.submit(ask, self.target if target else self.source)
        self.lines.wait(asked)
        return asked.result()


def _ends(lines: Lines, plan: Plan, sample: int, forms: Callable[[Columns], Columns]) -> TableEnds:
    return TableEnds(
        lines,
        BoundSide(lines.source, plan.source.name, forms(plan.columns(False)), plan.key(False), sample),
        BoundSide(lines.target, plan.target.name, forms(plan.columns(True)), plan.key(True), sample),
    )


# --- tables -----------------------------------------------------------------------------------------------------------


def _all_tables(job: Job, control: Control, plans: list[Plan], sample: int, live: Live | None) -> list[dict[str, Any]]:
    """Several tables at a time, largest first; the results in the order of the migration. One failure ends all."""
    failed = threading.Event()

    def check() -> None:
        control.check()
        if failed.is_set():
            raise Interrupted

    def one(plan: Plan) -> dict[str, Any]:
        try:
            check()
            with _lines(job, check) as lines:
                return _TableComparison(plan, lines, sample, live, control).result()
        except BaseException:
            failed.set()
            raise

    by_size = sorted(plans, key=lambda p: p.source.rows, reverse=True)
    with ThreadPoolExecutor(max(1, min(job.threads, TABLES_AT_ONCE)), thread_name_prefix="validate") as threads:
        futures = {id(plan): threads.submit(one, plan) for plan in by_size}
        wait(futures.values())
    control.check()
    errors = [e for f in futures.values() if (e := f.exception()) is not None]
    for error in sorted(errors, key=lambda e: isinstance(e, Interrupted)):
        raise error
    return [futures[id(plan)].result() for plan in plans]


@dataclass
class Found:
    """Counts by kind, and the first samples of each."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    samples: dict[str, list[Key]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def add(self, key: Key, rows: tuple[int, int, int]) -> None:
        for kind, n in zip(KINDS, rows, strict=True):
            self.counts[kind] += n
            if n and len(self.samples[kind]) < SAMPLES:
                self.samples[kind].append(key)

    def add_table(self, differences: pa.Table) -> None:
        """The same for a whole leaf, without touching each row."""
        for kind in KINDS:
            self.counts[kind] += pc.sum(differences[kind]).as_py() or 0
            wanted = SAMPLES - len(self.samples[kind])
            if wanted > 0:
                self.samples[kind] += keys_of(differences.filter(pc.greater(differences[kind], 0)).slice(0, wanted))

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass
class _TableComparison:
    plan: Plan
    lines: Lines
    sample: int
    live: Live | None
    control: Control

    def result(self) -> dict[str, Any]:
        """One table of the REST contract's result."""
        self._progress("comparing", 0)
        rows, checked, found, moving = self._compare()
        if self.live is not None and not moving:
            # Counted while rows were in flight: what was compared row by row is the better figure.
            rows = (rows[0], rows[0] - found.counts["missing"] + found.counts["extra"])
        unequal_counts = self.live is None and rows[0] != rows[1]
        status = "unsettled" if moving else "different" if found.total or unequal_counts else "equal"
        self._progress("done", checked)
        samples = [self._sample(kind, key) for kind in KINDS for key in found.samples[kind]]
        return {
            "table": str(self.plan.source.name),
            "source_rows": rows[0],
            "target_rows": rows[1],
            **found.counts,
            "checked_rows": checked,
            "method": self.plan.method,
            "status": status,
            "samples": samples,
        }

    def _compare(self) -> tuple[tuple[int, int], int, Found, int]:
        """(rows on both sides, rows checked, what differs, keys that never came to rest)."""
        ends = _ends(self.lines, self.plan, self.sample, cheap)
        whole = self._whole(ends)
        rows = (whole.source[0], whole.target[0]) if self.sample == 100 else ends.both(BoundSide.count)
        if not whole.equal and self._by_us_from_the_start:
            ends = _ends(self.lines, self.plan, self.sample, strict)
            whole = self._whole(ends)
        checked = whole.rows
        for last in range(PASSES):
            if whole.equal:
                return rows, checked, Found(), 0
            descent = Descent(ends, ordered(self.plan.key(False)))
            if not self._must_settle:
                return rows, checked, _collected(descent.differences(whole)), 0
            pending, complete = _pending(descent.differences(whole))
            if complete:
                found, moving = self._settled(pending)
                return rows, checked, found, moving
            if self.live is None or last == PASSES - 1:
                break
            self._let_pass()
            whole = self._whole(ends)
        ends = _ends(self.lines, self.plan, self.sample, strict)
        return rows, checked, _collected(Descent(ends, ordered(self.plan.key(False))).differences(self._whole(ends))), 0

    @property
    def _by_us_from_the_start(self) -> bool:
        """Whether the descent must hash in forms that we render: JSON, whose text differs in every row where it
        does in one; and every such form where rows can be told apart by their hash only."""
        columns = self.plan.columns(False)
        return strict(columns) != cheap(columns) and (not self.plan.source.key or cheap(columns) != tuple(columns))

    @property
    def _must_settle(self) -> bool:
        columns = self.plan.columns(False)
        return self.live is not None or (cheap(columns) != strict(columns) and not self._by_us_from_the_start)

    def _whole(self, ends: TableEnds) -> Segment:
        source, target = ends.both(lambda side: side.checksums(None, None, ())[0])
        return Segment(None, None, source, target)

    def _settling(self) -> Settling:
        ends = _ends(self.lines, self.plan, 100, strict)
        return Settling(
            lambda keys: ends.one(False, lambda _: ends.source.look(keys)),
            lambda keys: ends.one(True, lambda _: ends.target.look(keys)),
            self.lines.check,
            self.live,
        )

    def _settled(self, pending: list[Key]) -> tuple[Found, int]:
        settled: Settled = self._settling().settle(pending)
        found = Found()
        for key, (source, target) in settled.real.items():
            found.add(key, counts(source, target))
        if settled.moving:
            self.control.log(
                "loader",
                f"{self.plan.source.name}: {settled.moving} differing rows kept changing, or the target did not catch "
                "up with them in time; validate again when there is less to apply",
            )
        return found, settled.moving

    def _let_pass(self) -> None:
        """Give the target the time to commit what the source has now."""
        assert self.live is not None
        settling = self._settling()
        settling.wait(self.live.source_position(), settling.clock() + 120)

    def _sample(self, kind: str, key: Key) -> dict[str, Any]:
        if not self.plan.source.key:
            return {"kind": kind, "row_hash": f"{key[0]:015x}"}
        return {"kind": kind, "key": dict(zip(self.plan.source.key, key, strict=True))}

    def _progress(self, status: str, rows: int) -> None:
        total = max(self.plan.source.rows, rows)
        self.control.table(TableProgress(str(self.plan.source.name), status, total, rows_extracted=rows))


def _collected(differences: Iterator[pa.Table]) -> Found:
    found = Found()
    for leaf in differences:
        found.add_table(leaf)
    return found


def _pending(differences: Iterator[pa.Table]) -> tuple[list[Key], bool]:
    """The differing keys, and whether these are all: no more than PENDING are kept."""
    keys: list[Key] = []
    for leaf in differences:
        keys += keys_of(leaf)
        if len(keys) > PENDING:
            return [], False
    return list(dict.fromkeys(keys)), True
