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


@pytest.mark.parametrize("format", [Format.COPY_BINARY, Format.COPY_TEXT])
def test_rows_arrive_exactly_and_once(move: Move, format: Format) -> None:
    low, high = move.plan("id <= 1500", "id > 1500")
    move.target.finisher.prepare(move.target_tables)
    for chunk, rows in ((low, 1500), (high, 1501), (low, 1500)):
        assert move.load(chunk, move.staged(chunk, format), format) == rows
    assert move.contents(move.second) == move.contents(move.first)
    state = move.ledger.state()
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

    move.target.finisher.prepare(move.target_tables)  # without a key nothing but the record stops the second one
    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows == [3001] * 3
    assert move.contents(move.second) == move.contents(move.first)


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
        with closing(move.target.ledger("m")) as newer:
            newer.claim()
    thread.join(20)
    assert [type(e) for e in caught] == [errors.Fenced]
    assert move.server.psql("select count(*) from t", move.second) == "0"


def test_the_progress_tables_are_made_by_many_at_once(server: Postgres) -> None:
    name = database(server)
    target = target_of(server, name)
    epochs: list[int] = []

    def run() -> None:
        with closing(target.ledger("m")) as ledger:
            epochs.append(ledger.claim())

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(epochs) == [min(epochs) + n for n in range(6)]


@pytest.mark.parametrize("keyed", [True, False])
def test_upsert_replaces_rows_by_key(move: Move, keyed: bool) -> None:
    old, new = move.plan("id <= 100", "id between 50 and 200")
    if not keyed:
        move.target.finisher.prepare(move.target_tables)
    move.load(old, move.staged(old))
    move.server.psql("update t set n = -1, name = 'old' || id", move.second)
    assert move.load(new, move.staged(new), upsert=True) == 151
    assert move.load(new, move.staged(new), upsert=True) == 151
    query = "select {} from t where id between 50 and 200 order by id"
    assert move.server.psql(query.format("*"), move.second) == move.server.psql(query.format("*"), move.first)
    assert move.server.psql("select count(*), min(n) from t where id < 50", move.second) == "49|-1"
    assert move.server.psql("select count(*) from t", move.second) == "200"


def test_a_failed_chunk_leaves_nothing(move: Move) -> None:
    (chunk,) = move.plan("true")
    file = move.staged(chunk)
    file.path.write_bytes(file.path.read_bytes()[:-5000])
    file = staged(file.path, 3001)
    with pytest.raises(errors.ValueRefused):
        move.load(chunk, file)
    assert move.server.psql("select count(*) from t", move.second) == "0"
    assert move.ledger.state().tables[move.source.name].loaded == {}
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
    assert move.ledger.state().tables[move.source.name].loaded == {}
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
