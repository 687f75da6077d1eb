"""Validation over every pair: no false alarm, and every seeded difference found under its own name."""

from __future__ import annotations

from typing import Any

from tests.suite.running import Watch
from tests.suite.test_move import prepare
from tests.suite.world import World
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.validation.tables import validate_data


def loaded(world: World) -> None:
    prepare(world, 2000)
    copy_data(world.job("data"), Watch(), capture=False, resume=False)


def by_table(world: World, sample: int = 100) -> dict[str, dict[str, Any]]:
    result = validate_data(world.job("validate"), Watch(), sample)
    assert result["valid"] == all(t["status"] == "equal" for t in result["tables"])
    return {t["table"].rpartition(".")[2]: t for t in result["tables"]}


def test_what_was_moved_is_equal(world: World) -> None:
    """And a sample is the same rows on both sides, or it would find differences that are not there."""
    loaded(world)
    sampled = by_table(world, 20)
    assert {t: f["status"] for t, f in sampled.items()} == dict.fromkeys(sampled, "equal")
    assert 200 < sampled["item"]["checked_rows"] < 600
    found = by_table(world)
    assert {t: f["status"] for t, f in found.items()} == dict.fromkeys(found, "equal")
    assert {t: f["checked_rows"] for t, f in found.items()} == {"parent": 50, "item": 2000, "twokeys": 400, "nokey": 60}


def test_each_seeded_difference_is_found(world: World) -> None:
    loaded(world)
    world.target.change(
        "delete from item where id = 17; update item set amount = amount + 0.000001 where id in (1000, 1999);"
        "update item set body = '' where id = 7; insert into twokeys (a, b, v) values (7, 'more', null);"
        "delete from nokey where a = 3 and b is null; update parent set name = upper(name) where id = 50"
    )
    found = by_table(world)
    counted = {t: (f["missing"], f["extra"], f["different"]) for t, f in found.items()}
    gone = int(world.source.run("select count(*) from suite.nokey where a = 3 and b is null"))
    assert gone > 0
    assert counted == {"parent": (0, 0, 1), "item": (1, 0, 3), "twokeys": (0, 1, 0), "nokey": (gone, 0, 0)}
    assert {t: f["status"] for t, f in found.items() if f["status"] == "equal"} == {}
