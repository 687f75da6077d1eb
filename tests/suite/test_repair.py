"""Repair over every pair: exactly what a report names is put right, also while rows are written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.servers.process import wait_until
from tests.suite.running import Running, Watch, replicating, settled
from tests.suite.test_move import prepare
from tests.suite.test_validate import loaded
from tests.suite.world import World
from whimbrel.connectors.mysql.target.apply import MySQLApplier
from whimbrel.connectors.postgres.target.apply import PostgresApplier
from whimbrel.pipeline.cleanup import clean_up
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.validation import repair
from whimbrel.pipeline.validation.repair import repair_data
from whimbrel.pipeline.validation.tables import validate_data

SOME = (("postgres18", "mariadb"), ("mariadb", "postgres15"))  # each applier and each way of reading a source

# One of each of the seeded kinds: missing, extra, changed by one bit, swapped, doubled, NULL beside ''.
DAMAGE = (
    "delete from item where id = 17; update item set amount = amount + 0.000001 where id in (1000, 1999);"
    "update item set body = '' where id = 7; insert into twokeys (a, b, v) values (7, 'more', null);"
    "update twokeys set v = 'v2' where a = 1 and b = 'k1'; update twokeys set v = 'v1' where a = 2 and b = 'k2';"
    "update parent set name = upper(name) where id = 50;"
)
KEYLESS = "delete from nokey where a = 3 and b is null; insert into nokey values (1, 'same'), (99, 'nobody');"


def report(world: World) -> dict[str, Any]:
    return validate_data(world.job("validate"), Watch(), 100)


def repaired(world: World, found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    result = repair_data(world.job("repair"), Watch(), found, "validate")
    tables = {t["table"].rpartition(".")[2]: t for t in result["tables"]}
    assert result["valid"] == all(t["left"] == 0 for t in tables.values()), result
    return tables


def test_what_the_report_names_is_put_right_and_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table without a key only where the source has not moved since; one server for both has, by the load itself."""
    loaded(world)
    world.target.change(DAMAGE + KEYLESS)
    found = report(world)
    world.target.change("update item set title = 'not in the report' where id = 1234")
    expected = {"parent": 1, "item": 4, "twokeys": 3, "nokey": 3}
    if world.on_one_server:
        monkeypatch.setattr(repair, "PATIENCE", 1.0)
        tables = repaired(world, found)
        assert (tables["nokey"]["repaired"], tables["nokey"]["left"]) == (0, 3)
        assert "does not rest" in tables["nokey"]["samples"][0]["why"]
        world.target.change("delete from nokey")
        world.target.run(f"insert into {world.target.schema}.nokey select * from {world.source.schema}.nokey")
        del tables["nokey"], expected["nokey"]
        found = {**found, "tables": [t for t in found["tables"] if not t["table"].endswith("nokey")]}
    else:
        tables = repaired(world, found)
    assert {t: f["repaired"] for t, f in tables.items()} == expected
    assert {t: f["left"] for t, f in tables.items()} == dict.fromkeys(tables, 0)
    assert world.differing() == ["item"]
    world.target.change("update item set title = 'title 1234' where id = 1234")
    assert world.differences() == []
    again = repaired(world, found)
    assert {t: (f["repaired"], f["already_equal"]) for t, f in again.items()} == {
        t: (0, f["named"]) for t, f in tables.items()
    }


both_ways = pytest.mark.parametrize("world", SOME, ids=["-".join(pair) for pair in SOME], indirect=True)


@contextmanager
def followed(world: World) -> Iterator[Running]:
    """Loaded, followed, damaged."""
    prepare(world, 2000)
    copy_data(world.job("op"), Watch(), capture=True, resume=False)
    with replicating(world, "op") as running:
        running.wait(lambda: running.watch.caught_up, 30, "to catch up")
        world.target.change(DAMAGE)
        yield running
        settled(world, running)
    clean_up(world.job("op"), remove_capture=True)


@both_ways
def test_a_row_that_changes_just_before_it_is_repaired_stays_as_it_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing changes it afterwards, so an older state written over the newer one would stay."""
    held = 0

    def change_first(hold: Callable[[Any], None]) -> Callable[[Any], None]:
        def hold_later(applier: Any) -> None:
            nonlocal held
            held += 1
            if held == 1:
                world.source.change(
                    "update item set title = 'meanwhile' where id in (7, 17); delete from parent where id = 50;"
                    "update twokeys set v = 'meanwhile' where a in (1, 2) and b in ('k1', 'k2')"
                )
                newest = f"select count(*) from {world.target.schema}.twokeys where v = 'meanwhile'"
                wait_until(lambda: world.target.run(newest).strip() == "2", 20, "the target to follow")
            hold(applier)

        return hold_later

    for applier in (PostgresApplier, MySQLApplier):
        monkeypatch.setattr(applier, "hold", change_first(applier.hold))
    with followed(world):
        world.source.change("update item set parent_id = 1 where parent_id = 50")
        found = report(world)
        repaired(world, found)
        assert held >= 3


@both_ways
def test_rows_are_put_right_while_they_are_written(world: World) -> None:
    stop, writes = threading.Event(), 0

    def write() -> None:
        nonlocal writes
        while not stop.is_set():
            n = writes
            world.source.change(
                f"begin; update item set score = {n} where id in (7, 17, 1000);"
                f"delete from twokeys where a = 7 and b = 'more'; insert into twokeys values (7, 'more', 'w{n}');"
                f"update parent set name = 'w{n}' where id = 50; insert into nokey values ({n}, 'w'); commit;"
            )
            writes += 1

    with followed(world):
        found = report(world)
        assert not found["valid"]
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        try:
            wait_until(lambda: writes > 3, 30, "the first writes")
            assert "item" in repaired(world, found)
            before = writes
            wait_until(lambda: writes > before + 2, 30, "writes to go on")
        finally:
            stop.set()
            writer.join(30)
