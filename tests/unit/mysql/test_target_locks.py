"""Tables of the target that somebody else has locked: no lane waits for ever, and the error says for whom."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.servers.mysql import MySQL
from tests.staged import staged
from tests.unit.mysql.moving import SOURCE, TARGET, Applying, captured, make, now, reflected
from whimbrel.connectors.mysql import connection
from whimbrel.connectors.mysql.compare import open_comparison
from whimbrel.connectors.mysql.connection import connect, execute
from whimbrel.connectors.mysql.target.load import MySQLLoader
from whimbrel.connectors.mysql.target.writing import MySQLTarget
from whimbrel.errors import TargetInterrupted
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName


@pytest.fixture(autouse=True)
def a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"lock_wait_timeout": "1", "innodb_lock_wait_timeout": "1"}
    monkeypatch.setattr(connection, "TARGET_SETTINGS", settings)


@contextmanager
def refused(match: str) -> Iterator[None]:
    began = time.monotonic()
    with pytest.raises(TargetInterrupted, match=match) as caught:
        yield
    assert time.monotonic() - began < 10
    assert caught.value.retryable
    assert "KILL" in caught.value.how_to_fix


@contextmanager
def held(job: Job, *statements: str) -> Iterator[int]:
    """What somebody else has locked, by that connection's number."""
    with closing(connect(job.target.parameters, "somebody", autocommit=False)) as holder:
        for sql in statements:
            execute(holder, sql)
        yield int(holder.thread_id())


def test_a_lane_gives_up_a_locked_table_and_loads_it_later(server: MySQL, job: Job, target: MySQLTarget) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY)")
    (table,) = reflected(job, TARGET, "t")
    path = job.workdir / "t.tab"
    path.write_bytes(b"1\n2\n")
    file = staged(path, 2)
    with closing(target.ledger("m")) as ledger, closing(MySQLLoader(job.target.parameters, job)) as loader:
        epoch = ledger.claim()
        chunk = Chunk(table.name, 0, [0, None], 2, 4)
        ledger.save_plan(epoch, table, [chunk])

        def load() -> int:
            return loader.load(epoch, table, table, table.columns, chunk, Format.TAB_TEXT, file, upsert=False)

        with held(job, f"LOCK TABLES {TARGET}.t WRITE"), refused(rf"{TARGET}\.t"):
            load()
        with held(job, f"LOCK TABLES {TARGET}.t READ"), refused(rf"{TARGET}\.t"):
            loader.truncate(epoch, table.name, table.name)
        assert load() == 2
    assert server.client("SELECT COUNT(*) FROM t", TARGET) == "2\n"


def test_changes_name_the_transaction_that_holds_their_row(server: MySQL, job: Job, target: MySQLTarget) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 1)")
    tables, start = reflected(job, SOURCE, "t"), now(job)
    server.client("UPDATE t SET v = 2", SOURCE)
    segments = captured(job, tables, start)
    with closing(Applying(job, target, tables)) as applying:
        with (
            held(job, "START TRANSACTION", f"UPDATE {TARGET}.t SET v = 7") as number,
            refused(rf"{TARGET}\.t: .*connection {number} \(root, \d+ s\)"),
        ):
            applying(segments)
        applying(segments)
    assert server.client("SELECT v FROM t", TARGET) == "2\n"


def test_numbering_waits_as_long_as_it_is_told(
    server: MySQL, job: Job, target: MySQLTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "TARGET_SETTINGS", {"lock_wait_timeout": "60"})
    make(server, "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY); INSERT INTO t VALUES (7)")
    server.client("DELETE FROM t", TARGET)
    tables = reflected(job, TARGET, "t")
    with held(job, f"LOCK TABLES {TARGET}.t WRITE"), refused(rf"{TARGET}\.t"):
        target.finisher.sequences(tables, tables, patience=1)
    target.finisher.sequences(tables, tables, patience=1)


def test_a_comparison_waits_no_longer(server: MySQL, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whimbrel.connectors.mysql.locks.LOCK_SECONDS", 1)
    make(server, "CREATE TABLE t (id INT PRIMARY KEY)")
    endpoint = Endpoint("x", server.flavor, job.target.parameters)
    with (
        closing(open_comparison(endpoint, job.operation, "target")) as comparison,
        held(job, f"LOCK TABLES {TARGET}.t WRITE"),
        pytest.raises(TargetInterrupted, match="Lock wait timeout"),
    ):
        comparison.rows(f"SELECT COUNT(*) FROM {comparison.rows_of(TableName(TARGET, 't'))}")
