"""Checksums inside MySQL and MariaDB: segments, keys and collations. Values in their forms: tests/unit/validation."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest

from tests.servers.mysql import MySQL
from whimbrel.connectors.mysql.compare import MySQLComparison, open_comparison
from whimbrel.errors import ValidateFailed, WhimbrelError
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName
from whimbrel.model.normal import hash_cuts

KEYED = TableName("compared", "keyed")
WORDS = TableName("compared", "words")
COLUMNS = (("a", "integer"), ("b", "bytes"), ("note", "long-text"))
KEY = (("a", "integer"), ("b", "bytes"))
WORD_COLUMNS, WORD_KEY = (("w", "text"), ("n", "integer")), (("w", "text"),)


@pytest.fixture
def comparison(server: MySQL, parameters: dict[str, Any]) -> Iterator[MySQLComparison]:
    server.create_database("compared")
    rows = ",".join(f"({i // 10}, X'{i % 10:02x}', 'n{i}')" for i in range(1, 2001))
    server.client(
        "CREATE TABLE keyed (a BIGINT UNSIGNED, b VARBINARY(4), note TEXT, PRIMARY KEY (a, b));"
        f"INSERT INTO keyed VALUES {rows};"
        "CREATE TABLE words (w VARCHAR(40) COLLATE utf8mb4_general_ci PRIMARY KEY, n INT);"
        "INSERT INTO words VALUES ('a', 1), ('B', 2), ('''; DROP TABLE words; --', 4), ('\\\\', 5), ('é', 6), ('', 7)",
        "compared",
    )
    with closing(open_comparison(Endpoint("x", server.flavor, parameters), "test", "source")) as opened:
        yield opened


def test_ranges_of_a_composite_key_add_up(comparison: MySQLComparison) -> None:
    whole = comparison.checksum(KEYED, COLUMNS, KEY, None, None, 100)
    assert whole[0] == 2000
    cuts = comparison.cuts(KEYED, KEY, None, None, 2000, 8)
    assert 4 <= len(cuts) <= 8
    assert [(int(a), b) for a, b in cuts] == sorted((int(a), b) for a, b in cuts)
    parts = comparison.checksums(KEYED, COLUMNS, KEY, None, None, 100, cuts)
    assert (sum(n for n, _ in parts), sum(s for _, s in parts)) == whole
    points = [None, *cuts, None]
    alone = [comparison.checksum(KEYED, COLUMNS, KEY, low, high, 100) for low, high in itertools.pairwise(points)]
    assert alone == parts


def test_buckets_of_the_hash_add_up_with_and_without_a_key(comparison: MySQLComparison) -> None:
    for key in (WORD_KEY, ()):
        cuts = hash_cuts(None, None, 7)
        parts = comparison.checksums(WORDS, WORD_COLUMNS, key, None, None, 100, cuts)
        whole = comparison.checksum(WORDS, WORD_COLUMNS, key, None, None, 100)
        assert (sum(n for n, _ in parts), sum(s for _, s in parts)) == whole
        assert len(comparison.hashes(WORDS, WORD_COLUMNS, key, cuts[0], cuts[1], 100, 99)) == parts[1][0]


def test_the_server_reads_by_the_keys_index(server: MySQL, comparison: MySQLComparison) -> None:
    ran: list[str] = []
    rows = comparison.rows
    comparison.rows = lambda sql: (ran.append(sql), rows(sql))[1]  # type: ignore[method-assign]
    comparison.checksum(KEYED, COLUMNS, KEY, ("5", "03"), ("6", "01"), 100)
    assert rows(ran[-1])[0][1] == 8
    plan = server.client("EXPLAIN " + ran[-1]) if server.flavor == "mariadb" else ""
    assert server.flavor != "mariadb" or "range" in plan


def test_samples_are_parts_of_one_order(comparison: MySQLComparison) -> None:
    def keys(percent: int) -> set[tuple[str, str]]:
        batch = comparison.hashes(KEYED, COLUMNS, KEY, None, None, percent, 5000)
        return set(zip(batch["k0"].to_pylist(), batch["k1"].to_pylist(), strict=True))

    assert keys(10) < keys(30) < keys(100)


def test_keys_are_found_again_whatever_they_hold(comparison: MySQLComparison) -> None:
    wanted = ["a", "b", "'; DROP TABLE words; --", "\\", "", "gone", "nul\0"]
    found = comparison.lookup(WORDS, WORD_COLUMNS, WORD_KEY, pa.record_batch({"k0": wanted}))
    # 'B' equals 'b' in this collation; the caller leaves out what it did not ask for
    assert set(found["k0"].to_pylist()) == {"a", "B", "'; DROP TABLE words; --", "\\", ""}
    two = pa.record_batch({"k0": ["1", "99999999999999999999999"], "k1": ["02", "00"]})
    assert comparison.lookup(KEYED, COLUMNS, KEY, two)["k0"].to_pylist() == ["1"]


def test_missing_tables_and_columns_are_named(comparison: MySQLComparison) -> None:
    with pytest.raises(ValidateFailed, match=r"compared\.nowhere"):
        comparison.checksum(TableName("compared", "nowhere"), COLUMNS, KEY, None, None, 100)
    with pytest.raises(ValidateFailed, match="missing"):
        comparison.checksum(KEYED, (("missing", "text"),), KEY, None, None, 100)


def test_names_are_quoted(server: MySQL, comparison: MySQLComparison) -> None:
    server.client("CREATE TABLE odd (`a``;drop table words;--` INT PRIMARY KEY)", "compared")
    name = "a`;drop table words;--"
    assert comparison.checksum(TableName("compared", "odd"), ((name, "integer"),), ((name, "integer"),), None, None, 50)


def test_values_longer_than_a_packet_are_hashed(
    server: MySQL, comparison: MySQLComparison, parameters: dict[str, Any]
) -> None:
    server.client(
        "CREATE TABLE long_ones (id INT PRIMARY KEY, t LONGTEXT, b LONGBLOB);"
        "INSERT INTO long_ones VALUES (1, REPEAT('aé', 2000000), REPEAT('b', 5000000))",
        "compared",
    )
    table, columns = TableName("compared", "long_ones"), (("id", "integer"), ("t", "long-text"), ("b", "bytes"))
    wide = comparison.checksum(table, columns, columns[:1], None, None, 100)
    before = server.client("SELECT @@GLOBAL.max_allowed_packet").strip()
    server.client("SET GLOBAL max_allowed_packet = 1048576")
    try:
        with closing(open_comparison(Endpoint("x", server.flavor, parameters), "test", "source")) as narrow:
            assert narrow.checksum(table, columns, columns[:1], None, None, 100) == wide
    finally:
        server.client(f"SET GLOBAL max_allowed_packet = {before}")
    assert wide[1] > 0


def test_cancel_ends_the_statement(comparison: MySQLComparison) -> None:
    done: list[object] = []

    def wait() -> None:
        try:
            # An interrupted SLEEP() alone only returns 1; in a query over rows it is an error.
            done.append(comparison.rows("SELECT SLEEP(60) FROM compared.words"))
        except WhimbrelError as e:
            done.append(e)

    thread = threading.Thread(target=wait)
    thread.start()
    deadline = time.monotonic() + 20
    while thread.is_alive() and time.monotonic() < deadline:
        comparison.cancel()
        thread.join(0.2)
    assert done
    assert comparison.rows("SELECT 1") == [(1,)]
