"""Schema, rows and changes of every pair, compared by the servers' own clients."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.engines import SCHEMA
from tests.servers.process import wait_until
from tests.suite.running import Watch, position_order, replicating, settled
from tests.suite.world import World
from whimbrel.errors import PositionLost, TableMissing, TargetInterrupted, TargetNotEmpty
from whimbrel.pipeline.cleanup import clean_up
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.packet import data_is_complete
from whimbrel.pipeline.schema import apply_schema, extract_schema

ROWS = 3000


def prepare(world: World, rows: int = ROWS) -> None:
    """Source filled, schema on the target."""
    world.make(rows)
    job = world.job("schema")
    assert extract_schema(job, Watch()).tables == len(world.followed)
    assert apply_schema(job, Watch(), None) == len(world.followed)


def test_schema_is_applied_twice_without_harm(world: World) -> None:
    prepare(world)
    assert apply_schema(world.job("schema"), Watch(), None) == 0
    world.source.change(f"create view {SCHEMA}.seen as select 1 as one")
    job = world.job("schema")
    told = [n for n in extract_schema(job, Watch()).notes if "not moved" in n]
    assert told == [f"{SCHEMA}: a view is not moved: seen (not-moved.sql has all definitions)"]
    assert "seen" in (job.workdir / "not-moved.sql").read_text()
    assert "seen" not in (job.workdir / "objects-schema.sql").read_text()


def test_rows_arrive_exactly(world: World) -> None:
    prepare(world)
    watch = Watch()
    job = replace(world.job("data", rows_per_file=500), verbose=True)
    result = copy_data(job, watch, capture=False, resume=False)
    assert world.differences() == []
    files = watch.tables["suite.item"].files_total
    for role, done in (("extractor", "extracted"), ("loader", "loaded")):
        told = [line for r, line in watch.lines if r == role and line.startswith("suite.item: file ") and done in line]
        assert len(told) == files
    assert (result.tables, result.rows) == (4, 50 + ROWS + 400 + 60)
    assert watch.tables["suite.item"].rows_loaded == ROWS
    assert watch.tables["suite.item"].files_total > 1
    assert not (world.job("data").workdir / "staging" / "data").exists()


@pytest.mark.parametrize("world", [("postgres15", "postgres18")], indirect=True)
def test_chunks_that_a_crash_of_the_target_took_back_are_missed(world: World) -> None:
    class Crash(Watch):
        def phase(self, name: str) -> None:
            if name == "indexes":
                world.target.run("delete from whimbrel.loaded where source_table = 'twokeys'")

    prepare(world, rows=10)
    with pytest.raises(TargetInterrupted, match=r"suite\.twokeys"):
        copy_data(world.job("data"), Crash(), capture=False, resume=False)
    copy_data(world.job("data"), Watch(), capture=False, resume=False)
    assert world.differences() == []


def test_the_target_numbers_its_own_rows_afterwards(world: World) -> None:
    prepare(world)
    copy_data(world.job("data"), Watch(), capture=False, resume=False)
    if not world.target.numbers_rows:
        with pytest.raises(Exception, match="NULL"):
            world.target.change("insert into item (small) values (7)")
        return
    world.target.change("insert into item (small) values (7)")
    assert int(world.target.run(f"select max(id) from {world.target.schema}.item")) > ROWS


def test_a_second_fresh_load_refuses_rows_that_are_there(world: World) -> None:
    prepare(world)
    copy_data(world.job("one"), Watch(), capture=False, resume=False)
    with pytest.raises(TargetNotEmpty, match="item"):
        copy_data(world.job("two"), Watch(), capture=False, resume=False)
    assert world.differing() == []


def test_without_schema_the_load_names_the_tables(world: World) -> None:
    world.make(10)
    with pytest.raises(TableMissing, match="item"):
        copy_data(world.job("data"), Watch(), capture=False, resume=False)


def test_changes_made_during_the_load_arrive_once(world: World) -> None:
    prepare(world)
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            world.source.change(
                f"begin; insert into parent values ({1000 + n}, 'new', 'n{n}@example.org');"
                f"update item set amount = amount + 1, body = 'changed {n}' where id % 97 = {n % 97};"
                f"delete from item where id = {2000 + n}; update twokeys set b = concat(b, 'x') where a = {n % 40};"
                f"insert into nokey values ({n}, 'w'); delete from nokey where a = {n % 10} and b is null; commit;"
            )

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        copy_data(world.job("op", rows_per_file=300), Watch(), capture=True, resume=False)
        with replicating(world, "op") as running:
            running.wait(lambda: running.watch.last is not None, 30, "the change phase")
            stop.set()
            writer.join(30)
            settled(world, running)
    finally:
        stop.set()
    assert data_is_complete(world.job("op"))
    clean_up(world.job("op"), remove_capture=True)


@pytest.fixture
def following(world: World) -> World:
    """A migration whose rows are loaded and whose changes can be followed."""
    prepare(world, rows=200)
    copy_data(world.job("op"), Watch(), capture=True, resume=False)
    return world


def test_keys_that_change_swap_and_come_back(following: World) -> None:
    with replicating(following, "op") as running:
        following.source.change("update item set id = 100001 where id = 1")
        following.source.change(
            "begin; update twokeys set a = 9001 where a = 1; update twokeys set a = 1 where a = 2;"
            "update twokeys set a = 2 where a = 9001; commit"
        )
        following.source.change(
            "begin; delete from item where id = 5; insert into item (id, title) values (5, 'again'); commit"
        )
        settled(following, running)
        assert running.watch.totals["suite.item"].updates == 1


def test_unique_values_that_are_swapped_between_rows(following: World) -> None:
    with replicating(following, "op") as running:
        following.source.change(
            "begin; update parent set email = 'free' where id = 1;"
            "update parent set email = 'p1@example.org' where id = 2;"
            "update parent set email = 'p2@example.org' where id = 1; commit"
        )
        settled(following, running)


def test_rows_without_a_key_keep_their_number(following: World) -> None:
    with replicating(following, "op") as running:
        following.source.change("insert into nokey values (1, 'twice'), (1, 'twice')")
        following.source.change(
            "delete from nokey where ctid = (select ctid from nokey where b = 'twice' limit 1)",
            "delete from nokey where b = 'twice' limit 1",
        )
        following.source.change("update nokey set b = 'moved' where a = 3")
        settled(following, running)


def test_truncate_and_rolled_back_work(following: World) -> None:
    with replicating(following, "op") as running:
        following.source.change("insert into twokeys values (7001, 'before', 'x'); truncate table twokeys")
        following.source.change("insert into twokeys values (7002, 'after', null)")
        following.source.change("begin; delete from item; rollback")
        following.source.change(
            "begin; insert into parent values (501, 'a', 'a501'); savepoint s;"
            "insert into parent values (502, 'b', 'b502'); rollback to savepoint s; commit"
        )
        settled(following, running)
        assert running.watch.totals["suite.twokeys"].truncates == 1


def test_pause_holds_changes_back_and_resume_lets_them_through(following: World) -> None:
    with replicating(following, "op") as running:
        running.wait(lambda: running.watch.caught_up, 30, "to catch up")
        running.watch.pause.set()
        running.wait(running.watch.resting.is_set, 10, "to come to rest")
        following.source.change("insert into parent values (700, 'late', 'late')")
        assert "700|late|late" not in following.target.rows()["parent"]
        running.watch.pause.clear()
        settled(following, running)


def test_it_goes_on_from_the_committed_position(following: World) -> None:
    """Whatever position is given with it; the log says that it is not used, and tells little unless told to."""
    with replicating(following, "op", position="nonsense") as running:
        running.wait(lambda: running.watch.caught_up, 30, "to catch up")
        following.source.change("update item set title = 'at first' where id <= 30")
        settled(following, running)
        assert [line for _, line in running.watch.lines if "position given is not used" in line]
        assert not [line for _, line in running.watch.lines if "transactions up to" in line]
    first = running.watch.last
    assert first is not None
    assert (first.updates, running.watch.totals["suite.item"].updates) == (30, 30)
    assert first.transactions == 1
    following.source.change("update item set title = 'while away' where id <= 50")
    with replicating(following, "op", before=running.watch.afterwards(age=5)) as running:
        settled(following, running)
    told = [first, *running.watch.told]
    assert (told[1].lag_seconds >= 5, told[1].lag_bytes > 0) == (True, True)
    assert (told[-1].updates, told[-1].transactions) == (80, 2)
    for earlier, later in pairwise(told):
        assert later.transactions >= earlier.transactions
        assert later.updates >= earlier.updates
        assert later.last_commit_us >= earlier.last_commit_us > 0
        assert position_order(later.position) >= position_order(earlier.position)
        assert later.lag_seconds > 0 or later.lag_bytes == 0


def test_one_large_transaction_stays_whole(following: World) -> None:
    with replicating(following, "op") as running:
        following.source.change("update item set body = repeat('y', 200000)")
        settled(following, running, seconds=90)


def test_replication_alone_starts_from_now(world: World) -> None:
    prepare(world, rows=50)
    copy_data(world.job("data"), Watch(), capture=False, resume=False)
    with replicating(world, "alone", handoff=False, verbose=True) as running:
        running.wait(lambda: running.watch.caught_up, 30, "replication to run")
        world.source.change("insert into parent values (800, 'x', 'x800'); delete from item where id = 3")
        settled(world, running)
        told = [line for _, line in running.watch.lines if "transactions up to" in line]
        assert any("suite.parent +1 ~0 -0" in line for line in told)
    clean_up(world.job("alone"), remove_capture=True)


def test_a_position_that_is_gone_is_said(following: World) -> None:
    clean_up(following.job("op"), remove_capture=True)
    if following.source.is_postgres:
        with pytest.raises(PositionLost), replicating(following, "op") as running:
            running.wait_ended(60)
        return
    lose_binary_logs(following)
    with pytest.raises(PositionLost), replicating(following, "op") as running:
        running.wait_ended(60)


def lose_binary_logs(world: World) -> None:
    """Purge all binary logs but the newest; the server silently keeps one that recovery or a dump thread needs."""
    before = binary_logs(world)

    def gone() -> bool:
        world.source.run("flush binary logs")
        world.source.run(f"purge binary logs to '{binary_logs(world)[-1]}'")
        return not set(before) & set(binary_logs(world))

    wait_until(gone, 30, "the old binary logs to be purged")


def binary_logs(world: World) -> list[str]:
    return [line.split()[0] for line in world.source.run("show binary logs").splitlines()]
