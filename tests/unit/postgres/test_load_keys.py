"""Keys, indexes and sequences around a load, on a real server."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.servers.postgres import Postgres
from tests.unit.postgres.moving import Move
from tests.unit.postgres.test_schema import apply, database, dumped, endpoint, job, reflected, target_of
from whimbrel import errors
from whimbrel.connectors.postgres import ENGINE
from whimbrel.connectors.postgres.connection import connect
from whimbrel.connectors.postgres.target.ledger import open_ledger
from whimbrel.connectors.protocols import Claim


def keys(server: Postgres, name: str) -> str:
    return server.psql(
        "select conname, pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace"
        " and contype in ('p', 'u', 'f') union all select indexname, indexdef from pg_indexes"
        " where schemaname = 'public' order by 1, 2",
        name,
    )


def finish(move: Move) -> None:
    for source, target in zip(move.tables, move.target_tables, strict=True):
        move.target.finisher.indexes(source, target, lambda: False)
    move.target.finisher.keys(move.target_tables)


def test_keys_go_before_the_rows_and_come_back(move: Move) -> None:
    before = dumped(move.server, move.second)
    move.target.finisher.prepare(move.target_tables)
    assert keys(move.server, move.second) == ""
    move.target.finisher.prepare(move.target_tables)
    (chunk,) = move.plan("true")
    move.load(chunk, move.staged(chunk))
    for _ in range(2):
        finish(move)
    assert dumped(move.server, move.second) == before == dumped(move.server, move.first)
    assert move.server.psql("select count(*) from whimbrel.dropped", move.second) == "0"
    assert move.server.psql("select reltuples from pg_class where relname = 't'", move.second) == "3001"


def test_definitions_are_changed_by_the_owner_alone(move: Move) -> None:
    old = Claim("m", move.epoch)
    with closing(move.target.ledger("m")) as ledger:
        new = Claim("m", ledger.claim())
    before = dumped(move.server, move.second)
    with pytest.raises(errors.Fenced):
        move.target.finisher.prepare(move.target_tables, old)
    assert dumped(move.server, move.second) == before
    move.target.finisher.prepare(move.target_tables, new)
    bare = keys(move.server, move.second)
    for write in (
        lambda: move.target.finisher.indexes(move.source, move.table, lambda: False, old),
        lambda: move.target.finisher.keys(move.target_tables, old),
    ):
        with pytest.raises(errors.Fenced):
            write()
        assert keys(move.server, move.second) == bare
    for source, target in zip(move.tables, move.target_tables, strict=True):
        move.target.finisher.indexes(source, target, lambda: False, new)
    move.target.finisher.keys(move.target_tables, new)
    assert dumped(move.server, move.second) == before


def test_objects_made_by_hand_survive(move: Move) -> None:
    move.server.psql(
        "alter table t drop constraint t_pkey cascade; alter table t add constraint mine primary key (id, f);"
        "alter table t add constraint u unique (id); create index hand on t (lower(name)) where n > 1;"
        "alter index t_n_idx rename to renamed; alter table child add constraint c foreign key (id) references t (id);"
        "create view v as select id, f, name from t group by id, f",
        move.second,
    )
    before = keys(move.server, move.second)
    move.target.finisher.prepare(move.target_tables)
    assert "mine" in keys(move.server, move.second)  # the view rests on it
    assert "hand" not in keys(move.server, move.second)
    finish(move)
    assert keys(move.server, move.second) == before


def test_keys_of_filled_tables_and_of_outside_children_stay(move: Move) -> None:
    move.server.psql(
        "create table outside (id bigint references t (id)); insert into child values (null, 'x')", move.second
    )
    move.target.finisher.prepare(move.target_tables)
    assert move.server.psql("select conname from pg_constraint where contype = 'p'", move.second).split()[0]
    left = move.server.psql(
        "select conname from pg_constraint where connamespace = 'public'::regnamespace and contype <> 'n' order by 1",
        move.second,
    )
    assert left.split() == ["child_id_fkey", "outside_id_fkey", "t_pkey"]


def test_finish_stops_when_told(move: Move) -> None:
    move.target.finisher.prepare(move.target_tables)
    answers = iter([False, True, True, True])
    move.target.finisher.indexes(move.source, move.table, lambda: next(answers))
    assert len(keys(move.server, move.second).splitlines()) == 2  # one constraint with its index
    finish(move)
    assert keys(move.server, move.second) == keys(move.server, move.first)


def test_a_broken_reference_is_named_without_its_value(move: Move) -> None:
    move.target.finisher.prepare(move.target_tables)
    move.server.psql("insert into child values (424242, 'x')", move.second)
    for source, target in zip(move.tables, move.target_tables, strict=True):
        move.target.finisher.indexes(source, target, lambda: False)
    with pytest.raises(errors.ValueRefused, match="child_id_fkey") as caught:
        move.target.finisher.keys(move.target_tables)
    assert "424242" not in str(caught.value.to_json())


def sequence(server: Postgres, name: str, table: str, column: str = "id") -> str:
    return server.psql(f"select nextval(pg_get_serial_sequence('{table}', '{column}'))", name)


def test_the_next_number_does_not_collide(server: Postgres) -> None:
    sql = (
        "create table up (id serial); create table down (id int generated always as identity (increment -1));"
        "create table ahead (id bigserial); create table full_ (id smallserial); create sequence s;"
        "create table loose (id int default nextval('s'));"
        "select setval('ahead_id_seq', 500), setval('full__id_seq', 32767), nextval('down_id_seq'), setval('s', 4)"
    )
    first, second = database(server, sql), database(server)
    tables = reflected(server, first, "public.*")
    target = target_of(server, second)
    apply(target, tables, {}, "postgres")
    server.psql("insert into up values (41); insert into down overriding system value values (-9)", second)
    server.psql("insert into full_ values (32767); insert into loose values (70)", second)
    made = target.target_tables(tables, {}, "postgres")
    for _ in range(2):
        target.finisher.sequences(tables, made)
    assert sequence(server, second, "up") == "42"
    assert sequence(server, second, "down") == "-10"
    assert sequence(server, second, "ahead") == "501"
    assert server.psql("select nextval('s')", second) == "71"
    with pytest.raises(RuntimeError, match="reached maximum"):
        sequence(server, second, "full_")
    target.finisher.sequences(tables, made)
    assert sequence(server, second, "up") == "43"


def test_cleanup_ends_the_other_sessions_of_the_operation_on_its_side(move: Move) -> None:
    target = ENGINE.target(endpoint(move.server, move.second), "gone")
    with (
        closing(connect(endpoint(move.server, move.second).parameters, "gone", role="target")) as doomed,
        closing(connect(endpoint(move.server, move.second).parameters, "stays", role="target")) as kept,
        closing(connect(endpoint(move.server, move.second).parameters, "gone")) as source,
    ):
        doomed.execute("begin; create temp table staged (a int)")
        for _ in range(2):
            target.cleanup(job(operation="gone"))
        assert kept.execute("select 1").fetchone() == source.execute("select 1").fetchone() == (1,)
        left = "select count(*) from pg_stat_activity where application_name = 'whimbrel:gone:target'"
        assert move.server.psql(left) == "0"


def test_a_table_that_is_gone_is_named(move: Move) -> None:
    (chunk,) = move.plan("true")
    file = move.staged(chunk)
    move.server.psql("drop table t cascade", move.second)
    with pytest.raises(errors.TableMissing, match="t"):
        move.load(chunk, file)


def test_the_ledger_needs_no_rights_once_it_is_there(server: Postgres) -> None:
    name = database(server)
    target_of(server, name).ledger("m").close()
    server.psql(
        "drop role if exists writer; create role writer login; grant usage on schema whimbrel to writer;"
        "grant all on all tables in schema whimbrel to writer",
        name,
    )
    with closing(connect(endpoint(server, name, user="writer").parameters, "op")) as connection:
        assert open_ledger(connection, "op", "m").claim() > 0
    server.psql("drop owned by writer; drop role writer", name)
