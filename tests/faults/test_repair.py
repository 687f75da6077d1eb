"""Repair through REST, with the replication running in the worker: damage on the target is found and put right."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.test_refusals import Case, made_case, side
from tests.servers.fleet import Fleet
from whimbrel.cli.client import path

__all__ = ["made_case"]  # a fixture


def test_damage_is_found_and_repaired_while_changes_flow(fleet: Fleet, made_case: Callable[..., Case]) -> None:
    made = made_case(side(fleet, "postgres15", "source"), side(fleet, "mariadb", "target"))
    operation = made.start()
    made.wait_following(operation)
    made.world.target.change(
        "delete from item where id = 17; update item set amount = amount + 0.000001 where id = 20;"
        "insert into twokeys (a, b, v) values (7, 'more', null);"
    )
    validate = path("migrations", made.name, "validate")
    found = made.api.post(validate, {})
    assert not found["valid"]
    done = made.api.post(validate, {"repair": True})
    assert (done["valid"], done["repaired"]) == (True, 3)
    assert done["report"] != ""
    assert made.api.post(validate, {})["valid"]
    made.world.source.change("update item set title = 'afterwards' where id in (17, 20)")
    made.wait_equal(operation)
    made.end(operation)
