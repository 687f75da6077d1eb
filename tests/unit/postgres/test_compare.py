"""Checksums inside PostgreSQL: index and encodings. The rest: tests/contract and tests/unit/validation."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pyarrow as pa
import pytest

from tests.servers.postgres import Postgres
from whimbrel.connectors.postgres.compare import PostgresComparison, open_comparison
from whimbrel.connectors.protocols import Scope
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

KEYED = TableName("public", "keyed")
COLUMNS = (("a", "integer"), ("b", "bytes"), ("note", "long-text"))
KEY = (("a", "integer"), ("b", "bytes"))


@pytest.fixture
def comparison(server: Postgres) -> Iterator[PostgresComparison]:
    server.psql(
        """
        drop table if exists keyed; create table keyed (a bigint, b bytea, note text, primary key (a, b));
        insert into keyed select i / 10, decode(lpad(to_hex(i % 10), 2, '0'), 'hex'), 'n' || i
        from generate_series(1, 2000) i;
        """
    )
    with closing(open_comparison(Endpoint("x", "postgres", server.parameters()), "test")) as opened:
        yield opened


def test_the_server_reads_by_the_keys_index(server: Postgres, comparison: PostgresComparison) -> None:
    server.psql("analyze keyed")
    ran: list[str] = []
    rows = comparison.rows
    comparison.rows = lambda sql: (ran.append(sql), rows(sql))[1]  # type: ignore[method-assign]
    comparison.checksums(Scope(KEYED, COLUMNS, KEY, ("5", "03"), ("6", "01")))
    assert "Index Scan" in server.psql("set enable_seqscan = off; explain " + ran[-1])
    assert rows(ran[-1])[0][1] == 8
    two = pa.record_batch({"k0": ["1", "99999999999999999999999"], "k1": ["02", "00"]})
    assert comparison.lookup(Scope(KEYED, COLUMNS, KEY), two)["k0"].to_pylist() == ["1"]


def test_a_database_of_another_encoding_has_the_same_hashes(server: Postgres, comparison: PostgresComparison) -> None:
    if "latin" not in server.psql("select datname from pg_database"):
        server.psql("create database latin encoding 'LATIN1' template template0 locale 'C'")
    server.psql("drop table if exists t; create table t (v text, w text)", "latin")
    server.psql("insert into t values ('café', 'ÿ')", "latin")
    server.psql("drop table if exists t; create table t (v text, w text); insert into t values ('café', 'ÿ')")
    columns = (("v", "text"), ("w", "long-text"))
    with closing(open_comparison(Endpoint("x", "postgres", server.parameters("latin")), "test")) as latin:
        there = latin.checksums(Scope(TableName("public", "t"), columns, ()))
    assert there == comparison.checksums(Scope(TableName("public", "t"), columns, ()))


def test_cancel_ends_the_statement(comparison: PostgresComparison) -> None:
    failures: list[WhimbrelError] = []

    def wait() -> None:
        try:
            comparison.rows("select pg_sleep(60)")
        except WhimbrelError as e:
            failures.append(e)

    thread = threading.Thread(target=wait)
    thread.start()
    deadline = time.monotonic() + 20
    while thread.is_alive() and time.monotonic() < deadline:
        comparison.cancel()
        thread.join(0.2)
    assert failures
    assert comparison.rows("select 1") == [(1,)]
