"""Capturing changes from real servers; what is captured is applied, and psql compares source and target."""

from __future__ import annotations

import random
import threading
import time
from contextlib import closing

import psycopg
import pytest

from tests.servers.postgres import Postgres
from tests.unit.postgres.rig import Rig, session
from whimbrel.model.change import Counts, TableChanges, Truncate

TABLE = "create table t (id int primary key, note text, n int);"
WIDE = "create table w (id int primary key, big text, other text); alter table w alter big set storage external;"


def test_inserts_updates_and_deletes_of_one_transaction(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        rig.sql("insert into t select i, 'row ' || i, i from generate_series(1, 10) i")
        start = rig.start()
        rig.sql(
            "begin; insert into t values (11, 'new', null); update t set note = 'changed' where id <= 3;"
            "delete from t where id = 4; insert into t values (4, 'again', 4); delete from t where id = 11; commit"
        )
        (segment,) = rig.follow(start)
        assert segment.counts == {rig.names[0]: Counts(inserts=2, updates=3, deletes=2)}
        assert segment.transactions == 1
        assert abs(segment.commit_us / 1e6 - time.time()) < 300


def test_keys_that_change_move_and_swap(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        rig.sql("insert into t select i, 'row ' || i, i from generate_series(1, 10) i")
        start = rig.start()
        rig.sql("update t set id = id + 100 where id < 4")
        rig.sql("begin; update t set id = -1 where id = 5; update t set id = 5 where id = 6;"
                "update t set id = 6 where id = -1; commit")  # fmt: skip
        rig.sql(
            "begin; delete from t where id = 7; update t set id = 7 where id = 8; insert into t values (8, 'x'); commit"
        )
        segments = rig.follow(start)
        assert sum(s.counts[rig.names[0]].updates for s in segments) == 7


def test_only_committed_work_arrives(server: Postgres) -> None:
    with Rig(server, TABLE, "t") as rig:
        start = rig.start()
        rig.sql("begin; insert into t values (1, 'rolled back'); rollback")
        rig.sql(
            "begin; insert into t values (2, 'kept'); savepoint a; insert into t values (3, 'undone');"
            "update t set note = 'undone' where id = 2; rollback to a; insert into t values (4, 'kept'); commit"
        )
        with session(server, rig.source) as slow:
            slow.execute("insert into t values (5, 'interleaved, commits last')")
            rig.sql("insert into t values (6, 'interleaved, commits first')")
            slow.execute("update t set note = note || '!' where id in (5, 6)")
            slow.commit()
        segments = rig.follow(start)
        assert sum(s.counts[rig.names[0]].inserts for s in segments) == 4


def test_a_transaction_over_several_tables_is_one(server: Postgres) -> None:
    ddl = TABLE + "create table child (id int primary key, t int references t on delete cascade);"
    with Rig(server, ddl, "t", "child") as rig:
        start = rig.start()
        rig.sql(
            "begin; insert into t values (1), (2); insert into child values (1, 1), (2, 2), (3, 2);"
            "delete from t where id = 2; commit"
        )
        (segment,) = rig.follow(start)
        assert segment.transactions == 1
        assert segment.counts[rig.names[1]] == Counts(inserts=3, deletes=2)


def test_a_truncate_stands_in_its_place(server: Postgres) -> None:
    ddl = TABLE + "create table child (id int primary key, t int references t);"
    with Rig(server, ddl, "t", "child") as rig:
        rig.sql("insert into t values (1); insert into child values (1, 1)")
        start = rig.start()
        rig.sql("begin; insert into t values (2); truncate t cascade; insert into t values (3); commit")
        (segment,) = rig.follow(start)
        assert [type(s) for s in segment.steps] == [TableChanges, Truncate, TableChanges]
        assert segment.counts[rig.names[1]] == Counts(truncates=1)
        assert rig.target_sql("select id from t") == "3"


def test_values_the_log_leaves_out_are_kept(server: Postgres) -> None:
    with Rig(server, WIDE, "w") as rig:
        rig.sql("insert into w select i, repeat(i::text, 5000), 'o' from generate_series(1, 6) i")
        start = rig.start()
        rig.sql("update w set other = 'p' where id = 1; update w set other = 'q' where id = 1")
        rig.sql(
            "begin; update w set id = 20, other = 'moved' where id = 2; update w set other = 'again' where id = 20;"
            "commit"
        )
        rig.sql(
            "begin; update w set id = -3 where id = 3; update w set id = 3 where id = 4; "
            "update w set id = 4 where id = -3; commit"
        )
        rig.sql(
            "begin; update w set big = repeat('n', 6000) where id = 5; update w set other = 'r' where id = 5; commit"
        )
        rig.sql("begin; insert into w values (7, repeat('z', 7000)); update w set other = 's' where id = 7; commit")
        rig.sql(
            "begin; delete from w where id = 6; insert into w values (6, repeat('y', 7000));"
            "update w set other = 't' where id = 6; commit"
        )
        rig.follow(start)
        assert not rig.refetched
        assert rig.target_sql("select count(*) from w where length(big) < 5000") == "0"


def test_a_transaction_larger_than_a_slice_arrives_in_slices_and_is_applied_as_one(server: Postgres) -> None:
    with Rig(server, TABLE + WIDE, "t", "w") as rig:
        rig.sql("insert into w select i, repeat('b', 3000) from generate_series(1, 50) i")
        start = rig.start()
        rig.sql(
            "begin; insert into t select i, repeat('x', 100), i from generate_series(1, 5000) i;"
            "update t set n = n + 1; update w set other = 'o'; delete from t where id % 2 = 0;"
            "update t set id = id + 100000 where id < 100; update w set other = 'p' where id < 20; commit"
        )
        segments = rig.follow(start, slice_bytes=100_000)
        assert len(segments) > 5
        assert [s.ends_transaction for s in segments[:-2]] == [False] * (len(segments) - 2)
        assert sum(s.transactions for s in segments) == 1


def test_tables_without_a_key_follow_by_whole_rows(server: Postgres) -> None:
    ddl = """
        create table k (a int, doc json, big text); alter table k replica identity full;
        alter table k alter big set storage external;
    """
    with Rig(server, ddl, "k") as rig:
        rig.sql(
            "insert into k values (1, '{}', null), (1, '{}', null), (1, '{}', null), (null, null, ''),"
            "(2, '[1]', repeat('b', 5000))"
        )
        start = rig.start()
        rig.sql("delete from k where ctid = (select min(ctid) from k where a = 1)")
        rig.sql("update k set doc = '{ }' where ctid = (select min(ctid) from k where a = 1)")
        rig.sql(
            "update k set a = 3 where a = 2; update k set a = 4 where a is null; insert into k values (1, '{}', null)"
        )
        rig.sql("begin; insert into k values (9); insert into k values (9); delete from k where a = 9; commit")
        rig.follow(start)


def test_a_key_that_is_not_the_primary_one_and_full_rows_of_a_keyed_table(server: Postgres) -> None:
    ddl = """
        create table by_index (code text not null unique, v int);
        alter table by_index replica identity using index by_index_code_key;
        create table full_row (a int, b text, v text, primary key (b, a)); alter table full_row replica identity full;
        alter table full_row alter v set storage external;
    """
    with Rig(server, ddl, "by_index", "full_row") as rig:
        rig.sql(
            "insert into by_index values ('a', 1), ('b', 2); insert into full_row values (1, 'x', repeat('v', 5000))"
        )
        start = rig.start()
        rig.sql("update by_index set v = 3 where code = 'a'; update by_index set code = 'c' where code = 'b'")
        rig.sql(
            "delete from by_index where code = 'a'; update full_row set b = 'y'; "
            "update full_row set a = 2, v = v || 'w'"
        )
        rig.follow(start)


def test_keys_that_are_equal_in_several_spellings(server: Postgres) -> None:
    ddl = "create table num (k numeric primary key, v int); create table f (k float8 primary key, v int);"
    with Rig(server, ddl, "num", "f") as rig:
        rig.sql("insert into num values (1.0, 1), (2, 2), (3, 3); insert into f values (0, 1)")
        start = rig.start()
        rig.sql("begin; update num set k = 1.00 where k = 1; update f set k = '-0';"
                "delete from num where k = 2; insert into num values (2.000, 4); commit;"
                "update num set v = 5 where k = 3.0")  # fmt: skip
        rig.follow(start)


def test_keys_that_fold_case(server: Postgres) -> None:
    if server.psql("select count(*) from pg_config where setting like '%--with-icu%'") == "0":
        pytest.skip("this server was built without ICU")
    ddl = """
        create collation folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
        create table c (k text collate folding primary key, big text); alter table c alter big set storage external;
    """
    with Rig(server, ddl, "c") as rig:
        rig.sql("insert into c values ('a', repeat('b', 5000)), ('d', 'd')")
        start = rig.start()
        rig.sql("begin; update c set k = 'A' where k = 'a'; delete from c where k = 'd';"
                "insert into c values ('D', 'n'); commit")  # fmt: skip
        rig.follow(start)


def test_partitions_arrive_under_their_parent(server: Postgres) -> None:
    source_ddl = """
        create table p (id int, part int, primary key (id, part)) partition by list (part);
        create table p1 partition of p for values in (1); create table p2 partition of p for values in (2);
    """
    with Rig(server, source_ddl, "p") as rig:
        start = rig.start()
        rig.sql("insert into p values (1, 1), (2, 2); update p set part = 2 where id = 1; delete from p where id = 2")
        segments = rig.follow(start)
        assert {name for s in segments for name in s.counts} == {rig.names[0]}


ALL_TYPES = """
create type mood as enum ('sad', 'so so'); create domain positive as numeric check (value > 0);
create type pair as (a int, b text);
create table every (
    id int primary key, flag boolean, i2 smallint, i8 bigint, amount numeric, price numeric(12, 2), f4 real, f8 float8,
    note text, short varchar(10), code char(5), raw bytea, day date, clock time(3), clockz timetz, local timestamp,
    moment timestamptz, span interval, doc json, docb jsonb, key uuid, m mood, bits bit(3), vbits varbit, numbers int[],
    words text[], raws bytea[], moments timestamptz[], pos positive, net inet, mac macaddr, place point, r int4range,
    p pair, cash money, v tsvector, twice int generated always as (id * 2) stored, "odd ""name" text);
"""
ALL_VALUES = [
    r"""true, 1, -9223372036854775808, 123456789012345678901234567890.123, -1.50, 0.1, 1e-300, E'a\tb\nc\\d\re\bf ü😀',
        'x', 'ab', '\x00ff5c78', '2026-11-23', '13:00:00.123', '13:00+05:30', '2026-11-23 13:00:00.000001',
        '2026-11-23 13:00:00+02', '1 year 2 mons -3 days 04:05:06.7', '{"b": 1,  "a": [null]}', '{"b": 1, "a": "\\"}',
        '0DDB0DDB-0000-0000-0000-00000000C0DE', 'so so', '101', '0011', '{1,NULL,-3}', '{"a b","c\"d",NULL,"\\",""}',
        '{"\\x00ff"}', '{2026-11-23 13:00:00+02}', 1.0, '10.0.0.0/8', '08:00:2b:01:02:03', '(1,2.5)', '[1,5)',
        '(1,"a b")', '-12.34', 'a:1 b'""",
    r"""false, 32767, 9223372036854775807, 'NaN', 0, 'NaN', '-Infinity', '', '', '', '', 'infinity', '24:00',
        '00:00-12', '-infinity', '0044-03-15 12:00:00+00 BC', '-1 mon', 'null', 'null', null, 'sad', '000', '', '{}',
        '{{a,b},{c,d}}', '{}', '{infinity}', 0.00001, '::1', null, '(NaN,0)', 'empty', '(,)', '0', ''""",
    r"""null, null, null, 'Infinity', 9999999999.99, '-0', '-0', '\N', '\.', null, '\x', '294276-01-01', '00:00',
        null, '294276-12-31 23:59:59.999999', '1900-01-01 00:00:00+00', '178000000 years', '"\u0041\\n"',
        '{"a": 1e400}', null, null, null, null, '[5:6]={7,8}', '{NULL,"NULL","{}"}', null, null, 1e100, null, null,
        null, null, '(,)', null, null""",
]  # fmt: skip


def test_a_changed_value_is_the_value_a_snapshot_reads(server: Postgres) -> None:
    columns = (
        "flag, i2, i8, amount, price, f4, f8, note, short, code, raw, day, clock, clockz, local, moment, span, doc,"
    )
    columns += "docb, key, m, bits, vbits, numbers, words, raws, moments, pos, net, mac, place, r, p, cash, v"
    with Rig(server, ALL_TYPES, "every") as rig:
        for i, values in enumerate(ALL_VALUES):
            rig.sql(f"insert into every (id, {columns}) values ({i}, {values})")
        start = rig.start()
        rig.assert_equal()
        for i, values in enumerate(ALL_VALUES):
            rig.sql(f"insert into every (id, {columns}) values ({i + 10}, {values})")
            rig.sql(f"update every set ({columns}) = row({ALL_VALUES[i - 1]}) where id = {i}")
        rig.follow(start)


def test_writers_that_never_rest_during_the_load_lose_nothing(server: Postgres) -> None:
    """Two writers, keyed and keyless tables, key changes and rollbacks, all while the snapshot opens and loads."""
    ddl = TABLE + "create table k (v int, w text); alter table k replica identity full;"
    with Rig(server, ddl, "t", "k") as rig:
        rig.sql(
            "insert into t select i, repeat('x', 200), i from generate_series(1, 5000) i;"
            "insert into k select i % 50 from generate_series(1, 200) i"
        )
        stop = threading.Event()
        writers = [threading.Thread(target=write_until, args=(rig, stop, seed)) for seed in (1, 2)]
        for writer in writers:
            writer.start()
        try:
            start = rig.start()
            segments = rig.capture(start)
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        applier = rig.applier()
        rig.apply(applier, segments)
        rig.apply(applier, rig.capture(segments[-1].position))
        rig.assert_equal()
        assert sum(s.transactions for s in segments) > 10


def write_until(rig: Rig, stop: threading.Event, seed: int) -> None:
    """Small random transactions; two writers that meet on a row wait for each other or begin again."""
    chance = random.Random(seed)
    with closing(session(rig.server, rig.source)) as connection:
        while not stop.is_set():
            statements = [
                f"update t set n = n + 1 where id = {chance.randint(1, 6000)}",
                f"update t set id = -id where id = {chance.randint(1, 6000)}",
                f"delete from t where id = {chance.randint(-6000, 6000)}",
                f"insert into t values ({chance.randint(5001, 6000)}, 'new') on conflict do nothing",
                f"insert into k values ({chance.randint(1, 50)})",
                f"update k set w = coalesce(w, '') || 'w' where v = {chance.randint(1, 50)}",
                f"delete from k where ctid = (select ctid from k where v = {chance.randint(1, 50)} limit 1)",
            ]
            try:
                for statement in chance.sample(statements, 4):
                    connection.execute(statement.encode())
                connection.rollback() if chance.random() < 0.1 else connection.commit()
            except psycopg.OperationalError:
                connection.rollback()
