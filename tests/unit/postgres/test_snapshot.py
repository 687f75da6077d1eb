"""Plans, snapshots, readers and what capturing needs, on real servers."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.unit.postgres.rig import Rig, session
from whimbrel.connectors.postgres.connection import connect
from whimbrel.connectors.postgres.source import publication, slots, snapshot
from whimbrel.errors import (
    SlotBlocked,
    SourceInterrupted,
    SourcePermissionDenied,
)
from whimbrel.model.chunk import Chunk, Format

TABLE = "create table t (id int primary key, note text);"
ROWS = "insert into t select i, repeat('x', 100) from generate_series(1, {}) i;"


def read(
    rig: Rig, chunk: Chunk, format: Format, opened: snapshot.PostgresSnapshot, number: int = 0
) -> tuple[int, bytes]:
    content = bytearray()
    table = rig.tables[number]
    with closing(snapshot.open_reader(rig.endpoint, rig.job, opened.token)) as reader:
        rows = reader.extract(table, table.loaded_columns, chunk, format, content.extend)
    return rows, bytes(content)


# --- plan -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("analysed", [True, False])
def test_chunks_hold_every_row_once_and_not_many_more_than_asked(server: Postgres, analysed: bool) -> None:
    with Rig(server, TABLE, "t") as rig:
        rig.sql(ROWS.format(10_000) + ("analyze t" if analysed else ""))
        chunks = snapshot.plan(rig.connection, rig.tables[0], 1000, 1 << 30)
        assert 10 <= len(chunks) <= 12
        with closing(rig.open_snapshot(capture=False)) as opened:
            found = [read(rig, c, Format.COPY_TEXT, opened) for c in chunks]
        assert max(rows for rows, _ in found) <= 1100
        ids = sorted(int(line.split(b"\t")[0]) for _, text in found for line in text.splitlines())
        assert ids == list(range(1, 10_001))
        assert [c.number for c in chunks] == list(range(len(chunks)))
        assert abs(sum(c.rows for c in chunks) - 10_000) < 200


def test_chunks_are_cut_by_bytes_with_toast_counted(server: Postgres) -> None:
    with Rig(server, TABLE + "alter table t alter note set storage external", "t") as rig:
        rig.sql("insert into t select i, repeat('x', 10000) from generate_series(1, 2000) i; analyze t")
        chunks = snapshot.plan(rig.connection, rig.tables[0], 1_000_000, 4 << 20)
        assert 4 <= len(chunks) <= 12


def test_an_empty_table_is_one_chunk(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        (chunk,) = snapshot.plan(rig.connection, rig.tables[0], 1000, 1 << 20)
        assert (chunk.bounds.pop("file") > 0, chunk) == (True, Chunk(rig.names[0], 0, {"ctid": [0, None]}, 0))


def test_a_later_snapshot_reads_rows_behind_the_planned_blocks(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        rig.sql(ROWS.format(100))
        chunks = snapshot.plan(rig.connection, rig.tables[0], 50, 1 << 20)
        rig.sql("insert into t select i, repeat('x', 100) from generate_series(101, 5000) i")
        with closing(rig.open_snapshot(capture=False)) as opened:
            assert sum(read(rig, c, Format.COPY_BINARY, opened)[0] for c in chunks) == 5000


def test_partitions_are_read_leaf_by_leaf_and_heirs_not_at_all(server: Postgres) -> None:
    ddl = """
        create table p (id int, part int, primary key (id, part)) partition by list (part);
        create table p1 partition of p for values in (1);
        create table "P 2" partition of p for values in (2) partition by range (id);
        create table p2a partition of "P 2" for values from (0) to (1000);
        create table parent (id int primary key); create table heir () inherits (parent);
    """
    with Rig(server, ddl, "p", "parent") as rig:
        rig.sql("insert into p select i, 1 + i % 2 from generate_series(0, 99) i; insert into parent values (1)")
        rig.sql("insert into heir values (2)")
        with closing(rig.open_snapshot(capture=False)) as opened:
            chunks = snapshot.plan(rig.connection, rig.tables[0], 1000, 1 << 20)
            assert [c.bounds["leaf"] for c in chunks] == [["public", "p1"], ["public", "p2a"]]
            assert [read(rig, c, Format.COPY_TEXT, opened)[0] for c in chunks] == [50, 50]
            (chunk,) = snapshot.plan(rig.connection, rig.tables[1], 1000, 1 << 20)
            assert read(rig, chunk, Format.COPY_TEXT, opened, 1) == (1, b"1\n")


@pytest.mark.parametrize(
    "change", ["truncate t", "alter table t alter id type bigint", "vacuum full t", "alter table t rename to u"]
)
def test_a_table_that_was_rewritten_after_the_plan_is_not_taken_for_an_empty_one(server: Postgres, change: str) -> None:
    with Rig(server, TABLE, "t") as rig:
        rig.sql(ROWS.format(1000))
        chunks = snapshot.plan(rig.connection, rig.tables[0], 500, 1 << 20)
        with closing(rig.open_snapshot(capture=False)) as opened:
            assert snapshot.plan_holds(rig.connection, rig.tables[0], chunks)
            rig.sql(change)
            if "rename" in change:
                rig.sql(TABLE)
            assert not snapshot.plan_holds(rig.connection, rig.tables[0], chunks)
            with pytest.raises(SourceInterrupted, match=r"public\.t was truncated or rewritten"):
                read(rig, chunks[0], Format.COPY_TEXT, opened)


# --- snapshot -------------------------------------------------------------------------------------------------------


def test_every_reader_sees_the_same_moment_and_nothing_later(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        rig.sql(ROWS.format(10))
        (chunk,) = snapshot.plan(rig.connection, rig.tables[0], 1000, 1 << 20)
        with closing(rig.open_snapshot(capture=True)) as opened:
            rig.sql("update t set note = 'later'; insert into t values (11, 'later'); delete from t where id = 1")
            first, second = (read(rig, chunk, Format.COPY_TEXT, opened) for _ in range(2))
            opened.keepalive()
            assert first == second
            assert first[0] == 10
            assert b"later" not in first[1]


def test_what_the_snapshot_does_not_show_is_what_the_slot_sends(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        rig.sql(ROWS.format(10))
        start = rig.start()
        rig.sql("insert into t values (11, 'later')")
        (segment,) = rig.follow(start)
        assert segment.counts[rig.names[0]].inserts == 1


def test_rows_written_while_the_snapshot_opens_are_the_slot_s(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table without a key, where one copy too many or too few would show."""
    with Rig(server, "create table k (v text); alter table k replica identity full;", "k") as rig:
        join = snapshot._join

        def write_first(*arguments: Any) -> None:
            rig.sql("insert into k values ('between slot and snapshot')")
            join(*arguments)

        monkeypatch.setattr(snapshot, "_join", write_first)
        rig.sql("insert into k values ('before')")
        with closing(rig.open_snapshot()) as opened:
            monkeypatch.undo()
            rig.load(opened)
            assert rig.target_sql("select v from k") == "before"
        rig.follow(opened.position)


def test_a_second_attempt_keeps_the_slot_and_replays_from_its_start(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        with closing(rig.open_snapshot()) as first:
            start = first.position
        rig.sql(ROWS.format(10))
        rig.sql("update t set id = 100 where id = 1; delete from t where id = 2")
        with closing(rig.open_snapshot()) as second:
            assert second.position == start
            rig.load(second)
        rig.follow(start)


def test_a_snapshot_that_is_gone_says_so(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        with closing(rig.open_snapshot(capture=False)) as opened:
            token = opened.token
        with pytest.raises(SourceInterrupted, match="gone"):
            snapshot.open_reader(rig.endpoint, rig.job, token)


def test_a_killed_holder_is_noticed_by_keepalive(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig, closing(rig.open_snapshot(capture=False)) as opened:
        server.psql(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            f"where application_name = 'whimbrel:{rig.job.operation}'"
        )
        with pytest.raises(SourceInterrupted):
            opened.keepalive()


def test_a_slot_that_waits_for_an_open_transaction_names_it(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "WAIT_SECONDS", 1.0)
    with Rig(server, TABLE, "t") as rig, session(server, rig.source) as writer:
        writer.execute("insert into t values (1, 'open')")
        with pytest.raises(SlotBlocked) as refused:
            rig.open_snapshot()
        assert str(writer.info.backend_pid) in refused.value.message
        wait_until(lambda: server.psql("select count(*) from pg_replication_slots") == "0", 5, "no slot half-made")
        writer.commit()
        rig.open_snapshot().close()


def test_a_slot_left_half_made_is_made_anew(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig, session(server, rig.source) as writer:
        writer.execute("insert into t values (1, 'open')")
        with closing(connect(rig.endpoint.parameters, "dead", replication=True)) as dead:
            name = publication.capture_name(rig.job.migration)
            dead.pgconn.send_query(f"CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput NOEXPORT_SNAPSHOT".encode())
            wait_until(lambda: dead.pgconn.flush() == 0, 5, "the command to be sent")
            wait_until(lambda: slots.find_slot(rig.connection, name) is not None, 5, "the slot to appear")
            found = slots.find_slot(rig.connection, name)
            assert found is not None
            assert found.confirmed is None
            assert slots.own_slot(rig.connection, name) is None
            assert slots.find_slot(rig.connection, name) is None


def test_rows_that_a_policy_hides_are_an_error(server: Postgres) -> None:
    ddl = TABLE + "alter table t enable row level security; create policy p on t using (id < 5)"
    with Rig(server, ddl, "t") as rig:
        rig.sql(ROWS.format(10))
        role = f"reader_{rig.source}"
        rig.sql(f"create role {role} login; grant select on t to {role}")
        endpoint = replace(rig.endpoint, parameters={**rig.endpoint.parameters, "user": role})
        opened = snapshot.open_snapshot(endpoint, rig.job, rig.tables, capture=False, lanes=1)
        with closing(opened), closing(snapshot.open_reader(endpoint, rig.job, opened.token)) as reader:
            (chunk,) = snapshot.plan(rig.connection, rig.tables[0], 1000, 1 << 20)
            with pytest.raises(SourcePermissionDenied, match="row-level security"):
                reader.extract(rig.tables[0], rig.tables[0].loaded_columns, chunk, Format.COPY_TEXT, bytearray().extend)


# --- formats --------------------------------------------------------------------------------------------------------

ODD = """
create type mood as enum ('sad', 'so so');
create table "Odd ""t" (
    id bigint generated always as identity primary key, flag boolean, raw bytea, moment timestamptz, local timestamp,
    numbers int[], words text[], moments timestamptz[], bits bit(3), amount numeric, price numeric(12, 2),
    ratio real, doc json, docb jsonb, day date, clock time, clockz timetz, span interval, code char(5), key uuid,
    m mood, "we""ird\\" text,
    twice bigint generated always as (id * 2) stored);
"""
ODD_ROWS = r"""
insert into "Odd ""t" (flag, raw, moment, local, numbers, words, moments, bits, amount, price, ratio, doc, docb, day,
  clock, clockz, span, code, key, m, "we""ird\") values
  (true, '\x00ff5c', '2026-11-23 13:00:00.5+02', '2026-11-23 13:00:00', '{1,NULL,-3}', '{"a b","c\"d",NULL,"\\"}',
   '{2026-11-23 13:00:00+02}', '101', 1e30, -1.50, 0.1, '{"b": 1, "a": "\n\\"}', '{"b": 1, "a": 2}', '2026-02-28',
   '23:59:59.999999', '12:00+05:30', '1 year -2 days', 'ab', '0DDB0DDB-0000-0000-0000-00000000c0de', 'so so',
   E'tab\t nl\n cr\r bs\\ b\b f\f v\x0b \\b \\\\f ''"ü 😀 \\N'),
  (false, '', 'infinity', '-infinity', '{}', '{{a,b},{c,d}}', null, '000', 'NaN', 0, '-Infinity', 'null', 'null',
   '0044-03-15 BC', '24:00', '00:00-12', '-3 hours', '', null, 'sad', ''),
  (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
   null, null)
"""


@pytest.mark.parametrize("format", [Format.COPY_BINARY, Format.COPY_TEXT])
def test_native_formats_move_every_type(server: Postgres, format: Format) -> None:
    with Rig(server, ODD, 'Odd "t') as rig:
        rig.sql(ODD_ROWS)
        with closing(rig.open_snapshot(capture=False)) as opened:
            rig.load(opened, format)
        rig.assert_equal()


def test_tab_text_is_what_load_data_reads(server: Postgres) -> None:
    with Rig(server, ODD, 'Odd "t') as rig:
        rig.sql(ODD_ROWS)
        with closing(rig.open_snapshot(capture=False)) as opened:
            (chunk,) = snapshot.plan(rig.connection, rig.tables[0], 1000, 1 << 20)
            rows, content = read(rig, chunk, Format.TAB_TEXT, opened)
        assert rows == 3
        first, second, third = content.decode().removesuffix("\n").split("\n")
        values = dict(zip((c.name for c in rig.tables[0].loaded_columns), first.split("\t"), strict=True))
        assert values == {
            "id": "1",
            "flag": "1",
            "raw": "00FF5C",
            "moment": "2026-11-23 11:00:00.5",
            "local": "2026-11-23 13:00:00",
            "numbers": "[1,null,-3]",
            "words": r'["a b","c\\"d",null,"\\\\"]',
            "moments": '["2026-11-23 11:00:00+00"]',
            "bits": "101",
            "amount": "1" + "0" * 30,
            "price": "-1.50",
            "ratio": "0.10000000149011612",
            "doc": r'{"b": 1, "a": "\\n\\\\"}',
            "docb": '{"a": 2, "b": 1}',
            "day": "2026-02-28",
            "clock": "23:59:59.999999",
            "clockz": "12:00:00+05:30",
            "span": "1 year -2 days",
            "code": "ab   ",
            "key": "0ddb0ddb-0000-0000-0000-00000000c0de",
            "m": "so so",
            'we"ird\\': "tab\\t nl\\n cr\\r bs\\\\ b\b f\f v\x0b \\\\b \\\\\\\\f '\"ü 😀 \\\\N",
        }
        assert second.split("\t")[1:3] == ["0", ""]
        assert third.split("\t")[1:] == ["\\N"] * 21


def test_escapes_of_copy_text_are_undone_only_where_they_are_escapes() -> None:
    assert snapshot.tab_text(rb"a\bb\\b\\\f\v\t\N") == b"a\bb\\\\b\\\\\f\v\\t\\N"
    block = rb"nothing \t to \\ do"
    assert snapshot.tab_text(block) is block


def test_blocks_are_large_and_hold_whole_rows(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        rig.sql(ROWS.format(20_000))
        blocks: list[bytes] = []
        with (
            closing(rig.open_snapshot(capture=False)) as opened,
            closing(snapshot.open_reader(rig.endpoint, rig.job, opened.token)) as reader,
        ):
            chunk = Chunk(rig.names[0], 0, {"ctid": [0, None]}, 0)
            table = rig.tables[0]
            reader.extract(table, table.loaded_columns, chunk, Format.COPY_TEXT, blocks.append)  # type: ignore[arg-type]
        assert len(blocks) > 3
        assert all(64 << 10 <= len(b) <= 1 << 20 for b in blocks[:-1])
        assert all(b.endswith(b"\n") for b in blocks)
