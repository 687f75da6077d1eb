"""Kills and restarts in each phase: the operation goes on by itself, and nothing is lost or doubled."""

from __future__ import annotations

from tests.engines import Side
from tests.faults.conftest import MARIADB, POSTGRES, runs_on, runs_on_each
from tests.faults.plant import Migration, Plant
from whimbrel.cli.stack import START_SECONDS

CHANGES = (
    "begin; update item set amount = amount + 1 where id <= 500; delete from item where id between 600 and 650;"
    "insert into parent values (9001, 'late', 'late'); update twokeys set a = a + 1000 where a < 5;"
    "insert into nokey values (1, 'late'); commit"
)


def restart(side: Side) -> None:
    side.server.kill()
    side.server.start()


@runs_on(POSTGRES)
def test_worker_killed_mid_load(migration: Migration, plant: Plant) -> None:
    operation = migration.start_slowly()
    migration.wait_loading(operation)
    with migration.watched(operation):
        plant.kill(plant.worker)
        migration.world.source.change(CHANGES)
        plant.worker.start()
        migration.wait_following(operation)
        migration.wait_equal(operation)


@runs_on(MARIADB)
def test_worker_killed_while_changes_flow(migration: Migration, plant: Plant) -> None:
    operation = migration.start()
    migration.wait_following(operation)
    with migration.watched(operation):
        migration.world.source.change("update item set title = 'moving' where id <= 20000")
        plant.kill(plant.worker)
        migration.world.source.change(CHANGES)
        plant.worker.start()
        migration.wait_equal(operation)


@runs_on(MARIADB)
def test_temporal_killed_mid_load_and_while_changes_flow(migration: Migration, plant: Plant) -> None:
    operation = migration.start_slowly()
    migration.wait_loading(operation)
    plant.kill(plant.temporal)
    plant.temporal.start()
    plant.temporal.wait_until_healthy(START_SECONDS)
    migration.wait_following(operation)
    plant.kill(plant.temporal)
    migration.world.source.change(CHANGES)
    plant.temporal.start()
    plant.temporal.wait_until_healthy(START_SECONDS)
    migration.wait_equal(operation)


@runs_on_each("end", {"source": MARIADB, "target": POSTGRES})
def test_server_killed_mid_load(migration: Migration, end: str) -> None:
    operation = migration.start_slowly()
    migration.wait_loading(operation)
    restart(getattr(migration.world, end))
    migration.world.source.change(CHANGES)
    migration.wait_following(operation)
    migration.wait_equal(operation)


@runs_on_each("end", {"source": POSTGRES, "target": MARIADB})
def test_server_killed_while_changes_flow(migration: Migration, end: str) -> None:
    operation = migration.start()
    migration.wait_following(operation)
    migration.world.source.change("update item set title = 'moving' where id <= 20000")
    restart(getattr(migration.world, end))
    migration.world.source.change(CHANGES)
    migration.wait_equal(operation)
