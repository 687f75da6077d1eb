"""The stream of changes itself: what it confirms, when it waits, and how it ends, on a real server."""

from __future__ import annotations

import subprocess
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from threading import Thread

import pytest

from tests.servers.postgres import Postgres, running
from tests.servers.process import wait_until
from tests.unit.postgres.rig import SLICE, Rig, read_on
from tests.unit.postgres.test_changes import TABLE
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.postgres.connection import connect
from whimbrel.connectors.postgres.source import changes, publication, slots, watch
from whimbrel.connectors.postgres.source.changes import PostgresChanges
from whimbrel.connectors.postgres.source.reading import PostgresSource
from whimbrel.connectors.protocols import Pace
from whimbrel.errors import LayoutChanged, PositionForeign, PositionLost, SourceInterrupted
from whimbrel.model.change import INSERT, Counts, TableChanges
from whimbrel.model.position import Position
from whimbrel.pipeline.changes import capture
from whimbrel.pipeline.changes.capture import Applied, Outbox


def test_an_idle_slot_moves_on_while_other_tables_are_busy(server: Postgres) -> None:
    with Rig(server, TABLE + "create table busy (id int)", "t") as rig:
        start = rig.start()
        builder = SegmentBuilder(start)
        with closing(rig.open_changes(start)) as stream:
            rig.sql("insert into busy select generate_series(1, 20000)")
            end = slots.current_position(rig.connection)

            def moved() -> bool:
                stream.read(builder, 0.1, 1 << 20)
                return builder.position.order >= end.order

            wait_until(moved, 20, "the position to move")
            segment = builder.cut()
            assert (segment.steps, segment.transactions) == ((), 0)
            stream.confirm(segment.position)
            wait_until(lambda: confirmed(rig) == end.order[0], 10, "the slot to move")


def confirmed(rig: Rig) -> int:
    slot = slots.find_slot(rig.connection, publication.capture_name(rig.job.migration))
    assert slot is not None
    assert slot.confirmed is not None
    return slot.confirmed


def test_nothing_is_forgotten_before_it_is_confirmed(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        rig.sql("insert into t values (1, 'a')")
        first = rig.capture(start)
        assert confirmed(rig) == start.order[0]
        again = rig.capture(start)
        assert [s.steps for s in first] == [s.steps for s in again]
        rig.apply(rig.applier(), again)
        rig.assert_equal()


def test_a_stream_goes_on_behind_the_last_transaction_it_was_told_of(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        rig.sql("insert into t values (1, 'a')")
        applier = rig.applier()
        (first,) = rig.capture(start)
        rig.apply(applier, [first])
        rig.sql("update t set note = note || 'b'")
        (second,) = rig.capture(first.position)
        assert second.counts[rig.names[0]] == Counts(updates=1)
        rig.apply(applier, [second])
        rig.assert_equal()


def test_read_returns_within_its_time_and_says_when_nothing_came(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        builder = SegmentBuilder(start)
        with closing(rig.open_changes(start)) as stream:
            wait_until(lambda: not stream.read(builder, 0.2, 1 << 20), 20, "the stream to fall silent")
            began = time.monotonic()
            assert not stream.read(builder, 0.2, 1 << 20) or time.monotonic() - began < 0.2
            assert time.monotonic() - began < 2


def test_a_second_worker_takes_the_slot_over(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        with closing(rig.open_changes(start)) as old, closing(rig.open_changes(start)) as new:
            builder = SegmentBuilder(start)
            with pytest.raises(SourceInterrupted):
                read_on(old, SegmentBuilder(start))
            rig.sql("insert into t values (1, 'a')")
            wait_until(lambda: new.read(builder, 0.1, 1 << 20) and builder.transactions == 1, 10, "the change")


def test_a_server_that_goes_down_interrupts(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        with closing(rig.open_changes(start)) as stream:
            server.psql(
                "select pg_terminate_backend(active_pid) from pg_replication_slots where active_pid is not null"
            )
            with pytest.raises(SourceInterrupted):
                read_on(stream, SegmentBuilder(start))
        rig.sql("insert into t values (1, 'a')")
        rig.follow(start)


def test_a_slot_that_is_gone_or_moved_on_is_never_made_anew(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        name = publication.capture_name(rig.job.migration)
        rig.sql("insert into t values (1, 'a')")
        rig.sql(f"select pg_replication_slot_advance('{name}', pg_current_wal_lsn())")
        with pytest.raises(PositionLost, match="moved on"):
            rig.open_changes(start)
        rig.sql(f"select pg_drop_replication_slot('{name}')")
        with pytest.raises(PositionLost, match="does not exist"):
            rig.open_changes(start)
        assert slots.find_slot(rig.connection, name) is None


def test_log_that_the_server_removed_is_a_lost_position(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        server.psql("alter system set max_slot_wal_keep_size = '1MB'; ")
        server.psql("select pg_reload_conf()")
        try:
            for _ in range(3):
                rig.sql("insert into t select i, repeat('x', 1000) from generate_series(1, 20000) i; delete from t")
                rig.sql("select pg_switch_wal()")
                rig.sql("checkpoint")
            with pytest.raises(PositionLost, match="invalidated"):
                rig.open_changes(start)
            assert not slots.holds(rig.connection, rig.job.migration, start)
        finally:
            server.psql("alter system reset max_slot_wal_keep_size")
            server.psql("select pg_reload_conf()")


def test_a_foreign_position_is_refused(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        with pytest.raises(PositionForeign):
            rig.open_changes(replace(start, server="1/2"))


def test_a_table_that_was_never_published_is_lost(server: Postgres) -> None:
    with Rig(server, TABLE + "create table later (id int primary key)", "t", "later") as rig:
        slots.prepare_changes(rig.endpoint, rig.job, rig.tables[:1])
        with pytest.raises(PositionLost, match=r"public\.later"):
            rig.open_changes(slots.current_position(rig.connection))


@pytest.mark.parametrize(
    ("ddl", "expected"),
    [
        ("alter table t add extra int", "column extra was added"),
        ("alter table t drop note", "column note was dropped"),
        ("alter table t rename note to remark", "column remark was added"),
        ("alter table t alter n type bigint", "column n is bigint, not integer"),
        ("alter table t alter note type varchar(5)", r"column note is character varying\(5\), not text"),
    ],
)
def test_a_changed_layout_stops_the_stream_behind_what_came_before(server: Postgres, ddl: str, expected: str) -> None:
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        builder = SegmentBuilder(start)
        with closing(rig.open_changes(start)) as stream:
            rig.sql("insert into t values (1, 'a', 1)")
            rig.sql(ddl)
            rig.sql("delete from t")
            with pytest.raises(LayoutChanged, match=expected):
                read_on(stream, builder)
        (step,) = builder.cut().steps
        assert isinstance(step, TableChanges)
        assert step.ops.to_pylist() == [INSERT]


def test_a_layout_that_only_gains_a_generated_column_goes_on(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        rig.sql("alter table t add twice int generated always as (n * 2) stored; insert into t values (1, 'a', 1)")
        segments = rig.capture(start)
        assert sum(s.transactions for s in segments) == 1


def test_log_that_an_idle_server_keeps_in_memory_is_not_lag_for_long() -> None:
    behind = "select pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn()"
    with (
        running("18", wal_writer_delay="10s") as server,
        Rig(server, TABLE, "t") as rig,
        closing(PostgresSource(rig.endpoint, "idle")) as source,
    ):
        rig.sql("set synchronous_commit = off; insert into t values (1)")
        assert rig.sql(behind) == "t"
        seen = source.current_position()
        assert source.current_position() == seen
        assert rig.sql(f"select pg_current_wal_flush_lsn() >= '{seen.text}'") == "t"


SHAPES = """
create table {0} (id int primary key, mail text, note text, unique (mail, id)) partition by range (id);
create table {0}_a partition of {0} for values from (0) to (10);
create table {0}_filled (id int primary key, mail text, note text, unique (mail, id));
insert into {0}_filled values (25);
create table {0}_empty (like {0}_filled including all);
"""
HARMLESS = """
create table {0}_b partition of {0} for values from (10) to (20); insert into {0} values (11, 'new');
alter table {0} attach partition {0}_empty for values from (30) to (40); insert into {0} values (31, 'newer');
reindex table concurrently {0}; create index on {0} (note);
"""
UNSEEN: list[tuple[str, type[Exception], str]] = [
    ("alter table {0} rename to gone", LayoutChanged, "renamed on the source, to public.gone"),
    ("drop table {0}", LayoutChanged, "dropped on the source"),
    ("alter table {0} drop note, add note text", LayoutChanged, "columns were changed on the source: note"),
    ("alter table {0} drop constraint {0}_mail_id_key", LayoutChanged, "a unique key of it was dropped"),
    ("drop table {0}_a", LayoutChanged, "a partition of it was detached or dropped"),
    ("alter table {0} attach partition {0}_filled for values from (20) to (30)", LayoutChanged, "_filled was attached"),
    ("alter publication {1} drop table only {0}", PositionLost, "does not hold public.t6 whole"),
    ("alter publication {1} set (publish = 'insert')", PositionLost, "leaves out"),
    ("drop publication {1}", PositionLost, "is gone"),
]


def _read_until(stream: PostgresChanges, builder: SegmentBuilder, *, transactions: int) -> None:
    """Read these and a moment longer, in which the catalog is looked at."""
    wait_until(lambda: stream.read(builder, 0.1, SLICE) and builder.transactions == transactions, 10, "all rows")
    stream.read(builder, 0.3, SLICE)


def test_what_the_log_does_not_show_is_noticed(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "WATCH_SECONDS", 0.1)
    names = [f"t{n}" for n in range(len(UNSEEN))]
    with Rig(server, "".join(SHAPES.format(name) for name in names), *names) as rig:
        start = rig.start()
        name = publication.capture_name(rig.job.migration)
        for table, (ddl, kind, expected) in zip(rig.tables, UNSEEN, strict=True):
            builder = SegmentBuilder(start)
            rig.sql(f"alter publication {name} set (publish = 'insert, update, delete, truncate')")
            with closing(rig.open_changes(start, [table])) as stream:
                rig.sql(HARMLESS.format(table.name.table))
                _read_until(stream, builder, transactions=2)
                rig.sql(ddl.format(table.name.table, name))
                with pytest.raises(kind, match=expected):
                    read_on(stream, builder)


@pytest.mark.parametrize(
    ("ddl", "expected"),
    [
        ("alter table t rename to gone; insert into gone values (2)", "renamed on the source"),
        (
            "alter table t drop constraint t_pkey, add primary key (id, n); insert into t values (2, '', 2)",
            "primary key",
        ),
    ],
)
def test_rows_under_another_name_or_key_stop_the_stream(server: Postgres, ddl: str, expected: str) -> None:
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        with closing(rig.open_changes(start)) as stream:
            rig.sql(ddl)
            with pytest.raises(LayoutChanged, match=expected):
                read_on(stream, SegmentBuilder(start))


def test_a_position_that_the_server_has_not_reached_is_another_servers(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        ahead = slots.position_at(start.server, start.order[0] + (1 << 40))
        with pytest.raises(PositionForeign, match="beyond the end"):
            rig.open_changes(ahead)


def test_after_a_start_of_the_server_the_slot_must_show_what_was_read_last(server: Postgres) -> None:
    """A copy of a server has its identity, its timeline and its slot; what it wrote in the place differs."""
    with Rig(server, TABLE + "create table busy (id int)", "t") as rig:
        start = rig.start()
        rig.sql("insert into t values (1, 'a')")
        rig.sql("update t set note = 'b'")
        read = rig.capture(start)[-1].position
        assert read.began > 0
        assert Position.from_json(read.to_json()) == read
        started = replace(read, began=read.began - 1)

        def foreign(position: Position) -> None:
            with pytest.raises(PositionForeign, match="copy of that server"):
                rig.open_changes(position)

        def fine(*positions: Position) -> None:
            for position in positions:
                rig.open_changes(position).close()

        fine(read, started, replace(started, told=0))
        foreign(replace(started, told=read.told - 8))
        rig.sql("insert into busy values (1)")
        idle = rig.capture(started)[-1].position
        assert (idle.told, idle.order > read.order) == (read.told, True)
        fine(replace(idle, began=1))
        rig.sql("insert into t values (2, 'of the copy')")  # where the other was idle
        beyond = slots.current_position(rig.connection)
        foreign(replace(beyond, extra=read.extra, began=1, told=read.told))
        with closing(rig.open_changes(idle)) as stream:
            stream.confirm(idle)
            wait_until(lambda: confirmed(rig) == idle.order[0], 10, "the slot to move")
        fine(replace(idle, began=1, told=7))  # the slot itself knows the point
        foreign(replace(beyond, extra=read.extra, began=1, told=read.told))


@pytest.mark.long
def test_a_copy_of_a_server_is_told_from_it_once_both_have_gone_on() -> None:
    with tempfile.TemporaryDirectory(prefix="whimbrel-twins-") as name:
        Path(name).chmod(0o711)
        first = Postgres(Path(name) / "a", "18")
        first.start()
        with Rig(first, TABLE, "t") as rig:
            start = rig.start()
            rig.sql("insert into t values (1, 'a')")
            common = rig.capture(start)[-1].position
            first.kill()
            subprocess.run(["cp", "-a", f"{first.folder}/.", f"{name}/b"], check=True)
            twin = Postgres(Path(name) / "b", "18")
            first.start()
            twin.start()
            try:
                rig.connection = connect(rig.endpoint.parameters, "rig")
                first.psql("insert into t values (2, 'original')", rig.source)
                behind = rig.capture(common)[-1].position
                twin.psql("insert into t select n, 'of the copy' from generate_series(2, 2000) n", rig.source)
                there = replace(rig.endpoint, parameters=twin.parameters(rig.source))
                changes.open_changes(there, rig.job, rig.tables, common).close()
                with pytest.raises(PositionForeign, match="copy of that server"):
                    changes.open_changes(there, rig.job, rig.tables, behind)
                rig.open_changes(behind).close()
                rig.connection.close()
            finally:
                twin.stop()
        first.stop()


def test_a_server_that_ends_silent_connections_hears_of_us_while_a_batch_is_applied(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Segments that no pipe holds wait for the applier, and the log for a place."""
    monkeypatch.setattr(capture, "ALIVE", 0.2)
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        rig.sql(f"alter database {rig.source} set wal_sender_timeout = '1s'")
        ours, theirs = Pipe()
        with closing(rig.open_changes(start)) as stream:
            outbox, pace = Outbox(theirs), Pace(60.0, 60.0, 1 << 20)

            def work() -> None:
                with suppress(EOFError):
                    capture.run(stream, SegmentBuilder(start), theirs, outbox, pace)

            thread = Thread(target=work, daemon=True)
            thread.start()
            for n in range(1, 9):
                rig.sql(f"insert into t values ({n}, repeat('x', 600000))")
            assert ours.poll(20)
            seen = [ours.recv()]
            time.sleep(4)  # the batch takes long
            assert thread.is_alive()
            assert confirmed(rig) == start.order[0]
            while sum(c.inserts for s in seen for c in s.counts.values()) < 7:
                ours.send(Applied(seen[-1].position))
                assert ours.poll(20)
                seen.append(ours.recv())
            assert thread.is_alive()
            ours.close()
            thread.join(10)
