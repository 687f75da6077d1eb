"""Transactions that were prepared on a PostgreSQL source before the load began, and are committed after it: their rows
arrive once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.process import wait_until
from tests.suite.running import Running, Watch, replicating
from tests.suite.world import World
from whimbrel.pipeline.cleanup import clean_up
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.schema import apply_schema, extract_schema

PREPARED = "begin; insert into nokey values ({0}, 'prepared'); update twokeys set v = '{0}' where a = {0} - 70;"


@pytest.fixture
def prepared(world: World) -> Iterator[World]:
    """One is open on the source that has a row in a table without a key, where a row too many shows."""
    world.make(rows=5)
    extract_schema(world.job("schema"), Watch())
    apply_schema(world.job("schema"), Watch(), None)
    world.source.change(PREPARED.format(71) + "prepare transaction 'early'")
    yield world
    for gid in world.source.run("select gid from pg_prepared_xacts where database = current_database()").split():
        world.source.run(f"rollback prepared '{gid}'")


def equal(world: World) -> bool:
    both = [{t: side.rows()[t] for t in ("nokey", "twokeys")} for side in (world.source, world.target)]
    return both[0] == both[1]


@pytest.mark.parametrize("world", [("postgres15", "mysql")], indirect=True, ids=["postgres15-mysql"])
def test_what_was_prepared_before_and_is_committed_behind_arrives_once(prepared: World) -> None:
    world = prepared
    job = world.job("op")
    load = Running(lambda watch: copy_data(job, watch, capture=True, resume=False))

    def waits() -> bool:
        """The slot is being made, and is not there before the transactions that were open have ended."""
        assert load.error is None, load.error
        slots = "select count(*) from pg_replication_slots where database = current_database()"
        active = "select count(*) from pg_stat_activity where wait_event = 'transactionid'"
        return world.source.run(f"{slots} and confirmed_flush_lsn is null; {active}").split() == ["1", "1"]

    wait_until(waits, 30, "the slot to wait for the prepared transaction", 0.2)
    world.source.change(PREPARED.format(72) + "prepare transaction 'during'")
    world.source.run("commit prepared 'early'")
    world.source.run("commit prepared 'during'")  # for which the slot may wait, too
    load.wait_ended(60)
    assert load.error is None
    world.source.change(PREPARED.format(73) + "prepare transaction 'late'")
    with replicating(world, "op") as running:
        running.wait(lambda: running.watch.caught_up, 30, "to catch up", 0.2)
        assert "73" not in world.target.run("select a from suite.nokey").split()
        world.source.run("commit prepared 'late'")
        running.wait(lambda: running.watch.caught_up and equal(world), 30, "both ends to be equal", 0.3)
    shown = world.target.run("select a from suite.nokey").split()
    assert [shown.count(n) for n in ("71", "72", "73")] == [1, 1, 1]
    clean_up(job, remove_capture=True)
