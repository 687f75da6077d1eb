"""Tables that join a migration, leave it, or are made later under its pattern; and what a mere position is good for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.engines import SCHEMA
from tests.pairs import first
from tests.servers.process import wait_until
from tests.suite.running import Running, Watch
from tests.suite.test_move import prepare
from tests.suite.world import World
from whimbrel.errors import PositionForeign, TableNotLoaded, TargetNotEmpty
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.changes.replication import replicate
from whimbrel.pipeline.cleanup import clean_up
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.packet import data_is_complete
from whimbrel.pipeline.validation.tables import validate_data

both_ways = pytest.mark.parametrize("world", first([("postgres18", "mysql")], [("mysql", "postgres18")]), indirect=True)


def about(job: Job, *tables: str) -> Job:
    return replace(job, tables=tuple(TableName(SCHEMA, t) for t in tables))


def caught_up(job: Job, *, resume: bool, handoff: bool) -> list[str]:
    """Follow until nothing is left to apply, then cancel as a user does; what the log said."""
    running = Running(lambda watch: replicate(job, watch, resume=resume, position=None, handoff=handoff))
    running.wait(lambda: running.watch.caught_up, 30, "lag 0")
    running.end()
    clean_up(job)
    return [line for _, line in running.watch.lines]


@both_ways
def test_a_position_without_a_load_is_no_load(world: World) -> None:
    """A table without a key would have all its rows twice."""
    prepare(world, 100)
    copy_data(world.job("load"), Watch(), capture=True, resume=False)
    caught_up(world.job("load"), resume=False, handoff=True)
    far = "FFFF/0" if world.source.is_postgres else "binlog.999999:4"
    with pytest.raises(PositionForeign):
        replicate(world.job("far"), Watch(), resume=False, position=far, handoff=False)
    assert data_is_complete(world.job("far")), "a position that was refused is not stored"
    caught_up(world.job("from now"), resume=False, handoff=False)
    assert not data_is_complete(world.job("again"))
    with pytest.raises(TargetNotEmpty, match="nokey") as refused:
        copy_data(world.job("again"), Watch(), capture=True, resume=True)
    assert "POST replication" in refused.value.how_to_fix
    world.source.change("insert into nokey values (77, 'later')")
    caught_up(world.job("resumed"), resume=True, handoff=False)
    assert world.differences() == []
    clean_up(world.job("resumed"), remove_capture=True)


@both_ways
def test_a_table_that_joins_is_copied_and_one_that_was_away_is_refused(world: World) -> None:
    prepare(world, 100)
    two = about(world.job("two"), "parent", "nokey")
    copy_data(two, Watch(), capture=True, resume=False)
    caught_up(two, resume=False, handoff=True)

    three = about(world.job("three"), "parent", "nokey", "twokeys")
    with pytest.raises(TableNotLoaded, match=r"suite\.twokeys"):
        replicate(three, Watch(), resume=True, position=None, handoff=False)
    world.source.change("update twokeys set v = 'moved' where a = 1; insert into nokey values (5, 'five')")
    assert not data_is_complete(three)
    copy_data(three, Watch(), capture=True, resume=True)
    world.source.change("update twokeys set v = 'again' where a = 2; insert into twokeys values (900, 'new', 'row')")
    caught_up(three, resume=True, handoff=True)
    ours = ("parent", "nokey", "twokeys")
    assert {t: world.target.rows()[t] for t in ours} == {t: world.source.rows()[t] for t in ours}

    caught_up(about(world.job("fewer"), "parent", "twokeys"), resume=True, handoff=False)
    world.source.change("insert into nokey values (6, 'while it was away')")
    caught_up(about(world.job("fewer still"), "parent", "twokeys"), resume=True, handoff=False)
    with pytest.raises(TableNotLoaded, match=r"suite\.nokey"):
        replicate(about(world.job("back"), *ours), Watch(), resume=True, position=None, handoff=False)
    with pytest.raises(TargetNotEmpty, match="nokey"):
        copy_data(about(world.job("back"), *ours), Watch(), capture=True, resume=True)
    world.target.change("delete from nokey")
    with pytest.raises(TableNotLoaded, match=r"nokey.*no key"):
        copy_data(about(world.job("back"), *ours), Watch(), capture=True, resume=True)
    clean_up(world.job("back"), remove_capture=True)


@both_ways
def test_a_table_made_later_under_a_pattern_stops_nobody(world: World) -> None:
    prepare(world, 100)
    every = about(world.job("every"), "*")
    copy_data(every, Watch(), capture=True, resume=False)
    world.source.change("create table later (id int primary key); insert into later values (1), (2)")
    lines = caught_up(every, resume=False, handoff=True)
    assert any("suite.later was made on the source since" in line for line in lines)
    wait_until(lambda: world.differences() == [], 20, "both ends to be equal")
    report = validate_data(about(world.job("validate"), "*"), Watch(), 100)
    found = {t["table"]: (t["status"], t["source_rows"], t["missing"]) for t in report["tables"]}
    assert found.pop("suite.later") == ("different", 2, 2)
    assert {status for status, _, _ in found.values()} == {"equal"}
    assert not report["valid"]
    clean_up(every, remove_capture=True)
