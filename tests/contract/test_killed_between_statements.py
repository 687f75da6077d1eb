"""Where a statement is a transaction: killed after any one of them, nothing is lost and nothing comes twice.

A kill is made in the process: from the n-th statement on, counted behind its execution, nothing of the worker reaches
the target any more, not even what it would tidy up. A new worker then claims the migration and goes on, as a worker
does. Swept over n until one comes through: over some of them, and over all by ``make test-long``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.contract.bench import MISSING, Bench, position, table
from tests.engines import side_of
from tests.servers.databricks import Databricks
from whimbrel.connectors.staged import StagedFile
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Segment, Truncate
from whimbrel.model.chunk import Chunk

MOST = 60  # statements of the longest story here
STEPS = [4, pytest.param(1, marks=pytest.mark.long)]


class Killed(BaseException):
    """What a worker does not survive."""


class Reaper:
    """Counts statements behind their execution; from ``limit`` on all that try are dead."""

    def __init__(self, limit: int) -> None:
        self.left, self.dead = limit, False

    def execute(self, cursor: Any, *args: Any, **named: Any) -> Any:
        if self.dead:
            raise Killed
        done = cursor.execute(*args, **named)
        self.left -= 1
        if self.left <= 0:
            self.dead = True
            raise Killed
        return done


class Cursor:
    def __init__(self, cursor: Any, reaper: Reaper) -> None:
        self._cursor, self._reaper = cursor, reaper

    def execute(self, *args: Any, **named: Any) -> Any:
        return self._reaper.execute(self._cursor, *args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    from whimbrel.connectors.databricks.connection import DatabricksSession

    real = DatabricksSession._at_work

    @contextmanager
    def until(limit: int) -> Iterator[Reaper]:
        """All sessions of this process die with their n-th statement within the block."""
        reaper = Reaper(limit)

        @contextmanager
        def counted(session: DatabricksSession) -> Iterator[Any]:
            with real(session) as cursor:
                yield Cursor(cursor, reaper)

        with monkeypatch.context() as patch:
            patch.setattr(DatabricksSession, "_at_work", counted)
            yield reaper

    return until


@pytest.fixture(scope="module")
def stand(databricks: Databricks) -> Databricks:
    databricks.create_database("kills")
    return databricks


_numbers = itertools.count(1)


def a_bench(stand: Databricks, folder: Path, key: tuple[str, ...] = ("id",)) -> Bench:
    side = side_of(stand, "databricks", "kills", "killed")
    return Bench(side, [table("t", key=key), table("u", key=key)], folder, f"kills{next(_numbers)}")


def swept(mortal: Callable[[int], Any], step: int, story: Callable[[int], None]) -> int:
    """Tell the story with a death after the n-th statement, for n in steps until one lives; how many that took."""
    for attempt in range(MOST):
        with mortal(1 + attempt * step) as reaper, suppress(Killed):
            story(attempt)
        if not reaper.dead:
            return attempt + 1
    raise AssertionError("no attempt came through")


def loaded(b: Bench, chunk: Chunk, file: StagedFile, *, upsert: bool) -> None:
    with closing(b.target.open_loader(b.job)) as loader:
        b.load(chunk, file, upsert=upsert, loader=loader)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("key", "upsert"), [((), False), (("id",), False), (("id",), True)])
def test_rows_are_loaded_once(
    stand: Databricks, mortal: Callable[[int], Any], tmp_path: Path, key: tuple[str, ...], upsert: bool, step: int
) -> None:
    """Without a key, where nothing but the record and the file's name stops a second load; and by key, over others."""
    b = a_bench(stand, tmp_path, key)
    plan = b.plan(MOST)

    def story(number: int) -> None:
        file = b.staged((str(number), "a", None), (str(-number - 1), None, "7"), name=f"rows{number}")
        loaded(b, plan[number], file, upsert=upsert)

    with closing(b):
        attempts = swept(mortal, step, story)
        assert attempts * step > 8, "the sweep has seen every statement of a load"
        for number in range(attempts):  # the next worker
            b.epoch = b.ledger.claim()
            changed = b.staged((str(number), "a", None), (str(-number - 1), None, "7"), name=f"again{number}")
            loaded(b, plan[number], changed, upsert=upsert)
        assert b.rows() == sorted(row for n in range(attempts) for row in (f"{n}|a|NULL", f"{-n - 1}|NULL|7"))
        assert b.ledger.state().tables[b.name].loaded == dict.fromkeys(range(attempts), 2)
        b.target.cleanup(b.job)
        b.drop_tables()
    assert not [f for f in stand.staged() if f.startswith(f"kills/whimbrel/files/{b.job.operation}/")]


def changes(b: Bench) -> list[Segment]:
    """Two batches: keys that swap with values left out, a table that is emptied, deletes and what comes again."""
    first = b.segment(
        (UPDATE_BEFORE, ("1", None, None)),
        (UPDATE, ("9", MISSING, "1")),
        (UPDATE_BEFORE, ("2", None, None)),
        (UPDATE, ("1", MISSING, "2")),
        (UPDATE_BEFORE, ("9", None, None)),
        (UPDATE, ("2", MISSING, "1")),
        (DELETE, ("3", None, None)),
        (UPDATE, ("4", MISSING, "44")),
    )
    other = b.segment((INSERT, ("1", "u", "1")), (INSERT, ("2", "u", "2")), number=1)
    emptied = Segment(0, (Truncate((b.tables[1].name,)), *other.steps), position(2), True, 1, 0, {}, 0)
    both = (*first.steps, *emptied.steps)
    second = b.segment((UPDATE, ("1", MISSING, "5")), (INSERT, ("3", "again", None)), (DELETE, ("5", None, None)), at=3)
    return [Segment(0, both, position(2), True, 1, 0, {}, 0), second]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("first", "then"), [(False, False), (False, True), (True, False)])
def test_changes_end_as_the_source_has_them(
    stand: Databricks, mortal: Callable[[int], Any], tmp_path: Path, first: bool, then: bool, step: int
) -> None:
    """``first``, ``then``: whether the killed one and the next one get both batches as one."""
    b = a_bench(stand, tmp_path)
    b.at_source = {b"1": (b"1", b"two", b"5"), b"2": (b"2", b"one", b"1")}  # which has gone on meanwhile

    def followed(b: Bench, *, wide: bool) -> None:
        with closing(b.applier()) as applier:
            stored = b.ledger.position()
            left = [s for s in changes(b) if stored is None or stored.order < s.position.order]
            b.apply(applier, *(wider(left) if wide and left else left))

    with closing(b):
        for limit in range(1, MOST * step, step):
            prepared(b)
            with mortal(limit) as reaper, suppress(Killed):
                followed(b, wide=first)
            b.epoch = b.ledger.claim()
            followed(b, wide=then)
            assert b.rows() == ["1|two|5", "2|one|1", "3|again|NULL", "4|four|44"], f"killed after statement {limit}"
            assert b.rows(1) == ["1|u|1", "2|u|2"], f"killed after statement {limit}"
            assert b.ledger.position() == position(3)
            if not reaper.dead:
                break
        else:
            raise AssertionError("no attempt came through")
        b.target.cleanup(b.job)
        b.drop_tables()
    assert limit > 12, "the sweep has seen every statement of two batches"
    assert not [f for f in stand.staged() if f.startswith(f"kills/whimbrel/files/{b.job.operation}/")]


def wider(segments: list[Segment]) -> list[Segment]:
    """All as one, as it comes where more was gathered meanwhile."""
    steps = tuple(step for segment in segments for step in segment.steps)
    return [Segment(0, steps, segments[-1].position, True, 1, 0, {}, 0)]


def prepared(b: Bench) -> None:
    for name in ("t", "u"):
        b.side.change(f"delete from {name}")
    b.put(("1", "one", "1"), ("2", "two", "2"), ("3", "three", None), ("4", "four", "4"))
    b.side.change("insert into u values (7, 'gone', 7)")
    b.ledger.clear(b.epoch, "op")
