"""Rows into tables: exact, once, fenced; and the keys and indexes around them."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest

from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.staged import staged
from tests.unit.postgres.moving import Move
from tests.unit.postgres.test_schema import database, job, target_of
from whimbrel import errors
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.position import Position


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


def test_layouts_are_stored_beside_plans_and_are_none(move: Move) -> None:
    (chunk,) = move.plan("true")
    move.load(chunk, move.staged(chunk))
    other = replace(move.tables[0], primary_key=())
    for tables in (move.tables, (other,)):
        move.checkpoint.save_layouts(move.epoch, tables)
    state = move.checkpoint.state()
    assert state.layouts == {t.name: t.fingerprint for t in (other, move.tables[1])}
    assert list(state.tables) == [other.name]
    assert state.tables[other.name].loaded == {0: 3001}
    with pytest.raises(errors.Fenced):
        move.checkpoint.save_layouts(move.epoch - 1, move.tables)


def test_tables_are_forgotten_alone_and_all_with_a_new_beginning(move: Move) -> None:
    (chunk,) = move.plan("true")
    move.load(chunk, move.staged(chunk))
    table, other = move.tables
    place = Position("postgres", "1", "0/1", (1,))
    move.checkpoint.save_layouts(move.epoch, [other])
    move.checkpoint.forget(move.epoch, [table.name])
    state = move.checkpoint.state()
    assert (dict(state.tables), state.layouts) == ({}, {other.name: other.fingerprint})
    assert state.unknown([table.name, other.name]) == (table.name,)
    move.checkpoint.restart(move.epoch, "afresh", place, [table])
    state = move.checkpoint.state()
    assert (state.operation, state.position, state.snapshots, state.data_complete) == ("afresh", place, 0, False)
    assert (dict(state.tables), list(state.layouts)) == ({}, [table.name])
    for write in (
        lambda: move.checkpoint.forget(move.epoch - 1, [table.name]),
        lambda: move.checkpoint.restart(move.epoch - 1, "late", place, []),
    ):
        with pytest.raises(errors.Fenced):
            write()
    assert move.checkpoint.state() == state


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
    assert sorted(epochs) == [min(epochs) + n for n in range(6)]


def test_a_namesake_of_a_deleted_migration_never_comes_to_its_epochs(move: Move) -> None:
    (chunk,) = move.plan("true")
    file = move.staged(chunk)
    with closing(move.target.checkpoint("m")) as deleted:
        deleted.own([move.source.name])
        deleted.remove()
    with closing(move.target.checkpoint("m")) as namesake:
        assert namesake.owned() == frozenset(), "or its reset would drop what the other one has made"
        epochs = [namesake.claim() for _ in range(3)]
        namesake.save_plan(epochs[-1], move.source, [chunk])
        assert min(epochs) > move.epoch
    for write in (
        lambda: move.load(chunk, file),
        lambda: move.checkpoint.set_position(move.epoch, Position("postgres", "1", "0/1", (1,))),
    ):
        with pytest.raises(errors.Fenced):
            write()


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
    file.path.write_bytes(file.path.read_bytes()[:-5000])
    file = staged(file.path, 3001)
    with pytest.raises(errors.ValueRefused):
        move.load(chunk, file)
    assert move.server.psql("select count(*) from t", move.second) == "0"
    assert move.checkpoint.state().tables[move.source.name].loaded == {}
    assert move.load(chunk, move.staged(chunk)) == 3001
    unplanned = Chunk(move.source.name, 99, None, 0)
    with pytest.raises(errors.LoaderFailed, match="not in the plan"):
        move.load(unplanned, file)


@pytest.mark.parametrize(("format", "upsert"), [(Format.COPY_TEXT, False), (Format.COPY_BINARY, True)])
def test_a_file_that_is_not_what_was_written_is_not_loaded(move: Move, format: Format, upsert: bool) -> None:
    """Lost lines, one changed byte, and a reader that counted more: nothing of it stays, and no record of the chunk."""
    (chunk,) = move.plan("id <= 200")
    file = move.staged(chunk, format)
    whole = file.path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for changed in (b"".join(lines[:-1]), whole.replace(b"x7", b"x8"), b"", whole + lines[0]):
        file.path.write_bytes(changed)
        with pytest.raises(errors.StagingDamaged, match="not what was"):
            move.load(chunk, file, format, upsert=upsert)
    file.path.write_bytes(whole)
    with pytest.raises(errors.DataFailed, match="201 rows were read, but the target counts 200"):
        move.load(chunk, replace(file, rows=201), format, upsert=upsert)
    assert move.server.psql("select count(*) from t", move.second) == "0"
    assert move.checkpoint.state().tables[move.source.name].loaded == {}
    assert move.load(chunk, file, format, upsert=upsert) == 200
    file.path.unlink()
    (other,) = move.plan("id > 2900")
    with pytest.raises(errors.StagingDamaged, match="is gone"):
        move.load(other, file, format, upsert=upsert)


def test_triggers_on_the_target_do_not_fire(move: Move) -> None:
    move.server.psql(
        "create function f() returns trigger language plpgsql as $$ begin raise 'fired'; end $$;"
        "create trigger x before insert on t for each row execute function f()",
        move.second,
    )
    (chunk,) = move.plan("true")
    assert move.load(chunk, move.staged(chunk)) == 3001
