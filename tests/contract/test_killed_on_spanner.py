"""Where a batch may be several commits: killed after any request, nothing is lost and nothing comes twice; what the
server refuses for its size comes in halves; a commit whose answer was lost is no second one.

A kill is made in the process: from the n-th request of a transaction on, counted behind its execution, nothing of the
worker reaches the server any more. A new worker then claims the migration and goes on. Limits are made small.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.contract.bench import MISSING, Bench, position, table
from tests.engines import side_of
from tests.servers.spanner import Spanner
from whimbrel.errors import LoaderFailed, TargetInterrupted, ValueRefused
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Segment, Truncate
from whimbrel.model.table import ForeignKey

MOST = 90  # requests of the longest story here
STEPS = [5, pytest.param(1, marks=pytest.mark.long)]
SMALL = 6  # mutations of a commit: two rows of three columns
_numbers = itertools.count(1)


class Killed(BaseException):
    """What a worker does not survive."""


class Reaper:
    def __init__(self, limit: int) -> None:
        self.left, self.dead = limit, False


@pytest.fixture(scope="module")
def stand(spanner: Spanner) -> Spanner:
    spanner.create_database("kills")
    spanner.define(["CREATE SCHEMA killed"], "kills")
    return spanner


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    from whimbrel.connectors.spanner import applier, loader
    from whimbrel.connectors.spanner.mutations import Limits

    for module in (applier, loader):
        monkeypatch.setattr(module, "Limits", lambda **_: Limits(SMALL, 10_000))


@contextmanager
def mortal(monkeypatch: pytest.MonkeyPatch, limit: int) -> Iterator[Reaper]:
    """All transactions of this process die with their n-th request within the block."""
    from whimbrel.connectors.spanner.connection import SpannerSession, Transaction

    reaper = Reaper(limit)

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def request(self: Transaction, *args: Any) -> Any:
            if reaper.dead:
                raise Killed
            done = real(self, *args)
            reaper.left -= 1
            if reaper.left <= 0:
                reaper.dead = True
                raise Killed
            return done

        return request

    with monkeypatch.context() as patch:
        for name in ("query", "values", "read", "run", "commit"):
            patch.setattr(Transaction, name, counted(getattr(Transaction, name)))
        patch.setattr(Transaction, "rollback", lambda self: None)
        patch.setattr(SpannerSession, "close", lambda self: self.channel.close())
        yield reaper


def a_bench(stand: Spanner, folder: Path, key: tuple[str, ...] = ("id",)) -> Bench:
    side = side_of(stand, "spanner", "kills", "killed")
    return Bench(side, [table("t", key=key), table("u", key=key)], folder, f"kills{next(_numbers)}")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("key", [("id",), ()])
def test_a_chunk_of_several_commits(
    stand: Spanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: None, key: tuple[str, ...], step: int
) -> None:
    rows = [(str(n), f"n{n}", None) for n in range(1, 10)]
    wanted = sorted(f"{n}|n{n}|NULL" for n in range(1, 10))
    b = a_bench(stand, tmp_path, key)
    with closing(b):
        for limit in range(1, MOST * step, step):
            b.ledger.clear(b.epoch, "op")
            chunk, file = b.plan()[0], b.staged(*rows)
            with mortal(monkeypatch, limit) as reaper, suppress(Killed), closing(b.target.open_loader(b.job)) as loader:
                b.load(chunk, file, loader=loader)
            b.epoch = b.ledger.claim()
            state = b.ledger.state().tables[b.name]
            assert state.started == bool(b.rows()), "what came in is told, or its table would not be emptied"
            assert b.load(chunk, file) == 9
            assert b.rows() == wanted, f"killed after request {limit}"
            b.loader.truncate(b.epoch, b.name, b.targets[0].name)
            assert b.rows() == []
            if not reaper.dead:
                break
        else:
            raise AssertionError("no attempt came through")
        b.drop_tables()
    assert limit > 9, "the sweep has seen every commit of a chunk"


def changes(b: Bench) -> list[Segment]:
    """Keys that swap with values left out, rows that come and go, and another table; more than one commit's."""
    moves = [("1", "9"), ("2", "1"), ("9", "2")]
    swap = [
        change
        for old, new in moves
        for change in ((UPDATE_BEFORE, (old, None, None)), (UPDATE, (new, MISSING, MISSING)))
    ]
    first = b.segment(
        *swap, (UPDATE, ("4", MISSING, "44")), (DELETE, ("3", None, None)), (INSERT, ("3", "again", None))
    )
    emptied = Segment(0, (Truncate((b.tables[1].name,)),), position(3), True, 1, 0, {}, 0)
    more = b.segment(*((INSERT, (str(n), "u", str(n))) for n in range(1, 6)), number=1, at=4)
    last = b.segment((UPDATE, ("1", MISSING, "5")), at=5)
    return [first, emptied, more, last]


WANTED = ["1|two|5", "2|one|1", "3|again|NULL", "4|four|44"]


def wider(segments: list[Segment]) -> list[Segment]:
    """All as one, as it comes where more was gathered meanwhile."""
    steps = tuple(step for segment in segments for step in segment.steps)
    return [Segment(0, steps, segments[-1].position, True, 1, 0, {}, 0)]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("first", "then"),
    [
        (False, False),
        pytest.param(True, False, marks=pytest.mark.long),
        pytest.param(False, True, marks=pytest.mark.long),
    ],
)
def test_changes_of_several_commits(
    stand: Spanner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small: None,
    first: bool,
    then: bool,
    step: int,
) -> None:
    """Whether the killed one and the next one get the batches one by one or as one."""
    b = a_bench(stand, tmp_path)
    b.at_source = {b"1": (b"1", b"two", b"5"), b"2": (b"2", b"one", b"1"), b"4": (b"4", b"four", b"44")}

    def followed(*, wide: bool) -> None:
        with closing(b.applier()) as applier:
            stored = b.ledger.position()
            left = [s for s in changes(b) if stored is None or stored.order < s.position.order]
            b.apply(applier, *(wider(left) if wide and left else left))

    with closing(b):
        for limit in range(1, MOST * step, step):
            for name in ("t", "u"):
                b.side.change(f"delete from {name}")
            b.put(("1", "one", "1"), ("2", "two", "2"), ("3", "three", None), ("4", "four", "4"))
            b.side.change("insert into u values (7, 'gone', 7)")
            b.ledger.clear(b.epoch, "op")
            with mortal(monkeypatch, limit) as reaper, suppress(Killed):
                followed(wide=first)
            b.epoch = b.ledger.claim()
            followed(wide=then)
            assert b.rows() == WANTED, f"killed after request {limit}"
            assert b.rows(1) == [f"{n}|u|{n}" for n in range(1, 6)], f"killed after request {limit}"
            assert b.ledger.position() == position(5)
            if not reaper.dead:
                break
        else:
            raise AssertionError("no attempt came through")
        b.drop_tables()
    assert limit > 12, "the sweep has seen every commit"


def refusing(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """The server takes no more rows than that in a commit; how many each had that it was asked for."""
    from google.cloud.spanner_v1.types import CommitRequest

    from whimbrel.connectors.spanner.connection import Transaction

    real, asked = Transaction.commit, []

    def commit(self: Transaction, mutations: Iterable[bytes]) -> None:
        body = b"".join(mutations)
        found = CommitRequest.pb(CommitRequest.deserialize(body)).mutations
        asked.append(sum(len(m.insert.values) + len(m.insert_or_update.values) + len(m.update.values) for m in found))
        if asked[-1] > most:
            raise LoaderFailed("Spanner takes no commit of this size", too_large=True)
        real(self, [body])

    monkeypatch.setattr(Transaction, "commit", commit)
    return asked


def test_what_is_refused_for_its_size_comes_in_halves(
    stand: Spanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = a_bench(stand, tmp_path)
    with closing(b), closing(b.applier()) as applier:
        asked = refusing(monkeypatch, 3)
        chunk = b.plan()[0]
        assert b.load(chunk, b.staged(*((str(n), f"n{n}", None) for n in range(1, 10)))) == 9
        assert b.rows() == sorted(f"{n}|n{n}|NULL" for n in range(1, 10))
        assert asked[-6:][0] > 3 or max(asked) == 9
        b.apply(applier, b.segment(*((UPDATE, (str(n), "new", "1")) for n in range(1, 10))))
        assert b.rows() == sorted(f"{n}|new|1" for n in range(1, 10))
        assert b.ledger.position() == position(2)
        monkeypatch.undo()
        b.drop_tables()


def test_a_row_that_fits_into_no_commit_is_told(
    stand: Spanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    b = a_bench(stand, tmp_path)
    with closing(b):
        chunk, file = b.plan()[0], b.staged(("1", "a", None))
        with monkeypatch.context() as patch:
            refusing(patch, 0)
            with pytest.raises(ValueRefused, match=r"killed\.t: Spanner takes no commit of a single row"):
                b.load(chunk, file)
        assert b.rows() == []
        b.drop_tables()


@pytest.mark.parametrize("several", [False, True])
def test_a_commit_whose_answer_was_lost_is_no_second_one(
    request: pytest.FixtureRequest, stand: Spanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    from whimbrel.connectors.spanner.connection import Transaction

    if several:
        request.getfixturevalue("small")
    b = a_bench(stand, tmp_path)
    real, commits = Transaction.commit, itertools.count()

    def commit(self: Transaction, mutations: Iterable[bytes]) -> None:
        real(self, list(mutations))
        if next(commits) % 2 == 0:
            self.unsure = True
            raise TargetInterrupted("the answer was lost", busy="UNAVAILABLE")

    with closing(b), closing(b.applier()) as applier:
        chunk, file = b.plan()[0], b.staged(*((str(n), f"n{n}", None) for n in range(1, 6)))
        with monkeypatch.context() as patch:
            patch.setattr(Transaction, "commit", commit)
            assert b.load(chunk, file) == 5
            b.apply(applier, b.segment((UPDATE, ("1", "new", "1")), (DELETE, ("2", None, None))))
        assert b.rows() == ["1|new|1", "3|n3|NULL", "4|n4|NULL", "5|n5|NULL"]
        assert b.ledger.state().tables[b.name].loaded == {0: 5}
        assert b.ledger.position() == position(2)
        b.drop_tables()


def test_rows_that_somebody_else_put_are_not_written_over_by_a_load(stand: Spanner, tmp_path: Path) -> None:
    b = a_bench(stand, tmp_path)
    with closing(b):
        b.put(("1", "theirs", None))
        with pytest.raises(ValueRefused, match=r"contract\.t|killed\.t"):
            b.load(b.plan()[0], b.staged(("2", "ours", None), ("1", "ours", None)))
        assert b.rows() == ["1|theirs|NULL"]
        b.drop_tables()


def test_a_large_table_is_emptied_by_commits_of_bounded_size(
    stand: Spanner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from whimbrel.connectors.spanner import mutations

    b = a_bench(stand, tmp_path)
    with closing(b), closing(b.applier()) as applier:
        for wanted in ("loader", "applier", "reset"):
            b.put(*((str(n), "x", None) for n in range(10)))
            b.side.change("insert into u values (1, 'other', 1)")
            with monkeypatch.context() as patch:
                patch.setattr(mutations, "_GONE_AT_ONCE", 3)
                if wanted == "loader":
                    b.loader.truncate(b.epoch, b.name, b.targets[0].name)
                elif wanted == "reset":
                    assert b.target.reset([b.targets[0].name], "truncate") == (1, 0)
                else:
                    b.apply(applier, Segment(0, (Truncate((b.name,)),), position(3), True, 1, 0, {}, 0))
                    assert b.ledger.position() == position(3)
            assert (b.rows(), b.rows(1)) == ([], ["1|other|1"]), wanted
            b.side.change("delete from u")
        b.drop_tables()


def test_a_table_is_emptied_though_others_of_the_migration_refer_to_it(stand: Spanner, tmp_path: Path) -> None:
    parent = table("t")
    child = replace(table("u"), foreign_keys=(ForeignKey("u_n", ("n",), parent.name, ("id",)),))
    b = Bench(side_of(stand, "spanner", "kills", "killed"), [parent, child], tmp_path, f"kills{next(_numbers)}")
    with closing(b):
        finisher = b.target.finisher
        assert finisher is not None
        finisher.keys(b.targets)
        b.put(("1", "a", None))
        b.side.change("insert into u values (2, 'b', 1)")
        with pytest.raises(ValueRefused, match="u_n"):
            b.loader.truncate(b.epoch, b.name, b.targets[0].name)
        b.ledger.own([t.name for t in b.targets])
        b.loader.truncate(b.epoch, b.name, b.targets[0].name)
        assert (b.rows(), b.rows(1)) == ([], ["2|b|1"])
        b.put(("1", "a", None))
        finisher.keys(b.targets)
        with pytest.raises(Exception, match="u_n"):
            b.side.change("insert into u values (3, 'b', 7)")
        b.drop_tables()


def test_a_key_that_is_not_the_sources_is_refused_before_rows_become_one(stand: Spanner, tmp_path: Path) -> None:
    from whimbrel.errors import SchemaMismatch

    b = a_bench(stand, tmp_path)
    with closing(b):
        b.drop_tables()
        stand.define(
            ["CREATE TABLE killed.t (id INT64 NOT NULL, note STRING(MAX) NOT NULL, n INT64) PRIMARY KEY (note)"],
            "kills",
        )
        with closing(b.applier()) as applier, pytest.raises(SchemaMismatch, match=r"killed\.t"):
            b.apply(applier, b.segment((INSERT, ("1", "same", "1")), (INSERT, ("2", "same", "2"))))
        with pytest.raises(SchemaMismatch, match=r"killed\.t"):
            b.load(b.plan()[0], b.staged(("1", "same", "1"), ("2", "same", "2")))
        assert b.rows() == []
        assert any("killed.t" in doubt for doubt in b.target.stricter(b.tables, b.targets))
        b.drop_tables()
