"""One table on both sides, and the connections that it is compared over: see docs/validation.md."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pyarrow as pa

from whimbrel.connectors.protocols import Comparison, Scope
from whimbrel.connectors.registry import engine
from whimbrel.errors import ConnectionRefused, ValidateFailed, WhimbrelError
from whimbrel.model.job import Endpoint, Job, Role
from whimbrel.model.names import TableName
from whimbrel.model.normal import Columns, normal_form, ordered, without_floats
from whimbrel.model.table import ColumnType, Table
from whimbrel.pipeline.pair import Pair, open_target
from whimbrel.pipeline.validation.segments import Point, Side
from whimbrel.pipeline.validation.settling import Key, Rows, key_batches, seen_rows

POLL_SECONDS: Final = 0.2
CANCEL_SECONDS: Final = 60.0  # for both sides to end what they were asked, once it is not wanted any more
_AGAIN_SECONDS: Final = 1.0  # a cancel that comes between two statements ends neither
_log = logging.getLogger(__name__)

T = TypeVar("T")


# --- what is compared -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """One table on both sides. Columns stand in the same order; their forms are the same.

    ``computed`` are those that each side makes by itself: the source's name, the target's, and the form.
    """

    source: Table
    target: Table
    forms: tuple[str, ...]
    computed: tuple[tuple[str, str, str], ...] = ()

    def columns(self, target: bool) -> Columns:
        table = self.target if target else self.source
        made = ((names[1 if target else 0], names[2]) for names in self.computed)
        return (*zip((c.name for c in table.loaded_columns), self.forms, strict=True), *made)

    def key(self, target: bool) -> Columns:
        at = [c.name for c in self.source.loaded_columns]
        columns = self.columns(target)
        return tuple(columns[at.index(name)] for name in self.source.key)

    @property
    def method(self) -> str:
        if not self.source.key:
            return "checksum by row hash"
        return "checksum by key range" if ordered(self.key(False)) else "checksum by key hash"


def plans_of(pair: Pair, wanted: Collection[str] | None = None) -> list[Plan]:
    """What is compared of each table, or of the source tables of the ``wanted`` names. Raises ValidateFailed."""
    both = [(s, t) for s, t in pair.both if wanted is None or str(s.name) in wanted]
    there = _types_there(pair.job, [t.name for _, t in both])
    return [_plan(pair.job, s, t, there.get(t.name, {})) for s, t in both]


def column_forms(pair: Pair, name: TableName) -> list[tuple[str, str, str]]:
    """Source's name, target's name and form of each column of a table that can be compared."""
    source, target = next((s, t) for s, t in pair.both if s.name == name)
    there = _types_there(pair.job, [target.name]).get(target.name, {})
    engines = _Engines.of(pair.job)
    found = []
    for s, t in zip(source.loaded_columns, target.loaded_columns, strict=True):
        with suppress(ValidateFailed):
            found.append((s.name, t.name, _form(s.type, t.type, there.get(t.name, t.type), engines)))
    return found


def _types_there(job: Job, names: Sequence[TableName]) -> dict[TableName, dict[str, ColumnType]]:
    """The target's column types as they are: a table made by hand may have others than we would make."""
    with open_target(job) as target:
        try:
            found = target.reflect(names)
        except WhimbrelError as e:
            if e.retryable or isinstance(e, ConnectionRefused):
                raise
            return {}  # ours are as good; what is wrong with the table shows when it is read
    return {table.name: {c.name: c.type for c in table.columns} for table in found}


def _plan(job: Job, source: Table, target: Table, there: Mapping[str, ColumnType]) -> Plan:
    pairs = zip(source.loaded_columns, target.loaded_columns, strict=True)
    engines = _Engines.of(job)
    try:
        forms = tuple(_form(s.type, t.type, there.get(t.name, t.type), engines) for s, t in pairs)
    except ValidateFailed as e:
        raise ValidateFailed(f"{source.name}: {e.message}", remedy=e.how_to_fix, table=str(source.name)) from e
    return Plan(source, target, forms, tuple(_computed(source, target, there, engines)))


def _computed(
    source: Table, target: Table, there: Mapping[str, ColumnType], engines: _Engines
) -> Iterator[tuple[str, str, str]]:
    """Those that the target has too, and that have a form: nothing was copied into the others that could be lost."""
    for s, t in zip(source.columns, target.columns, strict=True):
        if s.generated is not None and t.name in there:
            with suppress(ValidateFailed):
                yield s.name, t.name, _form(s.type, t.type, there[t.name], engines)


def _form(source: ColumnType, made: ColumnType, there: ColumnType, engines: _Engines) -> str:
    try:
        form = normal_form(source, there, same_engine=engines.same)
    except ValidateFailed:
        form = normal_form(source, made, same_engine=engines.same)
    return form if engines.print_floats else without_floats(form)


@dataclass(frozen=True)
class _Engines:
    """What the forms of a pair depend on beside the columns' types."""

    same: bool
    print_floats: bool

    @classmethod
    def of(cls, job: Job) -> _Engines:
        types = (job.source.type, job.target.type)
        return cls(types[0] == types[1], all(engine(type).capabilities.prints_floats for type in types))


@dataclass(frozen=True)
class BoundSide:
    """``segments.Side`` over one connection: one table in given forms."""

    comparison: Comparison
    scope: Scope

    def checksums(self, low: Point, high: Point, cuts: Any) -> list[tuple[int, int]]:
        return self.comparison.checksums(self.scope.between(low, high), cuts)

    def cuts(self, low: Point, high: Point, rows: int, parts: int) -> list[tuple[str, ...]]:
        return self.comparison.cuts(self.scope.between(low, high), rows, parts)

    def hashes(self, low: Point, high: Point, limit: int) -> pa.RecordBatch:
        return self.comparison.hashes(self.scope.between(low, high), limit)

    def count(self) -> int:
        return self.comparison.checksums(Scope(self.scope.table, (), ()))[0][0]

    def images(self, table: Table, keys: list[Key], parts: Mapping[int, int]) -> pa.Table:
        """The rows with exactly these keys, as ``Comparison.images`` gives them; ``parts`` are those of both sides."""
        if self.hashed_by_us:
            known = [key[0] for key in keys if key[0] in parts]
            columns = [known, [parts[int(hash)] for hash in known]]
            asked = [pa.RecordBatch.from_arrays([pa.array(c, pa.int64()) for c in columns], ["hash", "part"])]
        else:
            asked = key_batches(keys)
        batches = [self.comparison.images(self.scope, table.loaded_columns, b) for b in asked]
        rows, wanted = pa.Table.from_batches(batches), set(keys)
        return rows.filter(pa.array([key in wanted for key in row_keys(rows, len(self.scope.key))], pa.bool_()))

    def strangers(self, keys: list[Key]) -> bool:
        """Whether there are rows with other keys than these that equal one of them in the column's collation."""
        known = set(keys)
        batches = [self.comparison.lookup(self.scope, b) for b in key_batches(keys)]
        return any(key not in known for key in row_keys(pa.Table.from_batches(batches), len(self.scope.key)))

    @property
    def hashed_by_us(self) -> bool:
        """Whether rows have no key, and hashes that the database cannot work out alone."""
        return not self.scope.key and bool(self.scope.by_us)

    def parts(self, keys: list[Key]) -> dict[int, int]:
        """Of rows that are ``hashed_by_us``: by hash, what the database alone makes of those that are there."""
        found: dict[int, int] = {}
        for batch in key_batches(keys) if self.hashed_by_us else ():
            rows = self.comparison.lookup(self.scope, batch)
            found.update(zip(rows["hash"].to_pylist(), rows["part"].to_pylist(), strict=True))
        return found

    def look(self, keys: list[Key]) -> dict[Key, Rows]:
        lookup = self.comparison.lookup
        return seen_rows(keys, [lookup(self.scope, b) for b in key_batches(keys)])


def row_keys(rows: pa.Table, width: int) -> list[Key]:
    """The key of each row of ``BoundSide.images``: ``width`` texts, or the row's hash if there is no key."""
    names = [f"k{n}" for n in range(width)] or ["hash"]
    return list(zip(*(rows[name].to_pylist() for name in names), strict=True))


# --- asking both sides ------------------------------------------------------------------------------------------------


@dataclass
class Lines:
    """A connection to each side, asked at the same time; whoever waits sees a cancel within ``POLL_SECONDS``, and
    leaves within ``CANCEL_SECONDS`` of it."""

    source: Comparison
    target: Comparison
    check: Callable[[], None]
    sign: Callable[[], None]  # called with each answer
    threads: ThreadPoolExecutor

    silent: bool = False  # a side did not end what it was asked; whoever waits for it is left behind

    def wait(self, *asked: Future[Any]) -> None:
        """Until all have their answer. What ``check`` raises ends them on both sides first, whatever these do."""
        try:
            while wait(asked, POLL_SECONDS).not_done:
                self.check()
            self.sign()
        except Exception:
            self._end(asked)
            raise

    def _end(self, asked: Sequence[Future[Any]]) -> None:
        until = time.monotonic() + CANCEL_SECONDS
        for side in (self.source, self.target):  # each by itself: one that hangs keeps nobody from the other
            threading.Thread(target=_cancel, args=(side, asked, until), name="cancel", daemon=True).start()
        self.silent = bool(wait(asked, CANCEL_SECONDS).not_done)
        if self.silent:
            _log.warning("a database did not end a comparison within %g s of a cancel", CANCEL_SECONDS)


def _cancel(side: Comparison, asked: Sequence[Future[Any]], until: float) -> None:
    """Again and again, as a cancel may fail, and those who ask may be between two statements."""
    while time.monotonic() < until:
        try:
            side.cancel()
        except WhimbrelError as e:
            _log.warning("a comparison could not be cancelled: %s", e.message)
        except Exception as e:  # of a driver whose session is being closed meanwhile
            _log.warning("a comparison could not be cancelled: %s", type(e).__name__)
        if not wait(asked, _AGAIN_SECONDS).not_done:
            return


@contextmanager
def open_lines(job: Job, check: Callable[[], None], sign: Callable[[], None]) -> Iterator[Lines]:
    with ExitStack() as stack:
        opened = []
        sides: tuple[tuple[Endpoint, Role], ...] = ((job.source, "source"), (job.target, "target"))
        for endpoint, role in sides:
            comparison = engine(endpoint.type).open_comparison(endpoint, job.operation, role)
            opened.append(stack.enter_context(closing(comparison)))
        lines = Lines(opened[0], opened[1], check, sign, ThreadPoolExecutor(2, thread_name_prefix="compare"))
        stack.callback(lambda: lines.threads.shutdown(wait=not lines.silent, cancel_futures=True))
        yield lines


@dataclass(frozen=True)
class TableEnds:
    """``segments.Ends`` of one table."""

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


def ends_of(lines: Lines, plan: Plan, sample: int, forms: Callable[[Columns], Columns]) -> TableEnds:
    return TableEnds(
        lines,
        BoundSide(lines.source, Scope(plan.source.name, forms(plan.columns(False)), plan.key(False), sample=sample)),
        BoundSide(lines.target, Scope(plan.target.name, forms(plan.columns(True)), plan.key(True), sample=sample)),
    )
