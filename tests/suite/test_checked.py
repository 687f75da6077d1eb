"""The check proves the job: what it calls valid moves to the end, and what cannot be moved it refuses by name.

Each case is a schema that well-known applications or public reports have. Nothing of the rehearsal stays on a target.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.engines import SCHEMA
from tests.suite.running import Running, Watch
from tests.suite.world import World
from whimbrel.connectors.mysql.checks import suspects
from whimbrel.connectors.protocols import CheckResult
from whimbrel.errors import TypeRefused
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.changes.replication import replicate
from whimbrel.pipeline.cleanup import clean_up
from whimbrel.pipeline.fitting import check_fit
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.schema import apply_schema, extract_schema

POSTGRES, MYSQL, MARIADB = "postgres15", "mysql", "mariadb"
ONTO_MYSQL = [(POSTGRES, MYSQL), (POSTGRES, MARIADB)]

LONG_COMMENT = "x" * 3000
COLUMNS = ", ".join(f"c{n} int" for n in range(1016))
TEXTS = ", ".join(f"c{n} text" for n in range(220))
INDEXES = ";".join(f"create index i{n} on suite.indexes (v, c{n})" for n in range(70))
REFUSED_BY_MYSQL = f"""
create table suite.wide (id int primary key, {COLUMNS});
create table suite.parent (id int primary key);
create table suite.child (id int primary key, p int not null constraint child_p references suite.parent
  on delete set null);
create table suite.indexes (id int primary key, v int, {", ".join(f"c{n} int" for n in range(70))});
{INDEXES};
create table suite.told (id int primary key, v int);
comment on table suite.told is '{LONG_COMMENT}';
create table suite.said (id int primary key, v int);
comment on column suite.said.v is '{LONG_COMMENT}';
create table suite.texts (id int primary key, {TEXTS});
create table suite.fine (id int primary key, v int);
"""
NAMED_BY_MYSQL = ("wide", "child: foreign key child_p", "indexes: index i", "told", "said", "texts")

LACKING = """
create extension pg_trgm schema suite;
create function suite.low(text) returns text immutable language sql as 'select lower($1)';
create collation suite.odd (locale = 'C');
create table suite.checked (id int primary key, v text check (suite.low(v) = v));
create table suite.given (id int primary key, v text default suite.low('X'));
create table suite.found (id int primary key, v text);
create index found_low on suite.found (suite.low(v));
create index found_trgm on suite.found using gin (v suite.gin_trgm_ops);
create table suite.sorted (id int primary key, v text collate suite.odd);
create schema app;
create function app."of it"(text) returns text immutable language sql as 'select $1';
create table suite.away (id int primary key, v text default app."of it"('X (y)'));
create table suite.fine (id int primary key, v text);
"""
LACKED = ("checked: ", "given: ", "found: index found_low: ", "found: index found_trgm: ", "sorted: ", "away: ")


def job(world: World, operation: str = "op") -> Job:
    return replace(world.job(operation), tables=(TableName(SCHEMA, "*"),))


def checked(world: World) -> dict[str, CheckResult]:
    before = inventory(world)
    found = {c.id: c for c in check_fit(job(world, "checks"), data=True, changes=True)}
    assert inventory(world) == before
    return found


def inventory(world: World) -> str:
    """What a target has of tables, types, functions and schemas."""
    if world.target.is_postgres:
        return world.target.run(
            "select nspname from pg_namespace where nspname !~ '^pg_(toast_)?temp'"
            " union all select relname from pg_class union all select extname from pg_extension order by 1"
        )
    return world.target.run("select table_schema, table_name from information_schema.tables order by 1, 2")


def failed(found: dict[str, CheckResult]) -> list[str]:
    return sorted(c.id for c in found.values() if c.status == "fail")


@pytest.mark.parametrize("world", ONTO_MYSQL, indirect=True)
def test_what_a_mysql_target_cannot_hold_is_refused_by_name(world: World) -> None:
    world.source.run(f"create schema suite; {REFUSED_BY_MYSQL}")
    found = checked(world)
    assert failed(found) == ["target.definitions"]
    message = found["target.definitions"].message
    for name in NAMED_BY_MYSQL:
        assert f"suite.{name}" in message, message
    assert "suite.fine" not in message
    assert "trial" not in message


@pytest.mark.parametrize("world", [(POSTGRES, "postgres18")], indirect=True)
def test_what_definitions_call_is_looked_up_on_the_target(world: World) -> None:
    world.source.run(f"create schema suite; {LACKING}")
    found = checked(world)
    assert failed(found) == ["target.definitions"]
    message = found["target.definitions"].message
    for name in LACKED:
        assert f"suite.{name}" in message, message
    assert "suite.fine" not in message
    assert "trial" not in message
    assert "(with the function app.of it)" in message, "where not even its schema is there"
    world.target.run(
        "create schema app; create function app.\"of it\"(text) returns text immutable language sql as 'select $1';"
        "create schema suite; create extension pg_trgm schema suite; create collation suite.odd (locale = 'C');"
        "create function suite.low(text) returns text immutable language sql as 'select lower($1)'"
    )
    found = checked(world)
    assert failed(found) == []
    world.source.run("insert into suite.found values (1, 'Some')")
    move(
        world,
        "insert into suite.found values (2, 'Later'); insert into suite.given (id) values (2)",
        "select id, v from {0}.found order by id",
    )


@pytest.mark.parametrize("world", ONTO_MYSQL, indirect=True)
def test_a_row_that_just_fits_is_moved_and_followed(world: World) -> None:
    world.source.run(
        "create schema suite; create table suite.n (id int primary key, body varchar(16380));"
        "create table suite.loose (a int, body varchar(16370)); alter table suite.loose replica identity full;"
        "insert into suite.n select n, repeat('漢', 16000) from generate_series(1, 3) n;"
        "insert into suite.loose select n, repeat('x', 16000) from generate_series(1, 3) n"
    )
    assert failed(checked(world)) == []
    move(
        world,
        "update suite.n set body = repeat('é', 16380) where id = 2; insert into suite.n values (9, 'new');"
        "update suite.loose set body = repeat('y', 16370) where a = 2; delete from suite.loose where a = 1",
        "select id, char_length(body), left(body, 3), right(body, 3) from {0}.n order by id",
        "select a, char_length(body), left(body, 3), right(body, 3) from {0}.loose order by a",
    )


@pytest.mark.parametrize("world", [(POSTGRES, "postgres18")], indirect=True)
def test_tables_without_a_column_to_copy_are_named_before_anything_runs(world: World) -> None:
    world.source.run(
        "create schema suite; create table suite.onlyg (k int generated always as (1) stored);"
        "create table suite.zero (); create table suite.fine (id int primary key)"
    )
    found = checked(world)
    assert failed(found) == ["target.types"]
    for step in (
        lambda: extract_schema(job(world), Watch()),
        lambda: copy_data(job(world), Watch(), capture=True, resume=False),
    ):
        with pytest.raises(TypeRefused, match=r"suite\.onlyg, suite\.zero$"):
            step()
    assert found["target.types"].message.endswith("suite.onlyg, suite.zero")


@pytest.mark.parametrize("world", [(MARIADB, POSTGRES), (MYSQL, POSTGRES)], indirect=True)
def test_rows_that_a_stricter_target_refuses_are_found_on_the_source(world: World) -> None:
    world.source.run(
        "create database suite character set utf8mb4; use suite; set sql_mode = '';"
        "create table money (code varchar(3) collate utf8mb4_general_ci primary key);"
        "create table price (id int primary key, code varchar(3) collate utf8mb4_general_ci,"
        " constraint price_code foreign key (code) references money (code));"
        "create table orphan (id int primary key, code varchar(3) collate utf8mb4_general_ci,"
        " constraint orphan_code foreign key (code) references money (code));"
        "create table size (id int primary key, s enum('a', 'b') not null, t enum('', 'x'));"
        "insert into money values ('EUR'), ('usd'); insert into price values (1, 'eur'), (2, null), (3, 'usd');"
        "insert into size values (1, 'a', ''), (2, 'none', 'x');"
        "set foreign_key_checks = 0; insert into orphan values (1, 'yen')"
    )
    found = checked(world)
    assert failed(found) == ["target.rows"]
    message = found["target.rows"].message
    assert "suite.price: foreign key price_code: " in message
    assert "suite.orphan: foreign key orphan_code: " in message
    assert "suite.size.s holds" in message
    assert "suite.size.t" not in message
    world.source.run(
        "use suite; update price set code = 'EUR' where id = 1; delete from orphan;update size set s = 'b' where id = 2"
    )
    move(
        world,
        "insert into suite.price values (4, 'usd'); insert into suite.size values (3, 'b', '');",
        "select id, code from {0}.price order by id",
        "select id, s, t from {0}.size order by id",
    )


@pytest.mark.parametrize("world", [(MARIADB, POSTGRES)], indirect=True)
def test_a_foreign_key_to_what_is_not_unique_is_refused_by_name(world: World) -> None:
    world.source.run(
        "create database suite; use suite; create table up (id int primary key, a int, key (a));"
        "create table down (id int primary key, a int, constraint down_a foreign key (a) references up (a))"
    )
    found = checked(world)
    assert failed(found) == ["target.definitions"]
    assert "suite.down: foreign key down_a: " in found["target.definitions"].message


@pytest.mark.parametrize("world", [(MARIADB, POSTGRES)], indirect=True)
def test_a_question_that_takes_too_long_is_said_to_be_untested(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suspects, "QUERY_SECONDS", 0.05)
    world.source.run(
        "create database suite; use suite; create table big (id int primary key, e enum('a') not null);"
        "insert into big select seq, 'a' from seq_1_to_700000"
    )
    found = checked(world)
    assert found["target.rows"].status == "warn"
    assert found["target.rows"].message.startswith("not tested: too large: suite.big.e")


@pytest.mark.parametrize("world", [(POSTGRES, MYSQL), (MYSQL, MYSQL), (MARIADB, POSTGRES)], indirect=True)
def test_the_suites_own_tables_are_called_valid_and_moved(world: World) -> None:
    world.make(50)
    assert failed(checked(world)) == []
    move(
        world,
        "update item set body = 'later' where id < 10; insert into nokey values (7, 'later');"
        "delete from twokeys where a = 3",
        "select id, char_length(body), title from {0}.item order by id",
        "select count(*) from {0}.nokey",
        "select count(*) from {0}.twokeys",
    )


def same(world: World, query: str) -> bool:
    """Whether both ends answer the same, and something."""
    source, target = (
        side.run(query.format(side.schema)).replace("\t", "|").replace("NULL", "").strip()
        for side in (world.source, world.target)
    )
    return bool(source) and source == target


def move(world: World, change: str, *queries: str) -> None:
    """Everything that the check has called valid: definitions, rows, changes."""
    extract_schema(job(world, "schema"), Watch())
    apply_schema(job(world, "schema"), Watch(), None)
    assert failed(checked(world)) == []
    copy_data(job(world), Watch(), capture=True, resume=False)
    running = Running(lambda watch: replicate(job(world), watch, resume=False, position=None, handoff=True))
    try:
        assert all(same(world, q) for q in queries)
        world.source.change(change)
        running.wait(lambda: all(same(world, q) for q in queries), 60, "the changes to arrive", every=0.5)
    finally:
        running.end()
        clean_up(job(world), remove_capture=True)
