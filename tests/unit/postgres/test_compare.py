"""Checksums inside PostgreSQL: segments, keys and encodings. Values in their forms: tests/unit/validation."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pyarrow as pa
import pytest

from tests.servers.postgres import Postgres
from whimbrel.connectors.postgres.compare import PostgresComparison, open_comparison
from whimbrel.errors import ValidateFailed, WhimbrelError
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName
from whimbrel.model.normal import HASH_END, hash_cuts

KEYED = TableName("public", "keyed")
COLUMNS = (("a", "integer"), ("b", "bytes"), ("note", "long-text"))
KEY = (("a", "integer"), ("b", "bytes"))


@pytest.fixture
def comparison(server: Postgres) -> Iterator[PostgresComparison]:
    server.psql(
        """
        drop table if exists keyed, words, odd; create table keyed (a bigint, b bytea, note text, primary key (a, b));
        insert into keyed select i / 10, decode(lpad(to_hex(i % 10), 2, '0'), 'hex'), 'n' || i
        from generate_series(1, 2000) i;
        create table words (w text primary key, n int);
        insert into words values ('a', 1), ('A', 2), ('a ', 3), ('''; drop table words; --', 4), ('\\', 5);
        """
    )
    with closing(open_comparison(Endpoint("x", "postgres", server.parameters()), "test")) as opened:
        yield opened


def test_ranges_of_a_composite_key_add_up(comparison: PostgresComparison) -> None:
    whole = comparison.checksum(KEYED, COLUMNS, KEY, None, None, 100)
    assert whole[0] == 2000
    cuts = comparison.cuts(KEYED, KEY, None, None, 2000, 8)
    assert 4 <= len(cuts) <= 8
    assert [(int(a), b) for a, b in cuts] == sorted((int(a), b) for a, b in cuts)
    parts = comparison.checksums(KEYED, COLUMNS, KEY, None, None, 100, cuts)
    assert (sum(n for n, _ in parts), sum(s for _, s in parts)) == whole
    assert min(n for n, _ in parts) > 100
    points = [None, *cuts, None]
    alone = [comparison.checksum(KEYED, COLUMNS, KEY, low, high, 100) for low, high in itertools.pairwise(points)]
    assert alone == parts


def test_buckets_of_the_hash_add_up_with_and_without_a_key(comparison: PostgresComparison) -> None:
    words = TableName("public", "words")
    columns = (("w", "text"), ("n", "integer"))
    for key in ((("w", "text"),), ()):
        cuts = hash_cuts(None, None, 7)
        parts = comparison.checksums(words, columns, key, None, None, 100, cuts)
        assert len(parts) == 7
        whole = comparison.checksum(words, columns, key, None, None, 100)
        assert (sum(n for n, _ in parts), sum(s for _, s in parts)) == whole
        inside = comparison.hashes(words, columns, key, cuts[0], cuts[1], 100, 99)
        assert len(inside) == parts[1][0]
    assert int(hash_cuts(None, None, 7)[-1][0]) < HASH_END


def test_the_server_reads_by_the_keys_index(server: Postgres, comparison: PostgresComparison) -> None:
    server.psql("analyze keyed")
    ran: list[str] = []
    rows = comparison.rows
    comparison.rows = lambda sql: (ran.append(sql), rows(sql))[1]  # type: ignore[method-assign]
    comparison.checksum(KEYED, COLUMNS, KEY, ("5", "03"), ("6", "01"), 100)
    assert "Index Scan" in server.psql("set enable_seqscan = off; explain " + ran[-1])
    assert rows(ran[-1])[0][1] == 8


def test_samples_are_disjoint_parts_of_one_order(comparison: PostgresComparison) -> None:
    def keys(percent: int) -> set[tuple[str, str]]:
        batch = comparison.hashes(KEYED, COLUMNS, KEY, None, None, percent, 5000)
        return set(zip(batch["k0"].to_pylist(), batch["k1"].to_pylist(), strict=True))

    assert keys(10) < keys(30) < keys(100)
    assert 0.05 < len(keys(10)) / 2000 < 0.15


def test_keys_are_found_again_whatever_they_hold(comparison: PostgresComparison) -> None:
    words = TableName("public", "words")
    columns, key = (("w", "text"), ("n", "integer")), (("w", "text"),)
    wanted = ["a", "'; drop table words; --", "\\", "gone", "nul\0"]
    found = comparison.lookup(words, columns, key, pa.record_batch({"k0": wanted}))
    assert sorted(found["k0"].to_pylist()) == ["'; drop table words; --", "\\", "a"]
    two = pa.record_batch({"k0": ["1", "99999999999999999999"], "k1": ["02", "00"]})
    assert comparison.lookup(KEYED, COLUMNS, KEY, two)["k0"].to_pylist() == ["1"]


def test_missing_tables_and_columns_are_named(comparison: PostgresComparison) -> None:
    with pytest.raises(ValidateFailed, match=r"public\.nowhere"):
        comparison.checksum(TableName("public", "nowhere"), COLUMNS, KEY, None, None, 100)
    with pytest.raises(ValidateFailed, match="missing"):
        comparison.checksum(KEYED, (("missing", "text"),), KEY, None, None, 100)


def test_names_are_quoted(server: Postgres, comparison: PostgresComparison) -> None:
    server.psql('create table odd ("a"";drop table words;--" int primary key)')
    name = 'a";drop table words;--'
    assert comparison.checksum(TableName("public", "odd"), ((name, "integer"),), ((name, "integer"),), None, None, 50)


def test_a_database_of_another_encoding_has_the_same_hashes(server: Postgres, comparison: PostgresComparison) -> None:
    if "latin" not in server.psql("select datname from pg_database"):
        server.psql("create database latin encoding 'LATIN1' template template0 locale 'C'")
    server.psql("drop table if exists t; create table t (v text, w text)", "latin")
    server.psql("insert into t values ('café', 'ÿ')", "latin")
    server.psql("drop table if exists t; create table t (v text, w text); insert into t values ('café', 'ÿ')")
    columns = (("v", "text"), ("w", "long-text"))
    with closing(open_comparison(Endpoint("x", "postgres", server.parameters("latin")), "test")) as latin:
        there = latin.checksum(TableName("public", "t"), columns, (), None, None, 100)
    assert there == comparison.checksum(TableName("public", "t"), columns, (), None, None, 100)


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
