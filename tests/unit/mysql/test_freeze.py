"""How long writers may stand still: while a lock is waited for, and while it is held."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace

import pymysql
import pytest

from tests.servers.mysql import MySQL
from tests.servers.process import wait_until
from tests.unit.mysql.moving import SOURCE, make, reflected
from whimbrel.connectors.mysql import locks
from whimbrel.connectors.mysql.connection import Session, connect, execute, query
from whimbrel.connectors.mysql.refusals import LOCK_TIMEOUT, number_and_text
from whimbrel.connectors.mysql.source import freeze, snapshot
from whimbrel.connectors.mysql.source.reading import MySQLSource
from whimbrel.errors import SourceInterrupted, WhimbrelError
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Endpoint, Job

DDL = "CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1); CREATE TABLE u LIKE t;"
DDL += "INSERT INTO u VALUES (1, 1); CREATE TABLE w (id INT AUTO_INCREMENT PRIMARY KEY)"


@contextmanager
def writing(server: MySQL) -> Iterator[list[float]]:
    """Somebody else's writes all the while; the seconds that each took."""
    took: list[float] = []
    over = threading.Event()

    def write() -> None:
        with closing(connect({**server.parameters, "port": server.port}, "writer")) as writer:
            while not over.wait(0.02):
                began = time.monotonic()
                execute(writer, f"INSERT INTO {SOURCE}.w VALUES ()")
                took.append(time.monotonic() - began)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        wait_until(lambda: bool(took), 10, "the first write")
        yield took
        written = len(took)
        wait_until(lambda: len(took) > written + 1, 10, "writers to go on")
    finally:
        over.set()
        thread.join(10)


@contextmanager
def running(opened: Callable[..., Session], sql: str) -> Iterator[Session]:
    """A statement that runs; it is ended with the block."""
    session, killer = opened("busy"), opened("killer")

    def run() -> None:
        with suppress(pymysql.MySQLError):
            execute(session, sql)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    number = session.thread_id()
    state = f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {number} AND STATE = 'User sleep'"
    wait_until(lambda: query(killer, state) == [(1,)], 10, f"{sql} to run")
    try:
        yield session
    finally:
        with suppress(pymysql.MySQLError):
            execute(killer, f"KILL CONNECTION {number}")
        thread.join(10)


def opening(job: Job, expected: str) -> WhimbrelError:
    with pytest.raises(SourceInterrupted, match=expected) as caught:
        snapshot.open_snapshot(job, reflected(job, SOURCE), capture=True, lanes=1)
    assert caught.value.retryable
    return caught.value


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("LOCK_SECONDS", 1), ("QUIET_SECONDS", 0.5), ("LONG_SECONDS", 1), ("FROZEN_SECONDS", 1)):
        monkeypatch.setattr(freeze, name, seconds)


@pytest.mark.usefixtures("short")
def test_an_idle_holder_stops_writers_for_no_longer_than_said(
    server: MySQL, job: Job, opened: Callable[..., Session]
) -> None:
    make(server, DDL)
    execute(opened("blocker"), f"LOCK TABLES {SOURCE}.t WRITE")
    with writing(server) as took:
        opening(job, r"within 1 s: .*LOCK TABLES")
    assert max(took) < 3


@pytest.mark.usefixtures("short")
def test_a_long_statement_stops_writers_for_a_second_at_most(
    server: MySQL, job: Job, opened: Callable[..., Session]
) -> None:
    """It was waited for before, which stops nobody. MariaDB's lock stands in no reader's way."""
    make(server, DDL)
    sql = "SELECT SLEEP(60) FROM" if server.flavor == "mysql" else "UPDATE"
    sql = f"{sql} {SOURCE}.t" + ("" if server.flavor == "mysql" else " SET v = SLEEP(60)")
    with running(opened, sql) as busy, writing(server) as took:
        number = busy.thread_id()
        wait_until(lambda: int(query(opened(), _TIME, (number,))[0][0]) >= 1, 10, "a second")
        opening(job, rf"within 1 s: session {number} of root, \d+ s \(User sleep\)$")
    assert max(took) < 3


_TIME = "SELECT TIME FROM information_schema.PROCESSLIST WHERE ID = %s"


def test_a_statement_that_ends_is_waited_for_before_anybody_is_stopped(
    server: MySQL, job: Job, opened: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze, "LONG_SECONDS", 1)
    make(server, DDL)
    with running(opened, f"UPDATE {SOURCE}.t SET v = SLEEP(3)") as busy, writing(server) as took:
        wait_until(lambda: int(query(opened(), _TIME, (busy.thread_id(),))[0][0]) >= 1, 10, "a second")
        snapshot.open_snapshot(job, reflected(job, SOURCE), capture=True, lanes=1).close()
    assert max(took) < 1


@pytest.mark.usefixtures("short")
def test_several_waits_in_a_row_have_one_bound(
    server: MySQL, job: Job, opened: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own timeout counts for each table anew."""
    make(server, DDL)
    monitor = "BINLOG MONITOR" if server.flavor == "mariadb" else "REPLICATION CLIENT"
    low = server.create_user("low", "pw", f"SELECT, LOCK TABLES ON {SOURCE}.*", f"{monitor} ON *.*")
    weak = replace(job, source=Endpoint("low", server.flavor, {**job.source.parameters, **low}))
    monkeypatch.setattr(freeze, "LOCK_SECONDS", 2)
    monkeypatch.setattr(freeze, "MARGIN_SECONDS", 0.25)
    first, second, watcher = (opened(name, autocommit=False) for name in ("first", "second", "watcher"))
    execute(first, f"UPDATE {SOURCE}.t SET v = 2")
    execute(second, f"UPDATE {SOURCE}.u SET v = 2")

    def let_one_go() -> None:
        wait_until(lambda: bool(query(watcher, _WAITING)), 10, "the wait for the first table", every=0.02)
        time.sleep(1)  # of the two seconds there are
        first.rollback()

    thread = threading.Thread(target=let_one_go, daemon=True)
    thread.start()
    refused = opening(weak, "within 2 s")
    thread.join()
    assert number_and_text(refused.__cause__ or refused)[0] != LOCK_TIMEOUT  # which would come a second later
    execute(opened(), f"INSERT INTO {SOURCE}.t VALUES (2, 2)")  # nothing of the lock is left


_WAITING = "SELECT ID FROM information_schema.PROCESSLIST WHERE STATE = 'Waiting for table metadata lock'"


@pytest.mark.usefixtures("short")
def test_a_freeze_whose_holder_says_nothing_ends(server: MySQL, job: Job, opened: Callable[..., Session]) -> None:
    make(server, DDL)
    with closing(snapshot.open_snapshot(job, reflected(job, SOURCE), capture=True, lanes=1)) as view:
        writer = opened()
        execute(writer, "SET SESSION lock_wait_timeout = 5")
        execute(writer, f"INSERT INTO {SOURCE}.t VALUES (2, 2)")
        for ask in (lambda: snapshot.open_reader(job, view.token), view.release):
            with pytest.raises(SourceInterrupted):
                ask()
    with closing(snapshot.open_snapshot(job, reflected(job, SOURCE), capture=True, lanes=1)) as view:
        view.release()
        assert query(view._session, "SELECT @@session.wait_timeout") == [(86400,)]  # between two signs of life


def test_a_locked_table_is_named_and_not_waited_for_for_long(
    server: MySQL, job: Job, opened: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LOCK_SECONDS", 1)
    make(server, DDL)
    tables = reflected(job, SOURCE)
    table = next(t for t in tables if t.name.table == "u")
    with (
        closing(MySQLSource(job.source, job.operation)) as source,
        closing(source.open_snapshot(job, tables, capture=False, lanes=1)) as view,
        closing(source.open_reader(job, view.token)) as reader,
    ):
        view.lane_opened()
        holder = opened("holder")
        execute(holder, f"LOCK TABLES {SOURCE}.u WRITE")
        whole = Chunk(table.name, 0, None, 0)
        for ask in (
            lambda: reader.extract(table, table.columns, whole, Format.TAB_TEXT, lambda _: None),
            lambda: source.reflect([t.name for t in tables]),
            lambda: source.plan(table, 1000, 1 << 20),
        ):
            began = time.monotonic()
            with pytest.raises(SourceInterrupted, match=r"move_src\.u"):
                ask()
            assert time.monotonic() - began < 5
        execute(holder, "UNLOCK TABLES")
        assert len(source.reflect([t.name for t in tables])) == 3
