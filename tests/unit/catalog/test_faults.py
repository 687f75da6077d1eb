"""What a catalog on a server may do at any moment: an error that is tried again, and the next try works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.servers.process import wait_until
from whimbrel.catalog import database
from whimbrel.catalog.records import EndpointRecord, Mode, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import CatalogUnreachable, WhimbrelError
from whimbrel.model.progress import TablePhase, TableProgress


@pytest.fixture
def other(running: Catalog) -> Iterator[psycopg.Connection]:
    """A session of somebody else on the catalog's server; skipped on SQLite."""
    url = running._database._engine.url
    if url.get_backend_name() != "postgresql":
        pytest.skip("not on a server")
    with psycopg.connect(host=url.host, port=url.port, user=url.username, dbname=url.database) as session:
        yield session


@pytest.fixture
def running(shop: Catalog) -> Catalog:
    shop.begin_operation("shop", Mode.DATA, "id", "h", {})
    return shop


def in_thread(work: Callable[[], object]) -> Callable[[], WhimbrelError | None]:
    """Run it beside us; the answer waits for it and gives what it raised."""
    raised: list[WhimbrelError] = []

    def run() -> None:
        try:
            work()
        except WhimbrelError as e:
            raised.append(e)

    thread = threading.Thread(target=run)
    thread.start()

    def answer() -> WhimbrelError | None:
        thread.join(30)
        assert not thread.is_alive()
        return raised[0] if raised else None

    return answer


def waits(other: psycopg.Connection) -> bool:
    """Whether a session of the catalog waits for a lock of the other one."""
    other.execute("select pg_stat_clear_snapshot()")
    waiting = "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    return other.execute(f"select exists ({waiting})").fetchone() == (True,)


def end_sessions(other: psycopg.Connection) -> None:
    other.execute("select pg_stat_clear_snapshot()")
    ours = "datname = current_database() and application_name = 'whimbrel:catalog'"
    other.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {ours}")


def test_the_victim_of_a_deadlock(running: Catalog, other: psycopg.Connection) -> None:
    figures = [TableProgress(name, TablePhase.COPYING, 10, 5, 5, 5, 1, 2) for name in ("a", "b")]
    running.save_table_progress("id", figures)
    other.execute("set deadlock_timeout = '60s'; update table_load set files_done = 7 where \"table\" = 'b'")
    saved = in_thread(lambda: running.save_table_progress("id", figures))
    wait_until(lambda: waits(other), 10, "the catalog to wait for the other session")
    other.execute("update table_load set files_done = 7 where \"table\" = 'a'")
    error = saved()
    assert isinstance(error, CatalogUnreachable)
    assert error.retryable
    assert "deadlock" in error.message
    other.rollback()
    running.save_table_progress("id", figures)


def test_a_lock_that_does_not_come(
    open_catalog: Callable[[], Catalog],
    running: Catalog,
    other: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 1)
    impatient = open_catalog()
    other.execute("lock table operation in share row exclusive mode")
    with pytest.raises(CatalogUnreachable, match="lock timeout"):
        impatient.finish_operation("id", Status.COMPLETED)
    assert running.get_operation("id").status is Status.RUNNING
    other.rollback()
    assert impatient.finish_operation("id", Status.COMPLETED).status is Status.COMPLETED


def test_a_server_that_ends_our_sessions(running: Catalog, other: psycopg.Connection) -> None:
    """While they rest: nobody notices. While one waits: an error, and the next try works."""
    end_sessions(other)
    running.set_phase("id", "data")
    other.execute("lock table operation in share row exclusive mode")
    ended = in_thread(lambda: running.finish_operation("id", Status.COMPLETED))
    wait_until(lambda: waits(other), 10, "the catalog to wait for the other session")
    end_sessions(other)
    assert isinstance(ended(), CatalogUnreachable)
    other.rollback()
    assert running.finish_operation("id", Status.COMPLETED).status is Status.COMPLETED


def test_a_driver_that_raises_past_sqlalchemy(running: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise running._database._engine.dialect.loaded_dbapi.OperationalError("no room")

    with monkeypatch.context() as broken:
        broken.setattr("whimbrel.catalog.operations.finish", refuse)
        with pytest.raises(CatalogUnreachable, match="no room"):
            running.finish_operation("id", Status.COMPLETED)
    assert running.finish_operation("id", Status.COMPLETED).status is Status.COMPLETED


def test_sqlite_without_room(tmp_path: Path) -> None:
    catalog = Catalog.open(tmp_path)
    with catalog._database.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(CatalogUnreachable, match="full"):
        _put_large(catalog, 1000)
    catalog.close()
    catalog = Catalog.open(tmp_path)  # as if somebody had made room
    _put_large(catalog, 1)
    catalog.close()


def _put_large(catalog: Catalog, times: int) -> None:
    for number in range(times):
        catalog.put_source(EndpointRecord(f"s{number}", "postgres", {"host": "h" * 10_000}))
