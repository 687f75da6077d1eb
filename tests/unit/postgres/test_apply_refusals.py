"""Applying: fencing, refusals and lost connections, on a real server."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import psycopg
import pyarrow as pa
import pytest

from tests.servers.postgres import Postgres
from tests.unit.postgres.rig import Rig
from tests.unit.postgres.test_apply import MISSING, TABLE, segment, target_rows
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.postgres.source.schema import reflect
from whimbrel.connectors.postgres.target.apply import open_applier
from whimbrel.errors import (
    LayoutChanged,
    TableMissing,
    TargetInterrupted,
    ValueRefused,
)
from whimbrel.model.change import INSERT, UPDATE
from whimbrel.model.names import TableName
from whimbrel.model.position import Position


def test_a_value_the_target_cannot_hold_is_refused_by_table_and_column(server: Postgres) -> None:
    with Rig(server, "create table t (id int primary key, day date, s varchar(3) not null);", "t") as rig:
        applier = rig.applier()
        with pytest.raises(ValueRefused, match=r"public\.t, column day") as refused:
            rig.apply(applier, [segment(rig, [(INSERT, [b"1", b"0000-00-00", b"x"])], ["id", "day", "s"])])
        assert "0000-00-00" not in refused.value.message
        assert "whimbrel_" not in refused.value.message
        with pytest.raises(ValueRefused, match=r"public\.t, column s"):
            rig.apply(applier, [segment(rig, [(INSERT, [b"1", None, b"too long"])], ["id", "day", "s"])])
        with pytest.raises(ValueRefused, match=r"public\.t, column s"):
            rig.apply(applier, [segment(rig, [(INSERT, [b"1", None, None])], ["id", "day", "s"])])
        rig.apply(applier, [segment(rig, [(INSERT, [b"1", None, b"x"])], ["id", "day", "s"])])
        assert target_rows(rig) == "(1,,x)"


def test_canonical_text_of_other_engines_becomes_the_target_s_types(server: Postgres) -> None:
    target = "create table {} (id int primary key, flag boolean, doc jsonb, big numeric(20), span interval, raw bytea);"
    source = "create table {} (id int primary key, flag smallint, doc json, big numeric(20), span text, raw bytea);"
    with Rig(server, target.format("t") + source.format("s"), "t") as rig:
        (like,) = reflect(rig.connection, [TableName("public", "s")])
        foreign = replace(like, name=rig.names[0])
        rig.applier()
        applier = open_applier(rig.target_endpoint, rig.job, [foreign], rig.tables)
        values = [b"1", b"1", b'{"b": "\\n", "a": 1}', b"18446744073709551615", b"-12:30:00.5", b"\\\x00\t"]
        with closing(applier):
            rig.apply(applier, [segment(rig, [(INSERT, values)], [c.name for c in like.columns])])
        wanted = '(1,t,"{""a"": 1, ""b"": ""\\\\n""}",18446744073709551615,-12:30:00.5,"\\\\x5c0009")'
        assert target_rows(rig) == wanted


def test_strange_tables_and_columns_are_refused(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        applier = rig.applier()
        with pytest.raises(LayoutChanged, match="extra"):
            rig.apply(applier, [segment(rig, [(INSERT, [b"1", b"a"])], ["id", "extra"])])
        with pytest.raises(TableMissing, match=r"public\.x"):
            rig.apply(applier, [segment(rig, [(INSERT, [b"1"])], ["id"], TableName("public", "x"))])
        rig.target_sql("drop table t")
        with pytest.raises(TableMissing, match=r"public\.t"):
            rig.applier()


def test_a_lost_connection_interrupts_and_leaves_nothing(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        applier = rig.applier()
        one = segment(rig, [(INSERT, [b"1", b"a", b"1"])], ["id", "note", "n"])
        applier.apply(one, rig.refetch)
        server.psql(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            f"where application_name = 'whimbrel:{rig.job.operation}:target'"
        )
        with pytest.raises(TargetInterrupted):
            applier.commit(rig.epoch, one.position)
        with pytest.raises(TargetInterrupted):
            applier.apply(one, rig.refetch)
        applier.close()
        assert target_rows(rig) == ""
        rig.apply(rig.applier(), [one])
        assert target_rows(rig) == "(1,a,1)"


def test_a_deadlock_makes_us_the_one_to_try_again(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        rig.target_sql("insert into t values (1), (2)")
        applier = rig.applier()
        with closing(psycopg.connect(server.dsn(rig.target))) as other:
            other.execute("set deadlock_timeout = '60s'")
            other.execute("update t set n = 5 where id = 2")
            applier.apply(segment(rig, [(UPDATE, [b"1", b"a", b"1"])], ["id", "note", "n"]), rig.refetch)
            other.pgconn.send_query(b"update t set n = 5 where id = 1")
            with pytest.raises(TargetInterrupted):
                applier.apply(segment(rig, [(UPDATE, [b"2", b"a", b"1"])], ["id", "note", "n"]), rig.refetch)


def test_large_batches_go_through(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        builder = SegmentBuilder(Position("postgres", "s", "0/1", (1,)))
        builder.begin()
        buffer = builder.buffer(rig.names[0], ("id", "note", "n"))
        for i in range(30_000):
            buffer.columns[0].put(b"%d" % i)
            buffer.columns[1].put(b"\\t" * 50)
            buffer.columns[2].null()
            buffer.row(INSERT)
        builder.commit(Position("postgres", "s", "0/2", (2,)), 1)
        rig.apply(rig.applier(), [builder.cut()])
        assert rig.target_sql("select count(*), min(note) = repeat(E'\\\\t', 50) from t") == "30000|t"


def test_a_refetch_without_rows_drops_the_row(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        one = segment(rig, [(UPDATE, [b"1", MISSING, b"1"])], ["id", "note", "n"])

        def nothing(table: TableName, keys: pa.RecordBatch) -> pa.RecordBatch:
            empty = pa.array([], pa.binary())
            return pa.RecordBatch.from_arrays([empty] * 3, names=["id", "note", "n"])

        applier = rig.applier()
        applier.apply(one, nothing)
        applier.commit(rig.epoch, one.position)
        assert target_rows(rig) == ""
