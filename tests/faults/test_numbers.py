"""Whoever goes over to the target, whenever that is, can insert there: no number is given twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.faults.plant import Migration, Plant
from tests.faults.test_refusals import Case, made_case, side
from tests.pairs import first
from tests.servers.fleet import Fleet
from tests.servers.process import wait_until
from whimbrel.cli.client import path

__all__ = ["made_case"]  # a fixture

INSERTS = "".join(f"insert into item (title) values ('numbered {n}');" for n in range(40))
MOVED = "update item set id = 5000 where id = 7;"


def require_free_numbers(made: Migration) -> None:
    """A row of the target's own gets a number beyond all that are there. It does not stay."""
    target = made.world.target
    greatest = int(target.run(f"select max(id) from {target.schema}.item"))
    target.change("insert into item (title) values ('of the target')")
    given = int(target.run(f"select id from {target.schema}.item where title = 'of the target'"))
    target.change("delete from item where title = 'of the target'")
    assert given > greatest


ELSEWHERE = [("postgres15", "postgres18"), ("mysql", "mariadb")]


@pytest.mark.parametrize("pair", first([("mariadb", "postgres18")], ELSEWHERE))
def test_after_a_pause_a_cancel_and_a_kill(
    fleet: Fleet, plant: Plant, made_case: Callable[..., Case], pair: tuple[str, str]
) -> None:
    made = made_case(side(fleet, pair[0], "source"), side(fleet, pair[1], "target"))
    source = made.world.source
    operation = made.start()
    made.wait_following(operation)
    source.change(INSERTS + MOVED)
    made.wait_equal(operation)
    made.api.post(path("migrations", made.name, "replication", "pause"))
    require_free_numbers(made)
    made.api.post(path("migrations", made.name, "replication", "resume"))
    source.change(INSERTS)
    made.wait_equal(operation)
    assert made.end(operation)["status"] == "cancelled"
    require_free_numbers(made)
    operation = made.start("replication", {"resume": True})
    source.change(INSERTS + MOVED.replace("5000", "6000").replace("= 7", "= 8"))
    made.wait_equal(operation)
    plant.kill(plant.worker)
    plant.worker.start()
    assert made.end(operation, "stop")["status"] == "stopped"

    def free() -> bool:  # cleaning up goes on behind the answer
        try:
            require_free_numbers(made)
        except (AssertionError, RuntimeError):
            return False
        return True

    wait_until(free, 30, "the target to number on after a kill and a stop", every=0.5)
