"""A warehouse ends our transaction between any two statements, and says so with the next one or takes it as if nothing
had been."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import running_end
from tests.contract.bench import Bench, position, table
from tests.engines import side_of
from tests.servers.fleet import Fleet
from tests.servers.snowflake import Snowflake
from whimbrel.connectors.snowflake.connection import SnowflakeSession
from whimbrel.connectors.sql.target import SqlTarget
from whimbrel.errors import TargetInterrupted
from whimbrel.model.change import DELETE, INSERT

LOADED = ["1|a|NULL", "2|b|7", "2|b|7"]
CHANGED = ["2|b|7", "3|c|9"]


class Ending:
    """Ends what is open on the server before the statement with this number; without one it counts."""

    def __init__(self, bench: Bench) -> None:
        assert isinstance(bench.target, SqlTarget)
        self._target, self._job = bench.target, bench.job
        self._own = bench.target.connect()
        self.statements = 0
        self.at: int | None = None

    def spying(self, real: Callable[[SnowflakeSession, str], Any]) -> Callable[[SnowflakeSession, str], Any]:
        def statement(session: SnowflakeSession, sql: str) -> Any:
            self._before(session)
            return real(session, sql)

        return statement

    def _before(self, session: SnowflakeSession) -> None:
        if session.in_transaction:
            if self.statements == self.at:
                self._target.end_sessions(self._own, self._job)
            self.statements += 1


@pytest.fixture(params=["silent", pytest.param("told", marks=pytest.mark.long)])
def bench(request: pytest.FixtureRequest, fleet: Fleet, tmp_path: Path) -> Iterator[Bench]:
    server = running_end(fleet, "snowflake")
    assert isinstance(server, Snowflake)
    side = side_of(server, "snowflake", "aborted", "ends")
    side.drop_leftovers()
    silent = server.folder / "silent"
    if request.param == "silent":
        silent.touch()
    with closing(Bench(side, [table("t", key=())], tmp_path, "aborted")) as made:
        yield made
    silent.unlink(missing_ok=True)


@pytest.fixture
def ending(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Ending:
    found = Ending(bench)
    for name in ("_run", "query"):
        monkeypatch.setattr(SnowflakeSession, name, found.spying(getattr(SnowflakeSession, name)))
    return found


def at_every_statement(ending: Ending, ready: Callable[[], None], work: Callable[[], None]) -> int:
    """``work`` once without harm, then with an end before each of its statements, and again where it was refused; how
    often that was. ``work`` is the same when it was done already."""
    ready()
    ending.statements, ending.at = 0, None
    work()
    moments, refused = ending.statements, 0
    for moment in range(moments):
        ending.at = None
        ready()
        ending.statements, ending.at = 0, moment
        try:
            work()
        except TargetInterrupted:
            refused += 1
            ending.at = None
            work()
    return refused


def test_a_chunk_is_neither_lost_nor_loaded_twice(bench: Bench, ending: Ending) -> None:
    file = bench.staged(("1", "a", None), ("2", "b", "7"), ("2", "b", "7"))

    def ready() -> None:
        bench.side.change("delete from t")
        bench.plan()

    def load() -> None:
        (chunk,) = bench.ledger.state().tables[bench.name].chunks
        assert bench.load(chunk, file, loader=bench.another_loader()) == 3
        assert bench.rows() == LOADED

    assert at_every_statement(ending, ready, load) >= 4


def test_a_change_is_neither_lost_nor_applied_twice(bench: Bench, ending: Ending) -> None:
    """Rows without a key: a change that is applied twice shows."""
    changes = bench.segment((DELETE, ("1", "a", None)), (INSERT, ("3", "c", "9")))

    def ready() -> None:
        bench.side.change("delete from t")
        bench.put(("1", "a", None), ("2", "b", "7"))
        bench.ledger.set_position(bench.epoch, position(1))

    def apply() -> None:
        if bench.ledger.position() != position(2):
            bench.apply(bench.applier(), changes)
        assert bench.rows() == CHANGED

    assert at_every_statement(ending, ready, apply) >= 4


def test_a_repair_whose_hold_has_ended_writes_nothing(bench: Bench, ending: Ending) -> None:
    """What it read may be older by then than what the applier it kept waiting has written."""
    older = bench.segment((DELETE, ("1", "a", None)), (INSERT, ("1", "older", None)))

    def ready() -> None:
        bench.side.change("delete from t")
        bench.put(("1", "a", None))

    def repair() -> None:
        with closing(bench.target.open_holder(bench.job, bench.tables, bench.targets)) as holder:
            holder.hold()
            holder.apply(older, bench.refetch)
            holder.release()

    def refused() -> None:
        try:
            repair()
        except TargetInterrupted:
            assert bench.rows() == ["1|a|NULL"]
            raise

    assert at_every_statement(ending, ready, refused) >= 4
    ready()
    repair()
    assert bench.rows() == ["1|older|NULL"]


def test_an_epoch_is_given_to_one_only(bench: Bench, ending: Ending) -> None:
    given: list[int] = []

    def claim() -> None:
        given.append(bench.ledger.claim())

    assert at_every_statement(ending, lambda: None, claim) >= 2
    assert len(set(given)) == len(given)
