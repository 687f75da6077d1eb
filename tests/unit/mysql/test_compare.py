"""Checksums inside MySQL and MariaDB: index, collations, packets. See tests/contract and tests/unit/validation too."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa
import pytest

from tests.servers.mysql import MySQL
from whimbrel.connectors.mysql.compare import MySQLComparison, open_comparison
from whimbrel.connectors.protocols import Scope
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

KEYED = TableName("compared", "keyed")
WORDS = TableName("compared", "words")
COLUMNS = (("a", "integer"), ("b", "bytes"), ("note", "long-text"))
KEY = (("a", "integer"), ("b", "bytes"))


@pytest.fixture
def comparison(server: MySQL, parameters: dict[str, Any]) -> Iterator[MySQLComparison]:
    server.create_database("compared")
    rows = ",".join(f"({i // 10}, X'{i % 10:02x}', 'n{i}')" for i in range(1, 2001))
    server.client(
        "CREATE TABLE keyed (a BIGINT UNSIGNED, b VARBINARY(4), note TEXT, PRIMARY KEY (a, b));"
        f"INSERT INTO keyed VALUES {rows};"
        "CREATE TABLE words (w VARCHAR(40) COLLATE utf8mb4_general_ci PRIMARY KEY, n INT);"
        "INSERT INTO words VALUES ('a', 1), ('B', 2)",
        "compared",
    )
    with closing(open_comparison(Endpoint("x", server.flavor, parameters), "test", "source")) as opened:
        yield opened


def test_the_server_reads_by_the_keys_index(server: MySQL, comparison: MySQLComparison) -> None:
    ran: list[str] = []
    rows = comparison.rows
    comparison.rows = lambda sql: (ran.append(sql), rows(sql))[1]  # type: ignore[method-assign]
    comparison.checksums(Scope(KEYED, COLUMNS, KEY, ("5", "03"), ("6", "01")))
    assert rows(ran[-1])[0][1] == 8
    plan = server.client("EXPLAIN " + ran[-1]) if server.flavor == "mariadb" else ""
    assert server.flavor != "mariadb" or "range" in plan


def test_keys_are_found_by_index_and_as_their_collation_has_them(comparison: MySQLComparison) -> None:
    scope = Scope(WORDS, (("w", "text"), ("n", "integer")), (("w", "text"),))
    found = comparison.lookup(scope, pa.record_batch({"k0": ["a", "b"]}))
    assert set(found["k0"].to_pylist()) == {"a", "B"}, "the caller leaves out what it did not ask for"
    two = pa.record_batch({"k0": ["1", "99999999999999999999999"], "k1": ["02", "00"]})
    assert comparison.lookup(Scope(KEYED, COLUMNS, KEY), two)["k0"].to_pylist() == ["1"]


def test_values_longer_than_a_packet_are_hashed(
    server: MySQL, comparison: MySQLComparison, parameters: dict[str, Any]
) -> None:
    server.client(
        "CREATE TABLE long_ones (id INT PRIMARY KEY, t LONGTEXT, b LONGBLOB);"
        "INSERT INTO long_ones VALUES (1, REPEAT('aé', 2000000), REPEAT('b', 5000000))",
        "compared",
    )
    table, columns = TableName("compared", "long_ones"), (("id", "integer"), ("t", "long-text"), ("b", "bytes"))
    wide = comparison.checksums(Scope(table, columns, columns[:1]))
    before = server.client("SELECT @@GLOBAL.max_allowed_packet").strip()
    server.client("SET GLOBAL max_allowed_packet = 1048576")
    try:
        with closing(open_comparison(Endpoint("x", server.flavor, parameters), "test", "source")) as narrow:
            assert narrow.checksums(Scope(table, columns, columns[:1])) == wide
    finally:
        server.client(f"SET GLOBAL max_allowed_packet = {before}")
    assert wide[0][1] > 0


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
