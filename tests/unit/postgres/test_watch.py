"""What the catalog shows and the log does not: while nobody follows, between snapshots, and of single partitions."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace

import pytest

from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.unit.postgres.rig import SLICE, Rig, read_on, session
from tests.unit.postgres.test_stream import SHAPES, UNSEEN
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.postgres.connection import connect
from whimbrel.connectors.postgres.source import publication, slots, watch
from whimbrel.connectors.postgres.source.changes import PostgresChanges
from whimbrel.connectors.postgres.source.shapes import Look, Shape, columns_followed
from whimbrel.errors import LayoutChanged, PositionLost, SourcePermissionDenied
from whimbrel.model.names import TableName
from whimbrel.model.position import Position

PARTED = """
create table {0} (id int primary key, note text) partition by range (id);
create table {0}_a partition of {0} for values from (0) to (10);
create table {0}_b partition of {0} for values from (10) to (20);
create table {0}_c partition of {0} for values from (20) to (30);
create table {0}_empty partition of {0} for values from (30) to (40);
insert into {0} select n, 'x' from generate_series(0, 29) n;
"""


@pytest.fixture(autouse=True)
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WATCH_SECONDS", 0.1)
    monkeypatch.setattr(watch, "SOON_SECONDS", 0.0)


def name_of(rig: Rig) -> str:
    return publication.capture_name(rig.job.migration)


def begin(rig: Rig) -> Position:
    with closing(rig.open_snapshot()) as opened:
        return opened.position


def looked(stream: PostgresChanges, builder: SegmentBuilder, rig: Rig) -> None:
    """Read until the catalog was looked at after everything that is in the log by now."""
    end = slots.current_position(rig.connection)
    slots.flush_log(rig.connection)

    def read() -> bool:
        stream.read(builder, 0.05, SLICE)
        return builder.position.order >= end.order

    wait_until(read, 20, "the end of the log")
    for _ in range(3):
        time.sleep(0.11)  # the time that lies between two looks
        stream.read(builder, 0.05, SLICE)


def test_what_was_done_while_nobody_followed_is_noticed(server: Postgres) -> None:
    names = [f"t{n}" for n in range(len(UNSEEN))]
    with Rig(server, "".join(SHAPES.format(name) for name in names), *names) as rig:
        slots.prepare_changes(rig.endpoint, rig.job, rig.tables)
        for table, (ddl, kind, expected) in zip(rig.tables, UNSEEN, strict=True):
            rig.sql(f"alter publication {name_of(rig)} set (publish = 'insert, update, delete, truncate')")
            start = slots.prepare_changes(rig.endpoint, rig.job, [table])
            rig.sql(ddl.format(table.name.table, name_of(rig)))
            if "gone" in ddl or ddl in ("drop table {0}", "drop publication {1}"):
                kind, expected = PositionLost, f"does not hold {table.name}"  # under that name
            with pytest.raises(kind, match=expected.removesuffix(" whole")):
                rig.open_changes(start, [table])


def test_another_table_of_the_same_name_is_noticed(server: Postgres) -> None:
    ddl = "create table t (id int primary key); "
    with Rig(server, ddl, "t") as rig:
        start = begin(rig)
        rig.sql(f"drop table t; {ddl} alter publication {name_of(rig)} add table only t")
        with pytest.raises(LayoutChanged, match=r"public\.t: it was dropped or renamed"):
            rig.open_changes(start)


def test_what_came_and_was_followed_is_known_to_the_next_attempt(server: Postgres) -> None:
    """A partition that was new once is missed when it goes while nobody follows."""
    with Rig(server, PARTED.format("t"), "t") as rig:
        start = begin(rig)
        rig.sql("create table t_new partition of t for values from (40) to (50); insert into t values (41, 'new')")
        builder = SegmentBuilder(start)
        with closing(rig.open_changes(start)) as stream:
            looked(stream, builder, rig)
        with closing(rig.open_changes(start)):
            pass
        rig.sql("drop table t_new")
        with pytest.raises(LayoutChanged, match="detached or dropped"):
            rig.open_changes(start)


def test_a_partition_attached_while_the_load_runs_is_noticed(server: Postgres) -> None:
    ddl = PARTED.format("t") + "create table old (like t including all); insert into old values (45, 'old');"
    with Rig(server, ddl, "t") as rig:
        with closing(rig.open_snapshot()) as opened:
            rig.sql("alter table t attach partition old for values from (40) to (50)")
        with pytest.raises(LayoutChanged, match=r"partition public\.old was attached"):
            watch.require_unchanged(rig.connection, name_of(rig), rig.tables)
        with pytest.raises(LayoutChanged, match=r"partition public\.old was attached"):
            rig.open_changes(opened.position)
        assert slots.prepare_changes(rig.endpoint, rig.job, rig.tables) == opened.position  # a start that knows of it
        rig.open_changes(opened.position).close()


def test_a_publication_that_lost_a_table_between_two_snapshots_is_noticed(server: Postgres) -> None:
    with Rig(server, PARTED.format("t"), "t") as rig, closing(rig.open_snapshot()):
        rig.sql(f"alter publication {name_of(rig)} set (publish = 'insert')")
        with pytest.raises(PositionLost):
            watch.require_unchanged(rig.connection, name_of(rig), rig.tables)


def test_partitions_that_are_only_rewritten_do_not_stop_the_stream(server: Postgres) -> None:
    """VACUUM FULL, CLUSTER; and the other tablespace that a never analysed one goes to."""
    with Rig(server, PARTED.format("t"), "t") as rig:
        start = begin(rig)
        rig.sql("vacuum full t_a")
        builder = SegmentBuilder(start)
        with closing(rig.open_changes(start)) as stream:
            for statement in ("delete from t where id < 3", "vacuum full t_a", "cluster t_b using t_b_pkey"):
                rig.sql(statement)
                looked(stream, builder, rig)
            rig.sql("delete from t where id between 20 and 29")
            looked(stream, builder, rig)
            assert stream.notices() == []
            rig.sql("vacuum full t_c")  # no row is left that could prove anything
            looked(stream, builder, rig)
            assert [line for line in stream.notices() if "public.t_c is empty" in line]
            assert stream.notices() == []
        rig.sql("vacuum full t_a; vacuum full t_c")
        rig.open_changes(start).close()


@pytest.mark.parametrize("away", [False, True], ids=["followed", "away"])
@pytest.mark.parametrize(
    "after", ["", "; insert into t values (1, 'new'); analyze t_a"], ids=["empty", "filled and analysed"]
)
def test_a_partition_that_was_truncated_by_itself_stops_the_stream(server: Postgres, away: bool, after: str) -> None:
    with Rig(server, PARTED.format("t"), "t") as rig:
        start = begin(rig)
        if away:
            rig.sql(f"truncate t_a{after}")
            with pytest.raises(LayoutChanged, match=r"its partition public\.t_a was truncated by itself"):
                rig.open_changes(start)
            return
        with closing(rig.open_changes(start)) as stream:
            rig.sql(f"truncate t_empty; truncate t_a{after}")
            with pytest.raises(LayoutChanged, match=r"its partition public\.t_a was truncated by itself"):
                read_on(stream, SegmentBuilder(start))


@pytest.mark.parametrize("away", [False, True], ids=["followed", "away"])
def test_a_whole_table_that_was_truncated_goes_on(server: Postgres, away: bool) -> None:
    with Rig(server, PARTED.format("t"), "t") as rig:
        start = begin(rig)
        builder = SegmentBuilder(start)
        if away:
            rig.sql("truncate t; insert into t values (1, 'new')")
        with closing(rig.open_changes(start)) as stream:
            if not away:
                rig.sql("truncate t; insert into t values (1, 'new')")
            looked(stream, builder, rig)
            looked(stream, builder, rig)
            assert stream.notices() == []
        after = builder.cut().position
        with closing(rig.open_changes(after)) as stream:  # which begins behind the TRUNCATE
            looked(stream, SegmentBuilder(after), rig)


@pytest.mark.parametrize("away", [False, True], ids=["followed", "away"])
def test_the_only_partition_with_rows_is_told_from_the_whole(server: Postgres, away: bool) -> None:
    ddl = PARTED.format("t") + "delete from t where id >= 10; truncate t_b, t_c;"
    with Rig(server, ddl, "t") as rig:
        start = begin(rig)
        if away:
            rig.sql("truncate t_a")
        with closing(rig.open_changes(start)) as stream:
            if not away:
                rig.sql("truncate t_a")
            with pytest.raises(LayoutChanged, match=r"its partition public\.t_a was truncated by itself"):
                read_on(stream, SegmentBuilder(start))


def test_a_look_does_not_wait_for_somebody_who_changes_a_partition(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOCK_SECONDS", 0.1)
    with Rig(server, PARTED.format("t"), "t") as rig:
        start = begin(rig)
        builder = SegmentBuilder(start)
        with closing(rig.open_changes(start)) as stream, session(server, rig.source) as other:
            other.execute("lock table t_a")
            rig.sql("insert into t values (31, 'meanwhile')")
            wait_until(lambda: stream.read(builder, 0.1, SLICE) and builder.transactions == 1, 10, "the row")
            other.rollback()
            looked(stream, builder, rig)


ID, A, B = "1 23 -1 id", "2 25 -1 a", "3 25 -1 b"


@pytest.mark.parametrize(
    ("after", "followed"),
    [
        ((ID, A, B, "4 25 -1 c"), True),
        ((ID, A), True),
        ((ID, A, "3 25 -1 renamed"), True),
        ((ID, A, "3 23 -1 b"), False),
        ((ID, A, "3 25 14 b"), False),
        ((ID, A, "4 25 -1 b"), False),
        ((ID, "2 25 -1 b", "3 25 -1 a"), False),
        ((ID, "2 25 -1 c", "3 25 -1 a"), False),
    ],
)
def test_columns_that_a_target_can_follow(after: tuple[str, ...], followed: bool) -> None:
    before = Shape(7, TableName("s", "t"), (ID, A, B), frozenset(), {})
    assert columns_followed(before, replace(before, columns=after)) is followed


def test_columns_are_accepted_where_they_can_be_followed(server: Postgres) -> None:
    ddl = "create table good (id int primary key, a text, b text); create table bad (id int primary key, a text);"
    with Rig(server, ddl, "good", "bad") as rig:
        start = begin(rig)
        rig.sql("alter table good add c int; alter table bad drop a; alter table bad add a text")
        assert watch.accept_columns(rig.connection, name_of(rig), rig.tables) == (TableName("public", "good"),)
        rig.open_changes(start, rig.tables[:1]).close()
        with pytest.raises(LayoutChanged, match=r"public\.bad: its columns were changed"):
            rig.open_changes(start)


def test_what_is_kept_reads_back_whatever_the_names(server: Postgres) -> None:
    ddl = """create table "o'd\\d ""t" (id int primary key, "c 1 '\\" text unique);"""
    with Rig(server, ddl, "public.o'd\\d \"t") as rig, closing(rig.open_snapshot()):
        oids = watch.oids_of(rig.connection, rig.tables)
        kept = watch.kept(rig.connection, name_of(rig), oids)
        assert kept is not None
        (shape,) = kept.shapes.values()
        assert [c.split(" ", 3)[3] for c in shape.columns] == ["id", "c 1 '\\"]
        assert Look.from_json(kept.to_json()) == kept
        for other in ("", "a user's own words", "{}", '{"horizon": 1, "tables": [[1]]}'):
            assert Look.from_json(other) is None
        rig.sql(f"comment on publication {name_of(rig)} is 'mine'")
        assert watch.kept(rig.connection, name_of(rig), oids) is None


def test_a_publication_of_somebody_elses_is_named(server: Postgres) -> None:
    with Rig(server, PARTED.format("t"), "t") as rig:
        begin(rig)
        role = f"other_{rig.source}"
        rig.sql(f"create role {role} login")
        with closing(connect({**rig.endpoint.parameters, "user": role}, "rig")) as connection:
            with pytest.raises(SourcePermissionDenied, match="belongs to another role") as refused:
                watch.keep_present(connection, name_of(rig), rig.tables)
            assert refused.value.how_to_fix == f'Run ALTER PUBLICATION "{name_of(rig)}" OWNER TO "{role}".'
