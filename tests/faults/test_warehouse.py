"""A worker and a target killed in each phase of a migration to a target of files and SQL, driven over REST."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.conftest import a_migration
from tests.faults.plant import Migration, Plant
from tests.faults.test_kills import CHANGES, restart
from tests.pairs import first
from tests.servers.fleet import Fleet

PAIRS = first(
    [],  # `make test` ends transactions and sessions between any two statements (tests/contract, test_aborted.py)
    [
        ("postgres18", "snowflake"),
        ("mariadb", "snowflake"),
        ("postgres18", "databricks"),
        ("mariadb", "databricks"),
        ("postgres18", "firebolt"),
        ("postgres18", "singlestore"),
        ("postgres18", "bigquery"),
    ],
)
SECONDS = 240  # a bound for a machine that does much else: attempts wait longer and longer for a server that is gone
ROWS = 12_000  # in files of 1,500, each of which takes most of a second there


@pytest.fixture(params=PAIRS)
def moving(request: pytest.FixtureRequest, fleet: Fleet, plant: Plant) -> Iterator[Migration]:
    with a_migration(fleet, plant, request.param, ROWS) as made:
        yield made


def test_killed_in_each_phase_nothing_is_lost_or_doubled(moving: Migration, plant: Plant) -> None:
    operation = moving.start()
    moving.wait_loading(operation)
    plant.kill(plant.worker)
    moving.world.source.change(CHANGES)
    plant.worker.start()
    moving.wait_following(operation)

    moving.world.source.change("update item set title = 'moving' where id <= 5000")
    plant.kill(plant.worker)
    moving.world.source.change("update item set amount = amount + 1 where id <= 700; delete from item where id > 11000")
    plant.worker.start()
    moving.wait_equal(operation, SECONDS)

    moving.world.source.change("update item set title = 'and on' where id <= 5000")
    restart(moving.world.target)
    moving.world.source.change("update twokeys set v = 'after' where a < 9")
    moving.wait_equal(operation, SECONDS)
    moving.end(operation)
