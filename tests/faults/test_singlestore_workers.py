"""Workers die at any statement: SingleStore keeps what they have recorded, and their connections alone are ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest

from tests.contract.bench import MISSING, Bench, position
from tests.faults.singlestore import MOST, made, stand
from tests.servers.process import wait_until
from tests.servers.singlestore import SingleStore
from whimbrel.connectors.sql.target import SqlTarget
from whimbrel.errors import TargetInterrupted
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Segment

__all__ = ["made", "stand"]  # fixtures


STEPS = [14, pytest.param(1, marks=pytest.mark.long)]


class Killed(BaseException):
    """What a worker does not survive."""


class Reaper:
    """Counts statements behind their execution; from ``limit`` on all that try are dead, and their connections cut."""

    def __init__(self, limit: int) -> None:
        self.left, self.dead = limit, False

    def counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def statement(link: Any, *args: Any, **named: Any) -> Any:
            if self.dead:
                link._force_close()
                raise Killed
            done = real(link, *args, **named)
            self.left -= 1
            if self.left <= 0:
                self.dead = True
                link._force_close()
                raise Killed
            return done

        return statement


@contextmanager
def mortal(monkeypatch: pytest.MonkeyPatch, limit: int) -> Iterator[Reaper]:
    """All connections of this process that are used within the block die with their n-th statement."""
    from whimbrel.connectors.singlestore.link import Link

    reaper = Reaper(limit)
    with monkeypatch.context() as patch:
        for name in ("query", "load"):
            patch.setattr(Link, name, reaper.counted(getattr(Link, name)))
        yield reaper


def changes(b: Bench) -> list[Segment]:
    return [
        b.segment(
            (UPDATE_BEFORE, ("1", None, None)),
            (UPDATE, ("20", "moved", None)),
            (DELETE, ("2", None, None)),
            (UPDATE, ("3", MISSING, "30")),
            (INSERT, ("4", "four", None)),
            at=2,
        ),
        b.segment((UPDATE, ("4", "again", "4")), (DELETE, ("20", None, None)), (INSERT, ("2", "two", None)), at=3),
    ]


@pytest.mark.parametrize("step", STEPS)
def test_killed_after_any_statement_changes_are_there_once(
    made: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    b = made()
    migration = b.job.migration

    def followed() -> None:
        with closing(b.applier()) as applier:
            stored = b.ledger.position()
            b.apply(applier, *(s for s in changes(b) if stored is None or stored.order < s.position.order))

    for limit in range(1, MOST * step, step):
        b.side.change(f"delete from {b.targets[0].name.table}")
        b.put(("1", "one", "1"), ("2", "gone", "2"), ("3", "three", "3"))
        with closing(b.target.ledger(migration)) as ledger:
            b.epoch = ledger.claim()
            ledger.clear(b.epoch, "op")
        with mortal(monkeypatch, limit) as reaper, suppress(Killed), closing(b.target.ledger(migration)) as b.ledger:
            followed()
        b.ledger = b.target.ledger(migration)
        b.epoch = b.ledger.claim()
        followed()
        assert b.rows() == ["2|two|NULL", "3|three|30", "4|again|4"], f"killed after statement {limit}"
        assert b.ledger.position() == position(3)
        if not reaper.dead:
            break
    else:
        raise AssertionError("no attempt came through")
    assert limit > 30, "the sweep has seen every statement of two batches"


@pytest.mark.parametrize("step", STEPS)
def test_killed_after_any_statement_rows_are_loaded_once(
    made: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    b = made(key=())
    plan = b.plan(MOST)
    for attempt in range(MOST):
        file = b.staged((str(attempt), "a", None), (str(-attempt - 1), None, "7"), name=f"rows{attempt}")
        limit = 1 + attempt * step
        with mortal(monkeypatch, limit) as reaper, suppress(Killed), closing(b.target.open_loader(b.job)) as loader:
            b.load(plan[attempt], file, loader=loader)
        with closing(b.target.open_loader(b.job)) as loader:
            assert b.load(plan[attempt], file, loader=loader) == 2
        if not reaper.dead:
            break
    else:
        raise AssertionError("no attempt came through")
    assert attempt * step > 8, "the sweep has seen every statement of a load"
    assert b.rows() == sorted(row for n in range(attempt + 1) for row in (f"{n}|a|NULL", f"{-n - 1}|NULL|7"))


def test_what_an_operation_left_open_is_ended(made: Callable[..., Bench], stand: SingleStore) -> None:
    b = made()
    applier = b.applier()
    applier.apply(b.segment((INSERT, ("1", "a", "1"))), b.refetch)
    assert b.target.at_work(b.job) == 0, "it waits for us"
    b.target.cleanup(b.job)
    b.target.cleanup(b.job)
    with pytest.raises(TargetInterrupted):
        applier.commit(b.epoch, position(2))
    assert (b.rows(), stand.query("select count(*) from faults.whimbrel_open")) == ([], [(0,)])
    noted = stand.query(f"select process_id from faults.whimbrel_sessions where operation = '{b.job.operation}'")
    assert len(noted) <= 1, "the target's own"


@pytest.mark.parametrize(("node", "address"), [(2, "root@localhost"), (1, "somebody@localhost"), (1, "root@elsewhere")])
def test_a_stranger_with_a_number_that_was_ours_is_left_alone(
    made: Callable[..., Bench], stand: SingleStore, node: int, address: str
) -> None:
    """It is of another aggregator, or its server has started again meanwhile."""
    b = made()
    with stand.session() as stranger, stranger.cursor() as cursor:
        cursor.execute("select connection_id()")
        number = cursor.fetchall()[0][0]
        noted = f"values ({node}, {number}, '{b.job.operation}', 'target', '{address}')"
        stand.query(f"insert into faults.whimbrel_sessions (node, process_id, operation, side, address) {noted}")
        b.target.cleanup(b.job)
        cursor.execute("select 1")
        assert cursor.fetchall()[0][0] == 1
    assert not stand.query(f"select node from faults.whimbrel_sessions where process_id = {number}"), "it is forgotten"


@pytest.mark.parametrize("seen", [True, False])
def test_a_stranger_who_is_where_ours_was_is_known_by_its_name(
    made: Callable[..., Bench], stand: SingleStore, seen: bool
) -> None:
    """Of the same account, address, aggregator and number, as after a restart. Where the server does not tell names,
    what was noted is believed."""
    b = made()
    if not seen:
        stand.order(kind="refuse", match="MV_CONNECTION_ATTRIBUTES", number=1142, text="SELECT command denied", times=9)
    with stand.session() as stranger, stranger.cursor() as cursor:
        cursor.execute("select connection_id()")
        number = cursor.fetchall()[0][0]
        where = f"from information_schema.PROCESSLIST where ID = {number}"
        address = stand.query(f"select concat(USER, '@', HOST) {where}")[0][0]
        noted = f"values (1, {number}, '{b.job.operation}', 'target', '{address}')"
        stand.query(f"insert into faults.whimbrel_sessions (node, process_id, operation, side, address) {noted}")
        b.target.cleanup(b.job)
        assert bool(stand.query(f"select ID {where}")) is seen


def test_what_was_noted_of_earlier_connections_keeps_nobody_out(made: Callable[..., Bench], stand: SingleStore) -> None:
    """A server that starts again counts from the beginning: the next numbers may all be noted already."""
    b = made()
    last = stand.query("select max(p.ID) from information_schema.MV_PROCESSLIST p")[0][0]
    stale = ", ".join(f"(1, {last + n}, 'gone', 'target', 'root@localhost')" for n in range(1, 100))
    stand.query(f"insert into faults.whimbrel_sessions (node, process_id, operation, side, address) values {stale}")
    try:
        assert isinstance(b.target, SqlTarget)
        with closing(b.target.connect()) as session:
            noted = f"select operation from faults.whimbrel_sessions where node = 1 and process_id = {session.number}"  # type: ignore[attr-defined]
            assert stand.query(noted) == [(b.job.operation,)]
        assert stand.query(noted) == []
    finally:
        stand.query("delete from faults.whimbrel_sessions where operation = 'gone'")


@pytest.mark.parametrize("heard", [True, False])
def test_a_cancelled_statement_ends(
    made: Callable[..., Bench], stand: SingleStore, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """Whether the server ends it when it is told to, or we give up the connection."""
    from whimbrel.connectors.singlestore import connection

    b = made()
    if not heard:
        monkeypatch.setattr(connection, "CANCEL_SECONDS", 0.5)
        stand.order(kind="refuse", match="KILL QUERY", number=1227, text="denied")
    with closing(connection.connect(b.job.target.parameters, b.job.operation)) as session:
        at_work = f"p.ID = {session.number} and p.INFO like '%SLEEP%'"
        here = f"select p.ID from information_schema.MV_PROCESSLIST p where {at_work}"
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(session.query, "SELECT SLEEP(60)")
            wait_until(lambda: bool(stand.query(here)), 20, "the statement to run")
            session.cancel()
            ended = asked.exception(20)
        assert heard or isinstance(ended, TargetInterrupted)
        with pytest.raises(TargetInterrupted):
            session.query("SELECT 1")
        assert f"KILL QUERY {session.number} 1" in stand.statements()
