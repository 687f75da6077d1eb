"""Rows into tables: exact, once, fenced; and the keys and indexes around them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.unit.postgres.test_schema import apply, database, dumped, endpoint, job, reflected, target_of
from whimbrel import errors
from whimbrel.connectors.postgres import ENGINE
from whimbrel.connectors.postgres.checkpoint import PostgresCheckpoint
from whimbrel.connectors.postgres.connection import connect
from whimbrel.connectors.protocols import Checkpoint, Loader, Target
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.position import Position

MOVED = """
create table t (
  id bigint generated always as identity primary key, name text, n numeric, j jsonb, b bytea, a int[], ts timestamptz,
  f float8, twice bigint generated always as (id * 2) stored, unique (name));
create index on t (n);
insert into t (name, n, j, b, a, ts, f)
select 'x' || i || E'\\t\\n\\\\"☃', case when i % 7 = 0 then 'NaN' else i / 3.0 end, jsonb_build_object('k', i),
       decode(md5(i::text), 'hex'), array[i, null], timestamptz 'epoch' + i * interval '1.000001 s',
       1 / (i + 0.1::float8)
  from generate_series(1, 3000) i;
insert into t (name) values (null);
create table child (id int references t (id), v text);
insert into child values (1, 'a'), (1, 'a'), (null, '');
"""
COLUMNS = "id, name, n, j, b, a, ts, f"


class Move:
    """A source database, a target with the same empty tables, and one claimed migration between them."""

    def __init__(self, server: Postgres, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.first, self.second = database(server, MOVED), database(server)
        self.tables = reflected(server, self.first, "public.t", "public.child")
        self.target: Target = target_of(server, self.second)
        apply(self.target, self.tables, {}, "postgres")
        self.target_tables = self.target.target_tables(self.tables, {}, "postgres")
        self.source, self.table = self.tables[0], self.target_tables[0]
        self.checkpoint: Checkpoint = self.target.checkpoint("m")
        self.epoch = self.checkpoint.claim()
        self.checkpoint.clear(self.epoch, "op")
        self.loader: Loader = self.target.open_loader(job())

    def plan(self, *wheres: str) -> list[Chunk]:
        chunks = [Chunk(self.source.name, n, {"where": w}, 10, 20) for n, w in enumerate(wheres)]
        self.checkpoint.save_plan(self.epoch, self.source, chunks)
        return chunks

    def staged(self, chunk: Chunk, format: Format = Format.COPY_BINARY) -> Path:
        """A file as psql writes it, not our reader."""
        file = self.folder / f"{chunk.number}.{format.value}"
        how = "binary" if format is Format.COPY_BINARY else "text"
        where = chunk.bounds["where"]
        self.folder.chmod(0o777)
        with psycopg.connect(self.server.dsn(self.first)) as connection, file.open("wb") as out:
            query = f"copy (select {COLUMNS} from t where {where}) to stdout (format {how})"
            with connection.cursor().copy(query.encode()) as copy:
                for block in copy:
                    out.write(block)
        return file

    def load(self, chunk: Chunk, file: Path, format: Format = Format.COPY_BINARY, *, upsert: bool = False) -> int:
        return self.loader.load(
            self.epoch, self.source, self.table, self.source.loaded_columns, chunk, format, file, upsert=upsert
        )

    def contents(self, name: str) -> str:
        return self.server.psql("select * from t order by id", name)

    def close(self) -> None:
        self.loader.close()
        self.checkpoint.close()


@pytest.fixture
def move(server: Postgres, tmp_path: Path) -> Iterator[Move]:
    with closing(Move(server, tmp_path)) as made:
        yield made


@pytest.mark.parametrize("format", [Format.COPY_BINARY, Format.COPY_TEXT])
def test_rows_arrive_exactly_and_once(move: Move, format: Format) -> None:
    low, high = move.plan("id <= 1500", "id > 1500")
    move.target.prepare_load(move.target_tables)
    for chunk, rows in ((low, 1500), (high, 1501), (low, 1500)):
        assert move.load(chunk, move.staged(chunk, format), format) == rows
    assert move.contents(move.second) == move.contents(move.first)
    state = move.checkpoint.state()
    load = state.tables[move.source.name]
    assert load.chunks == (low, high)
    assert load.loaded == {0: 1500, 1: 1501}
    assert load.fingerprint == move.source.fingerprint
    assert not load.finished


def test_two_at_once_load_a_chunk_once(move: Move) -> None:
    (chunk,) = move.plan("true")
    file = move.staged(chunk)
    rows: list[int] = []

    def run() -> None:
        with closing(move.target.open_loader(job())) as loader:
            columns = move.source.loaded_columns
            rows.append(
                loader.load(move.epoch, move.source, move.table, columns, chunk, Format.COPY_BINARY, file, upsert=False)
            )

    move.target.prepare_load(move.target_tables)  # without a key nothing but the record stops the second one
    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows == [3001] * 3
    assert move.contents(move.second) == move.contents(move.first)


def test_an_old_epoch_is_fenced_everywhere(move: Move) -> None:
    (chunk,) = move.plan("true")
    file = move.staged(chunk)
    with closing(move.target.checkpoint("m")) as newer:
        epoch = newer.claim()
        assert epoch == move.epoch + 1
    place = Position("postgres", "1", "0/1", (1,))
    for write in (
        lambda: move.load(chunk, file),
        lambda: move.loader.truncate(move.epoch, move.source.name, move.table.name),
        lambda: move.checkpoint.clear(move.epoch, "other"),
        lambda: move.checkpoint.save_plan(move.epoch, move.source, []),
        lambda: move.checkpoint.snapshot_opened(move.epoch, place, keep_older=False),
        lambda: move.checkpoint.table_finished(move.epoch, move.source.name),
        lambda: move.checkpoint.data_complete(move.epoch),
        lambda: move.checkpoint.set_position(move.epoch, place),
    ):
        with pytest.raises(errors.Fenced):
            write()
    state = move.checkpoint.state()
    assert (state.operation, state.position, state.data_complete, state.snapshots) == ("op", None, False, 0)
    assert state.tables[move.source.name].chunks == (chunk,)
    assert move.server.psql("select count(*) from t", move.second) == "0"


def test_a_claim_does_not_wait_for_a_load_and_stops_it(move: Move) -> None:
    (chunk,) = move.plan("true")
    file = move.staged(chunk)
    caught: list[BaseException] = []

    def run() -> None:
        try:
            move.load(chunk, file)
        except errors.WhimbrelError as e:
            caught.append(e)

    with psycopg.connect(move.server.dsn(move.second)) as blocker:
        blocker.execute("lock table t in exclusive mode")
        thread = threading.Thread(target=run)
        thread.start()
        waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like 'copy%'"
        wait_until(lambda: move.server.psql(waiting) == "1", 10, "the load to wait")
        with closing(move.target.checkpoint("m")) as newer:
            newer.claim()
    thread.join(20)
    assert [type(e) for e in caught] == [errors.Fenced]
    assert move.server.psql("select count(*) from t", move.second) == "0"


def test_progress_is_kept(move: Move) -> None:
    first, second = (Position("postgres", "1", f"0/{n}", (n,)) for n in (1, 2))
    move.checkpoint.snapshot_opened(move.epoch, first, keep_older=True)
    move.checkpoint.snapshot_opened(move.epoch, second, keep_older=True)
    assert move.checkpoint.position() == first
    move.checkpoint.snapshot_opened(move.epoch, second, keep_older=False)
    assert move.checkpoint.position() == second
    move.plan("true")
    move.checkpoint.table_finished(move.epoch, move.source.name)
    move.checkpoint.data_complete(move.epoch)
    state = move.checkpoint.state()
    assert (state.epoch, state.snapshots, state.data_complete) == (move.epoch, 3, True)
    assert state.tables[move.source.name].finished
    move.checkpoint.set_position(move.epoch, first)
    assert move.checkpoint.position() == first
    move.checkpoint.clear(move.epoch, "next")
    after = move.checkpoint.state()
    assert (after.epoch, after.operation, after.position, after.tables) == (move.epoch, "next", None, {})
    with closing(move.target.checkpoint("unknown")) as other:
        assert other.state().operation == ""
        assert other.position() is None


def test_the_progress_tables_are_made_by_many_at_once(server: Postgres) -> None:
    name = database(server)
    target = target_of(server, name)
    epochs: list[int] = []

    def run() -> None:
        with closing(target.checkpoint("m")) as checkpoint:
            epochs.append(checkpoint.claim())

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(epochs) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("keyed", [True, False])
def test_upsert_replaces_rows_by_key(move: Move, keyed: bool) -> None:
    old, new = move.plan("id <= 100", "id between 50 and 200")
    if not keyed:
        move.target.prepare_load(move.target_tables)
    move.load(old, move.staged(old))
    move.server.psql("update t set n = -1, name = 'old' || id", move.second)
    assert move.load(new, move.staged(new), upsert=True) == 151
    assert move.load(new, move.staged(new), upsert=True) == 151
    query = "select {} from t where id between 50 and 200 order by id"
    assert move.server.psql(query.format("*"), move.second) == move.server.psql(query.format("*"), move.first)
    assert move.server.psql("select count(*), min(n) from t where id < 50", move.second) == "49|-1"
    assert move.server.psql("select count(*) from t", move.second) == "200"


def test_truncate_forgets_the_chunks(move: Move) -> None:
    (chunk,) = move.plan("true")
    move.load(chunk, move.staged(chunk))
    move.loader.truncate(move.epoch, move.source.name, move.table.name)
    assert move.server.psql("select count(*) from t", move.second) == "0"
    assert move.checkpoint.state().tables[move.source.name].loaded == {}
    assert move.load(chunk, move.staged(chunk)) == 3001


def test_a_failed_chunk_leaves_nothing(move: Move) -> None:
    (chunk,) = move.plan("true")
    file = move.staged(chunk)
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(errors.ValueRefused):
        move.load(chunk, file)
    assert move.server.psql("select count(*) from t", move.second) == "0"
    assert move.checkpoint.state().tables[move.source.name].loaded == {}
    assert move.load(chunk, move.staged(chunk)) == 3001
    unplanned = Chunk(move.source.name, 99, None, 0)
    with pytest.raises(errors.LoaderFailed, match="not in the plan"):
        move.load(unplanned, file)


def test_triggers_on_the_target_do_not_fire(move: Move) -> None:
    move.server.psql(
        "create function f() returns trigger language plpgsql as $$ begin raise 'fired'; end $$;"
        "create trigger x before insert on t for each row execute function f()",
        move.second,
    )
    (chunk,) = move.plan("true")
    assert move.load(chunk, move.staged(chunk)) == 3001


# --- keys and indexes -----------------------------------------------------------------------------------------------


def keys(server: Postgres, name: str) -> str:
    return server.psql(
        "select conname, pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace"
        " and contype in ('p', 'u', 'f') union all select indexname, indexdef from pg_indexes"
        " where schemaname = 'public' order by 1, 2",
        name,
    )


def finish(move: Move) -> None:
    for source, target in zip(move.tables, move.target_tables, strict=True):
        move.target.finish_table(source, target, lambda: False)
    move.target.finish_keys(move.tables, move.target_tables)


def test_keys_go_before_the_rows_and_come_back(move: Move) -> None:
    before = dumped(move.server, move.second)
    move.target.prepare_load(move.target_tables)
    assert keys(move.server, move.second) == ""
    move.target.prepare_load(move.target_tables)
    (chunk,) = move.plan("true")
    move.load(chunk, move.staged(chunk))
    for _ in range(2):
        finish(move)
    assert dumped(move.server, move.second) == before == dumped(move.server, move.first)
    assert move.server.psql("select count(*) from whimbrel.dropped", move.second) == "0"
    assert move.server.psql("select reltuples from pg_class where relname = 't'", move.second) == "3001"


def test_objects_made_by_hand_survive(move: Move) -> None:
    move.server.psql(
        "alter table t drop constraint t_pkey cascade; alter table t add constraint mine primary key (id, f);"
        "alter table t add constraint u unique (id); create index hand on t (lower(name)) where n > 1;"
        "alter index t_n_idx rename to renamed; alter table child add constraint c foreign key (id) references t (id);"
        "create view v as select id, f, name from t group by id, f",
        move.second,
    )
    before = keys(move.server, move.second)
    move.target.prepare_load(move.target_tables)
    assert "mine" in keys(move.server, move.second)  # the view rests on it
    assert "hand" not in keys(move.server, move.second)
    finish(move)
    assert keys(move.server, move.second) == before


def test_keys_of_filled_tables_and_of_outside_children_stay(move: Move) -> None:
    move.server.psql(
        "create table outside (id bigint references t (id)); insert into child values (null, 'x')", move.second
    )
    move.target.prepare_load(move.target_tables)
    assert move.server.psql("select conname from pg_constraint where contype = 'p'", move.second).split()[0]
    left = move.server.psql(
        "select conname from pg_constraint where connamespace = 'public'::regnamespace and contype <> 'n' order by 1",
        move.second,
    )
    assert left.split() == ["child_id_fkey", "outside_id_fkey", "t_pkey"]


def test_finish_stops_when_told(move: Move) -> None:
    move.target.prepare_load(move.target_tables)
    answers = iter([False, True, True, True])
    move.target.finish_table(move.source, move.table, lambda: next(answers))
    assert len(keys(move.server, move.second).splitlines()) == 2  # one constraint with its index
    finish(move)
    assert keys(move.server, move.second) == keys(move.server, move.first)


def test_a_broken_reference_is_named_without_its_value(move: Move) -> None:
    move.target.prepare_load(move.target_tables)
    move.server.psql("insert into child values (424242, 'x')", move.second)
    for source, target in zip(move.tables, move.target_tables, strict=True):
        move.target.finish_table(source, target, lambda: False)
    with pytest.raises(errors.ValueRefused, match="child_id_fkey") as caught:
        move.target.finish_keys(move.tables, move.target_tables)
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
        target.sync_sequences(tables, made)
    assert sequence(server, second, "up") == "42"
    assert sequence(server, second, "down") == "-10"
    assert sequence(server, second, "ahead") == "501"
    assert server.psql("select nextval('s')", second) == "71"
    with pytest.raises(RuntimeError, match="reached maximum"):
        sequence(server, second, "full_")
    target.sync_sequences(tables, made)
    assert sequence(server, second, "up") == "43"


def test_cleanup_ends_the_other_sessions_of_the_operation(move: Move) -> None:
    target = ENGINE.target(endpoint(move.server, move.second), "gone")
    with (
        closing(connect(endpoint(move.server, move.second).parameters, "gone")) as doomed,
        closing(connect(endpoint(move.server, move.second).parameters, "stays")) as kept,
    ):
        doomed.execute("begin; create temp table staged (a int)")
        for _ in range(2):
            target.cleanup(job(operation="gone"))
        assert kept.execute("select 1").fetchone() == (1,)
        left = "select count(*) from pg_stat_activity where application_name = 'whimbrel:gone'"
        assert move.server.psql(left) == "0"


def test_a_table_that_is_gone_is_named(move: Move) -> None:
    (chunk,) = move.plan("true")
    file = move.staged(chunk)
    move.server.psql("drop table t cascade", move.second)
    with pytest.raises(errors.TableMissing, match="t"):
        move.load(chunk, file)


def test_the_checkpoint_needs_no_rights_once_it_is_there(server: Postgres) -> None:
    name = database(server)
    target_of(server, name).checkpoint("m").close()
    server.psql(
        "drop role if exists writer; create role writer login; grant usage on schema whimbrel to writer;"
        "grant all on all tables in schema whimbrel to writer",
        name,
    )
    with closing(connect(endpoint(server, name, user="writer").parameters, "op")) as connection:
        assert PostgresCheckpoint(connection, "m").claim() == 1
    server.psql("drop owned by writer; drop role writer", name)
