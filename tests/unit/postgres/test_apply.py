"""Applying segments: replays, swaps of unique values, rows without a key, fencing and refusals, on real servers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.unit.postgres.rig import Rig, backends
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.postgres.source import slots
from whimbrel.connectors.postgres.target.apply import PostgresApplier, open_applier
from whimbrel.errors import (
    TargetPermissionDenied,
)
from whimbrel.model.change import DELETE, INSERT, UPDATE, UPDATE_BEFORE, Segment
from whimbrel.model.names import TableName
from whimbrel.model.position import Position

TABLE = "create table t (id int primary key, note text, n int);"
Row = tuple[int, Sequence[object]]
MISSING = object()


def segment(rig: Rig, rows: Sequence[Row], columns: Sequence[str], table: TableName | None = None) -> Segment:
    """One transaction of these rows; MISSING is a value that the log left out."""
    builder = SegmentBuilder(Position("postgres", "s", "0/1", (1,)))
    builder.begin()
    for op, values in rows:
        buffer = builder.buffer(table or rig.names[0], tuple(columns))
        for column, value in zip(buffer.columns, values, strict=True):
            if value is MISSING:
                column.unchanged()
            elif value is None:
                column.null()
            else:
                assert isinstance(value, bytes)
                column.put(value)
        buffer.row(op)
    builder.commit(Position("postgres", "s", "0/2", (2,)), 1)
    return builder.cut()


def target_rows(rig: Rig, order: str = "1") -> str:
    return rig.target_sql(f"select t::text from {rig.names[0]} t order by {order}")


# --- tables with a key ----------------------------------------------------------------------------------------------


def test_old_changes_replayed_over_newer_rows_converge(server: Postgres) -> None:
    """As after a second snapshot: the target has rows from the end of the log that is then replayed from its start."""
    ddl = (
        "create table t (id int primary key, code text unique, big text); alter table t alter big set storage external;"
    )
    with Rig(server, ddl, "t") as rig:
        start = slots.prepare_changes(rig.endpoint, rig.job, rig.tables)
        rig.sql("insert into t select i, 'c' || i, repeat('x', 5000) from generate_series(1, 20) i")
        rig.sql("begin; update t set code = '-' where id = 1; update t set code = 'c1' where id = 2; commit")
        rig.sql("update t set code = 'moved' where id = 3; update t set code = 'c3', id = 30 where id = 4")
        rig.sql(
            "delete from t where id = 5; insert into t values (50, 'c5', 'y'); update t set code = 'z' where id = 6"
        )
        with closing(rig.open_snapshot()) as opened:
            assert opened.position == start
            rig.load(opened)
        rig.follow(start)


def test_values_missing_on_the_target_are_asked_of_the_source(server: Postgres) -> None:
    ddl = "create table t (id bytea primary key, big text, raw bytea, flag boolean);"
    with Rig(server, ddl, "t") as rig:
        rig.sql(r"insert into t values ('\x00ff', 'big one', '\x5c78', true), ('\x02', 'big two', null, false)")
        rig.target_sql(r"insert into t values ('\x03', 'kept', '\x01', null)")
        rows: list[Row] = [
            (UPDATE, [b"\x00\xff", MISSING, MISSING, b"f"]),
            (UPDATE, [b"\x02", b"new", MISSING, b"t"]),
            (UPDATE, [b"\x03", MISSING, MISSING, b"t"]),
            (UPDATE, [b"\x04", MISSING, b"gone at the source", b"t"]),
            (INSERT, [b"\x05", b"whole", None, None]),
        ]
        rig.apply(rig.applier(), [segment(rig, rows, ["id", "big", "raw", "flag"])])
        assert target_rows(rig).splitlines() == [
            r'("\\x00ff","big one","\\x5c78",f)',
            r'("\\x02",new,,t)',
            r'("\\x03",kept,"\\x01",t)',
            r'("\\x05",whole,,)',
        ]
        assert rig.refetched == [[{"id": b"\x00\xff"}, {"id": b"\x02"}, {"id": b"\x04"}]]


@pytest.mark.parametrize(
    "unique",
    ["v text unique", "v text, unique nulls not distinct (v)", "v text unique deferrable initially deferred"],
)
def test_unique_values_may_swap_between_rows(server: Postgres, unique: str) -> None:
    if "nulls" not in unique or server.version == "18":
        with Rig(server, f"create table t (id int primary key, {unique}, w int);", "t") as rig:
            rig.sql("insert into t values (1, 'a'), (2, 'b'), (3, 'c')")
            start = rig.start()
            rig.sql(
                "begin; update t set v = '-' where id = 1; update t set v = 'a' where id = 2;"
                "update t set v = 'b' where id = 1; commit; begin; delete from t where id = 3;"
                "insert into t values (4, 'c'); commit"
            )
            rig.follow(start)


def test_expression_and_exclusion_indexes_are_respected(server: Postgres) -> None:
    ddl = """
        create table t (id int primary key, v text, r int4range, exclude using gist (r with &&));
        create unique index on t (lower(v)); create unique index on t (v) where id > 0;
    """
    with Rig(server, ddl, "t") as rig:
        rig.sql("insert into t values (1, 'a', '[1,3)'), (2, 'b', '[3,5)')")
        start = rig.start()
        rig.sql(
            "begin; update t set v = 'x', r = 'empty' where id = 1; update t set v = 'A', r = '[1,3)' where id = 2;"
            "update t set v = 'B', r = '[3,5)' where id = 1; commit"
        )
        rig.follow(start)


def test_a_unique_value_held_by_a_strange_row_is_freed(server: Postgres) -> None:
    with Rig(server, "create table t (id int primary key, v text unique, n int);", "t") as rig:
        rig.target_sql("insert into t values (1, 'a'), (2, 'b')")
        applier = rig.applier()
        rig.apply(applier, [segment(rig, [(INSERT, [b"3", b"a", None])], ["id", "v", "n"])])
        assert target_rows(rig).splitlines() == ["(2,b,)", "(3,a,)"]
        rig.apply(applier, [segment(rig, [(INSERT, [b"4", b"z", None])], ["id", "v", "n"])])


def test_identity_always_generated_and_not_null_domain_columns(server: Postgres) -> None:
    ddl = """
        create domain wanted as text not null; create domain deeper as wanted check (value <> '');
        create table t (id int generated always as identity primary key, d deeper,
            twice int generated always as (id * 2) stored);
        create table other (id int primary key, n int generated always as identity, d wanted);
    """
    with Rig(server, ddl, "t", "other") as rig:
        rig.sql("insert into t (d) values ('a'), ('b'); insert into other (id, d) values (1, 'x'), (2, 'y')")
        start = rig.start()
        rig.sql("update t set d = 'c' where id = 1; delete from t where id = 2; insert into t (d) values ('d')")
        rig.sql("update other set d = 'z' where id = 1; delete from other where id = 2")
        rig.follow(start)


def test_a_table_that_is_all_key(server: Postgres) -> None:
    with Rig(server, "create table t (a int, b text, primary key (b, a));", "t") as rig:
        rig.sql("insert into t values (1, 'x'), (2, 'x')")
        start = rig.start()
        rig.sql("insert into t values (3, 'y'); update t set a = 4 where a = 1; delete from t where a = 2")
        rig.follow(start)


def test_odd_names_are_quoted(server: Postgres) -> None:
    ddl = """
        create schema "S ""x"; create table "S ""x"."T %s 'q'" ("I d" int primary key, "select" text,
            "a""b\\" text unique, "%(x)s" bytea);
    """
    with Rig(server, ddl, "S \"x.T %s 'q'") as rig:
        rig.sql("insert into \"S \"\"x\".\"T %s 'q'\" values (1, 'a', 'b', '\\x00')")
        start = rig.start()
        rig.sql(
            'update "S ""x"."T %s \'q\'" set "select" = E\'a\\tb\\\\n\'; insert into "S ""x"."T %s \'q\'" values (2)'
        )
        rig.follow(start)


def test_staging_tables_are_made_once_and_survive_a_rollback(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        applier = rig.applier()
        one = segment(rig, [(INSERT, [b"1", b"a", b"1"])], ["id", "note", "n"])
        applier.apply(one, rig.refetch)
        applier.rollback()
        assert target_rows(rig) == ""
        rig.apply(applier, [one])
        applier.apply(segment(rig, [(DELETE, [b"1", None, None])], ["id", "note", "n"]), rig.refetch)
        applier.apply(segment(rig, [(INSERT, [b"2", b"b", None])], ["id", "note", "n"]), rig.refetch)
        assert target_rows(rig) == "(1,a,1)", "nothing shows before the commit"
        applier.commit(rig.epoch, one.position)
        assert target_rows(rig) == "(2,b,)"
        assert rig.target_sql("select count(*) from pg_class where relname like 'whimbrel_%' and relkind = 'r'") == "1"
        applier.close()
        wait_until(lambda: backends(server, rig.job.operation) == 0, 5, "the session to end")


# --- tables without a key -------------------------------------------------------------------------------------------


def test_of_equal_rows_exactly_as_many_go_as_were_deleted(server: Postgres) -> None:
    with Rig(server, "create table t (a int, doc json, p point);", "t") as rig:
        rig.target_sql("insert into t select 1, '{\"a\": 1}', '(1,2)' from generate_series(1, 5)")
        rig.target_sql("insert into t values (1, '{\"a\":1}', '(1,2)'), (1, null, '(1,2)'), (null, null, null)")
        image = [b"1", b'{"a": 1}', b"(1,2)"]
        rows: list[Row] = [
            (DELETE, image),
            (DELETE, image),
            (UPDATE_BEFORE, image),
            (UPDATE, [b"2", b'{"a": 1}', b"(1,2)"]),
            (DELETE, [None, None, None]),
            (INSERT, [b"7", None, None]),
            (DELETE, [b"7", None, None]),
        ]
        rig.apply(rig.applier(), [segment(rig, rows, ["a", "doc", "p"])])
        assert target_rows(rig, "t::text").splitlines() == [
            '(1,"{""a"": 1}","(1,2)")',
            '(1,"{""a"": 1}","(1,2)")',
            '(1,"{""a"":1}","(1,2)")',
            '(1,,"(1,2)")',
            '(2,"{""a"": 1}","(1,2)")',
        ]


# --- truncate, keys between tables, triggers ------------------------------------------------------------------------


def test_a_truncate_empties_what_it_names_in_its_place(server: Postgres) -> None:
    ddl = TABLE + "create table child (id int primary key, t int references t);"
    with Rig(server, ddl, "t", "child") as rig:
        rig.target_sql("insert into t values (1); insert into child values (1, 1)")
        builder = SegmentBuilder(Position("postgres", "s", "0/1", (1,)))
        builder.begin()
        builder.truncate([rig.names[0]])
        builder.commit(Position("postgres", "s", "0/2", (2,)), 1)
        rig.apply(rig.applier(), [builder.cut()])
        assert rig.target_sql("select count(*) from t") == "0"
        assert rig.target_sql("select count(*) from child") == "1", "only what the source named"


def test_the_target_s_triggers_and_cascades_stay_silent(server: Postgres) -> None:
    ddl = (
        TABLE
        + """
        create table child (id int primary key, t int references t on delete cascade);
        create table log (id int);
        create function note() returns trigger language plpgsql as
            $$ begin insert into log values (new.id); return new; end $$;
        create trigger noting after insert or update on t for each row execute function note();
    """
    )
    with Rig(server, ddl, "t", "child") as rig:
        rig.sql("insert into t values (1); insert into child values (1, 1)")
        start = rig.start()
        rig.target_sql("truncate log")
        rig.sql("insert into t values (2); begin; delete from t where id = 1; insert into t values (1);"
                "insert into child values (1, 1); commit")  # fmt: skip
        rig.follow(start)
        assert rig.target_sql("select count(*) from log") == "0"


def limited(rig: Rig, ddl: str = "") -> str:
    """A role that owns the target's tables and is nothing more."""
    role = f"limited_{rig.target}"
    rig.target_sql(
        f"create role {role} login; grant all on schema public to {role}; alter database {rig.target} owner to {role}"
    )
    rig.target_sql(f"alter table t owner to {role};{ddl.format(role=role)}")
    return role


def limited_applier(rig: Rig, role: str) -> PostgresApplier:
    endpoint = replace(rig.target_endpoint, parameters={**rig.target_endpoint.parameters, "user": role})
    return open_applier(endpoint, rig.job, rig.tables, rig.tables)


def test_a_user_that_may_not_silence_triggers_is_told_how(server: Postgres) -> None:
    with Rig(server, TABLE + "create table child (id int primary key, t int references t);", "t") as rig:
        role = limited(rig)
        with pytest.raises(TargetPermissionDenied, match=r"public\.t") as refused:
            limited_applier(rig, role)
        assert "GRANT SET ON PARAMETER session_replication_role" in refused.value.how_to_fix
        rig.target_sql(refused.value.how_to_fix.removeprefix("Run ").partition(" on the target")[0])
        limited_applier(rig, role).close()


def test_a_user_that_may_not_silence_triggers_is_fine_where_there_are_none(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        applier = limited_applier(rig, limited(rig))
        with closing(applier):
            applier.apply(segment(rig, [(INSERT, [b"1", b"a", None])], ["id", "note", "n"]), rig.refetch)
            applier.rollback()
