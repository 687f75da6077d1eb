"""A target of files and SQL, end to end, in one go: what each step does there is in the tests of every pair."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.engines import SCHEMA, TABLES
from tests.pairs import first
from tests.servers.fleet import SERVERS
from tests.suite.running import Watch, replicating, settled
from tests.suite.test_move import prepare
from tests.suite.world import World
from whimbrel.connectors.registry import engine
from whimbrel.errors import ReplicaIdentityMissing, ValueRefused
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.cleanup import clean_up
from whimbrel.pipeline.fitting import check_fit
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.reset import reset_target
from whimbrel.pipeline.schema import apply_schema, extract_schema
from whimbrel.pipeline.validation.repair import repair_data
from whimbrel.pipeline.validation.tables import validate_data

FIRST = (
    ("postgres18", "snowflake"),
    ("postgres18", "databricks"),
    ("postgres18", "singlestore"),
    ("postgres18", "firebolt"),
    ("postgres18", "bigquery"),
    ("postgres18", "spanner"),
)
LATER = (
    ("mariadb", "snowflake"),
    ("mariadb", "databricks"),
    ("mysql", "databricks"),
    ("mariadb", "singlestore"),
    ("mysql", "singlestore"),
    ("mariadb", "firebolt"),
    ("mysql", "firebolt"),
    ("mariadb", "bigquery"),
    ("mysql", "bigquery"),
    ("mariadb", "spanner"),
    ("mysql", "spanner"),
)
PAIRS = first(FIRST, LATER)
ROWS = 900  # in three chunks: each statement takes long on a stand-in, and its own client reads all rows at each look
UNENFORCED = [pair for pair in FIRST if not engine(SERVERS[pair[1]]).capabilities.enforces_keys]
CHANGES = """
update item set title = 'changed' where id % 10 = 0; delete from item where id % 7 = 0;
update item set amount = amount + 1, id = id + 1000000 where id % 13 = 0;
update twokeys set b = {0} where a = 3; update parent set name = 'renamed' where id = 5;
insert into nokey values (77, 'new'), (77, 'new'); delete from nokey where a = 1 and b is null;
"""


@pytest.mark.parametrize("world", PAIRS, indirect=True)
def test_moved_followed_validated_repaired_and_reset(world: World) -> None:
    prepare(world, ROWS)
    found = check_fit(world.job("checks"), data=True, changes=True)
    assert [c for c in found if c.status == "fail"] == []
    copied = copy_data(world.job("move", rows_per_file=450), Watch(), capture=True, resume=False)
    assert copied.rows == 50 + ROWS + 400 + (60 if world.target.follows_keyless else 0)
    with replicating(world, "move") as running:
        world.source.change(CHANGES.format("b || 'x'"), CHANGES.format("concat(b, 'x')"))
        settled(world, running, 90)
    world.source.change(
        "update item set title = 'while nobody followed' where id % 9 = 0; delete from item where id = 8;"
    )
    with replicating(world, "again", resume=True, handoff=False) as running:
        settled(world, running, 90)
    assert validate_data(world.job("validate"), Watch(), 100)["valid"]

    world.target.change("update item set title = 'wrong' where id in (3, 5); delete from twokeys where b = 'k9';")
    report = validate_data(world.job("again"), Watch(), 100)
    counted = {t["table"]: t["different"] + t["missing"] for t in report["tables"]}
    wrong = {"twokeys": 1, "item": 2}
    assert counted == {f"suite.{table}": wrong.get(table, 0) for table in world.followed}
    assert repair_data(world.job("repair"), Watch(), report, "again")["valid"]
    assert world.differences() == []

    clean_up(world.job("move"))
    assert reset_target(world.job("reset"), Watch(), "drop")["tables_dropped"] == len(world.followed)


@pytest.mark.parametrize("world", first(UNENFORCED[:2], UNENFORCED[2:]), indirect=True)  # whole and per table
def test_two_rows_for_one_key_are_refused_as_nothing_there_does(world: World) -> None:
    prepare(world, rows=10)
    copy_data(world.job("move"), Watch(), capture=True, resume=False)
    world.target.change("insert into parent values (5, 'twin', 'twin@example.org')")

    def followed() -> None:
        with replicating(world, "move") as running:
            world.source.change("update parent set name = 'renamed' where id = 5")
            running.wait(lambda: False, 60, "the twin to be refused")

    with pytest.raises(ValueRefused, match=r"suite\.parent"):
        followed()


@pytest.mark.parametrize("world", first([("postgres18", "databricks")], [("postgres18", "spanner")]), indirect=True)
def test_a_table_without_a_key_is_refused_for_changes_before_its_rows_are_copied(world: World) -> None:
    def whole(operation: str) -> Job:
        return replace(world.job(operation), tables=tuple(TableName(SCHEMA, t) for t in TABLES))

    world.make(10)
    extract_schema(whole("schema"), Watch())
    apply_schema(whole("schema"), Watch(), None)
    found = {check.id: check for check in check_fit(whole("checks"), data=True, changes=True)}
    assert found["target.definitions"].status == "fail"
    assert "suite.nokey" in found["target.definitions"].message
    with pytest.raises(ReplicaIdentityMissing, match=r"suite\.nokey"):
        copy_data(whole("move"), Watch(), capture=True, resume=False)
    assert world.target.lines("nokey", ["a", "b"]) == []
    assert copy_data(whole("data"), Watch(), capture=False, resume=False).tables == len(TABLES)
    assert world.target.lines("nokey", ["a", "b"]) == world.source.lines("nokey", ["a", "b"])
