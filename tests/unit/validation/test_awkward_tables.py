"""Tables that two engines hold in different ways, made by hand on both sides and compared both ways round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.servers.mysql import MySQL
from tests.servers.postgres import Postgres
from tests.unit.validation import shop
from tests.unit.validation.shop import Server
from whimbrel.model.names import TableName
from whimbrel.pipeline.validation.repair import repair_data
from whimbrel.pipeline.validation.tables import validate_data

WIDE = ", ".join(f"c{n} varchar(20)" for n in range(250))

# By table: what PostgreSQL holds, what MariaDB holds, and (missing, extra, different) when PostgreSQL is the source.
CASES: dict[str, tuple[str, str, tuple[int, int, int]]] = {
    "empty": ("(id int primary key, v text)", "(id int primary key, v text)", (0, 0, 0)),
    "wide": (
        f"(id int primary key, {WIDE}); insert into shop.wide (id, c0, c249) values (1, 'a', 'b'), (2, 'a', 'b')",
        f"(id int primary key, {WIDE}) charset latin1;"
        "insert into shop.wide (id, c0, c249) values (1, 'a', 'b'), (2, 'a', 'B')",
        (0, 0, 1),
    ),
    "days": (  # dates that PostgreSQL has not, in the key; floats have rows looked up again
        "(d date primary key, v double precision); insert into shop.days values ('2020-01-01', 1)",
        "(d date primary key, v double);"
        "insert into shop.days values ('0000-00-00', 1), ('2020-00-00', 1), ('2020-01-01', 1)",
        (0, 2, 0),
    ),
    "uuids": (  # and a text that is no UUID
        "(u uuid primary key, v double precision);"
        "insert into shop.uuids values ('6f1c1f8e-0000-4000-8000-00000000000a', 1)",
        "(u char(36) primary key, v double);"
        "insert into shop.uuids values ('6F1C1F8E-0000-4000-8000-00000000000A', 2), ('what', 1)",
        (0, 1, 1),
    ),
    "numbers": (  # ranges are cut at values that an integer cannot be
        "(n bigint primary key, v int); insert into shop.numbers select i, 1 from generate_series(1, 5000) i",
        "(n decimal(12,2) primary key, v int); insert into shop.numbers select seq + if(seq % 5, 0, 0.5), 1"
        " from shop.seq_1_to_5000",
        (1000, 1000, 0),
    ),
    "words": (  # 'a' and 'A', and trailing blanks, are one key to MariaDB
        "(w varchar(20) primary key, v int); insert into shop.words values ('a', 1), ('A', 2), ('b ', 3), ('e', 4)",
        "(w varchar(20) collate utf8mb4_general_ci primary key, v int);"
        "insert into shop.words values ('A', 2), ('b', 3), ('é', 4)",
        (3, 2, 0),
    ),
    "seconds": (  # the coarser side's digits, with a column that is made by each side
        "(id int primary key, t timestamp, z timestamptz, g int generated always as (id + 1) stored);"
        "insert into shop.seconds (id, t, z) values (1, '2020-01-01 00:00:00.4', '2020-01-01 00:00:00.5+00'),"
        " (2, '2020-01-01', '2020-01-01 00:00:00+00')",
        "(id int primary key, t datetime, z timestamp null, g int generated always as (id + 1) stored);"
        "insert into shop.seconds (id, t, z) values (1, '2020-01-01', '2020-01-01 00:00:01'),"
        " (2, '2020-01-01', '2020-01-01 00:00:01')",
        (0, 0, 1),
    ),
    "computed": (  # each side computes by its own definition
        "(id int primary key, g int generated always as (id * 2) stored); insert into shop.computed values (0), (1)",
        "(id int primary key, g int generated always as (id * 3) stored);"
        "insert into shop.computed (id) values (0), (1)",
        (0, 0, 1),
    ),
    "zeros": (
        "(id int primary key, v double precision, w real); insert into shop.zeros values (1, '-0', '-0'), (2, 0, 0)",
        "(id int primary key, v double, w float); insert into shop.zeros values (1, 0, 0), (2, -0e0, -0e0)",
        (0, 0, 0),
    ),
}  # fmt: skip


def found(source: Server, target: Server, folder: Path, tables: list[str]) -> dict[str, tuple[int, int, int]]:
    work = shop.job(source, target, folder, [TableName("shop", t) for t in tables])
    result: list[dict[str, Any]] = validate_data(work, shop.QuietControl(), 100)["tables"]
    return {t["table"].removeprefix("shop."): (t["missing"], t["extra"], t["different"]) for t in result}


@pytest.fixture
def servers(postgres15: Postgres, mariadb: MySQL) -> tuple[Postgres, MySQL]:
    for server in (postgres15, mariadb):
        shop.empty(server)
    return postgres15, mariadb


def test_each_table_both_ways_round(servers: tuple[Postgres, MySQL], tmp_path: Path) -> None:
    postgres, mariadb = servers
    shop.run(postgres, ";".join(f"create table shop.{t} {sql}" for t, (sql, _, _) in CASES.items()))
    shop.run(
        mariadb, "set sql_mode = '';" + ";".join(f"create table shop.{t} {sql}" for t, (_, sql, _) in CASES.items())
    )
    assert found(postgres, mariadb, tmp_path, list(CASES)) == {t: want for t, (_, _, want) in CASES.items()}
    turned = {t: (extra, missing, other) for t, (_, _, (missing, extra, other)) in CASES.items()}
    assert found(mariadb, postgres, tmp_path, list(CASES)) == turned


def test_a_repair_puts_no_row_over_another_that_the_target_takes_for_the_same(
    servers: tuple[Postgres, MySQL], tmp_path: Path
) -> None:
    """And what can be put right beside it is."""
    postgres, mariadb = servers
    for server, rows in ((postgres, "('a', 1), ('A', 2), ('c', 3)"), (mariadb, "('A', 2)")):
        folded = "" if server is postgres else " collate utf8mb4_general_ci"
        shop.run(server, f"create table shop.words (w varchar(20){folded} primary key, v int)")
        shop.run(server, f"insert into shop.words values {rows}")
    work = shop.job(postgres, mariadb, tmp_path, [TableName("shop", "words")])
    report = validate_data(work, shop.QuietControl(), 100)
    [table] = repair_data(work, shop.QuietControl(), report, work.operation)["tables"]
    assert (table["repaired"], table["left"], table["samples"][0]["key"]) == (1, 1, {"w": "a"})
    assert "cannot hold both" in table["samples"][0]["why"]
    assert shop.run(mariadb, "select * from shop.words order by v") == "A\t2\nc\t3\n"


def test_what_inherits_from_a_table_is_not_of_it_and_its_partitions_are(postgres15: Postgres, tmp_path: Path) -> None:
    shop.empty(postgres15)
    shop.run(
        postgres15,
        "create table shop.parent (id int primary key, v double precision, n numeric, t timestamp);"
        "insert into shop.parent values (1, 'NaN', 'NaN', 'infinity');"
        "create table shop.child () inherits (shop.parent); insert into shop.child values (2, 0, 0, '2020-01-01');"
        "create table shop.days (d int primary key) partition by range (d);"
        "create table shop.day partition of shop.days for values from (1) to (9);"
        "insert into shop.days values (1), (2)",
    )
    work = shop.job(postgres15, postgres15, tmp_path, [TableName("shop", t) for t in ("parent", "days")])
    tables = validate_data(work, shop.QuietControl(), 100)["tables"]
    assert [(t["source_rows"], t["status"]) for t in tables] == [(1, "equal"), (2, "equal")]
