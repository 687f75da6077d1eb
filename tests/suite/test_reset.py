"""The three modes of reset, on real servers: what goes, what stays, and that the migration can begin anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.engines import TABLES
from tests.suite.running import Watch
from tests.suite.test_move import prepare
from tests.suite.test_repair import both_ways
from tests.suite.world import World
from whimbrel.errors import ReplicationFailed, ResetFailed, TargetNotEmpty
from whimbrel.model.names import TableName
from whimbrel.pipeline.changes.replication import replicate
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.packet import data_is_complete
from whimbrel.pipeline.pair import open_target
from whimbrel.pipeline.reset import reset_target
from whimbrel.pipeline.schema import apply_schema, extract_schema


def load(world: World, operation: str) -> None:
    copy_data(world.job(operation), Watch(), capture=True, resume=False)
    assert data_is_complete(world.job(operation))


def forgotten(world: World) -> bool:
    """Whether neither end nor the working directory knows how far the migration was."""
    with pytest.raises(ReplicationFailed, match="no stored position"):
        replicate(world.job("again"), Watch(), resume=True, position=None, handoff=False)
    if world.source.is_postgres:
        slots = f"select count(*) from pg_replication_slots where database = '{world.source.database}'"
        assert world.source.run(slots) == "0"
        assert world.source.run("select count(*) from pg_publication") == "0"
    return not data_is_complete(world.job("again"))


@both_ways
def test_the_three_modes(world: World) -> None:
    prepare(world, 300)
    load(world, "one")
    assert reset_target(world.job("reset"), Watch(), "metadata") == {"mode": "metadata"}
    assert world.differences() == []
    assert forgotten(world)
    with pytest.raises(TargetNotEmpty):
        load(world, "two")

    emptied = {"mode": "truncate", "tables_truncated": 4, "truncate_failed": 0, "tables_left": []}
    assert reset_target(world.job("reset"), Watch(), "truncate") == emptied
    assert not any(world.target.rows().values())
    assert forgotten(world)
    load(world, "three")
    assert world.differences() == []

    dropped = {"mode": "drop", "tables_dropped": 4, "drop_failed": 0, "tables_left": []}
    assert reset_target(world.job("reset"), Watch(), "drop") == dropped
    assert not data_is_complete(world.job("again"))
    with open_target(world.job("look")) as target:
        assert target.existing([TableName("suite", t) for t in TABLES]) == ()
    again = {"mode": "drop", "tables_dropped": 0, "drop_failed": 0, "tables_left": []}
    assert reset_target(world.job("reset"), Watch(), "drop") == again
    assert apply_schema(world.job("schema"), Watch(), None) == 4
    load(world, "four")
    assert world.differences() == []

    lost = replace(world.job("reset"), tables=(TableName("suite", "nowhere"),))
    with pytest.raises(ResetFailed, match="nowhere"):
        reset_target(lost, Watch(), "drop")
    reset_target(world.job("reset"), Watch(), "metadata")


@both_ways
def test_tables_of_somebody_else_stay(world: World) -> None:
    """Another migration made and filled them; this one only names them, and its load was refused."""
    world.make(40)
    theirs = replace(world.job("theirs"), migration="theirs")
    extract_schema(theirs, Watch())
    apply_schema(theirs, Watch(), None)
    copy_data(theirs, Watch(), capture=False, resume=False)
    rows = world.target.rows()
    assert any(rows.values())
    with pytest.raises(TargetNotEmpty):
        copy_data(world.job("one"), Watch(), capture=False, resume=False)
    names = sorted(f"{world.target.schema}.{table}" for table in TABLES)
    for mode, figures in (
        ("drop", {"tables_dropped": 0, "drop_failed": 0}),
        ("truncate", {"tables_truncated": 0, "truncate_failed": 0}),
    ):
        done = reset_target(world.job("reset"), Watch(), mode)
        assert {**done, "tables_left": sorted(done["tables_left"])} == {"mode": mode, **figures, "tables_left": names}
        assert world.target.rows() == rows
    forced = reset_target(world.job("reset"), Watch(), "drop", force=True)
    assert forced == {"mode": "drop", "tables_dropped": 4, "drop_failed": 0, "tables_left": []}
    assert apply_schema(world.job("schema"), Watch(), None) == 4
    assert reset_target(world.job("reset"), Watch(), "drop")["tables_dropped"] == 4
