"""Cancel and stop in each phase: no connection or temporary table stays, slot and publication only for who goes on."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.engines import Side
from tests.faults.conftest import MARIADB, POSTGRES, runs_on, runs_on_each
from tests.faults.plant import Migration
from tests.faults.test_kills import CHANGES
from tests.servers.process import wait_until
from whimbrel.cli.client import path

ENDINGS = {"cancel": "cancelled", "stop": "stopped"}


def leftovers(side: Side) -> list[str]:
    """What an operation might have left on a server, as its own client sees it."""
    if side.is_postgres:
        return side.run(
            f"""select 'slot ' || slot_name from pg_replication_slots where database = '{side.database}'
            union all select 'publication ' || pubname from pg_publication
            union all select 'connection ' || application_name || ' ' || state from pg_stat_activity
              where application_name like 'whimbrel%' and datname = '{side.database}'
            union all select 'temporary table ' || relname from pg_class where relpersistence = 't'"""
        ).splitlines()
    return side.run(
        "select concat('connection ', id, ' ', coalesce(command, '')) from information_schema.processlist "
        "where id <> connection_id() and user = 'root' and command <> 'Daemon'"
    ).splitlines()


def held_by(migration: Migration) -> list[str]:
    """What a later operation needs in order to go on: a slot and a publication where the engine has such things."""
    kept = f"whimbrel_{migration.name}"
    return [f"slot {kept}", f"publication {kept}"] if migration.world.source.is_postgres else []


def _holds_only(side: Side, kept: list[str]) -> bool:
    return leftovers(side) == kept


def assert_clean(migration: Migration, held: list[str] | None = None) -> None:
    """Nothing is left on both sides but ``held`` on the source."""
    for side, kept in ((migration.world.source, held or []), (migration.world.target, [])):
        clean = partial(_holds_only, side, kept)
        wait_until(clean, 15, f"{side.type} to be clean of {leftovers(side)}")
    staging = migration.plant.home / "migrations" / migration.name / "staging"
    assert not list(staging.glob("*/*"))


def assert_ended(migration: Migration, answer: dict[str, Any], operation: str, status: str) -> None:
    """The answer, the status and the metrics name what is held, and it is there."""
    held = held_by(migration)
    assert (answer["operation_id"], answer["status"]) == (operation, status)
    assert_clean(migration, held)
    shown = migration.status()["held"]
    if not held:
        assert answer["held"] is None
        assert shown is None
        return
    slot, kept = answer["held"]["slot"], answer["held"]["retained_bytes"]
    assert held[0] == f"slot {slot}"
    assert (shown["slot"], shown["retained_bytes"]) == (slot, kept)
    assert kept > 0
    assert f'/v1/operations/{operation}/cancel with {{"release": true}}' in shown["release"]
    labels = f'{{migration="{migration.name}",slot="{slot}"}}'
    assert f"whimbrel_held_slot_retained_bytes{labels}" in migration.metrics()


def assert_released(migration: Migration, operation: str, status: str) -> None:
    answer = migration.end(operation, "cancel", release=True)
    assert answer == {"operation_id": operation, "status": status, "held": None}, "an ended operation keeps its status"
    assert migration.status()["held"] is None
    assert_clean(migration)


@runs_on_each("how", {"cancel": POSTGRES, "stop": MARIADB})
def test_mid_load(migration: Migration, how: str) -> None:
    operation = migration.start_slowly()
    migration.wait_loading(operation)
    assert_ended(migration, migration.end(operation, how), operation, ENDINGS[how])
    assert migration.operation(operation)["status"] == ENDINGS[how]
    migration.release()
    again = migration.start(body={"resume": True})
    migration.world.source.change(CHANGES)
    migration.wait_following(again)
    migration.wait_equal(again)
    assert migration.end(again, how, release=True) == {"operation_id": again, "status": ENDINGS[how], "held": None}
    assert_clean(migration)


@runs_on_each("how", {"cancel": MARIADB, "stop": POSTGRES})
def test_while_changes_flow(migration: Migration, how: str) -> None:
    again = {"cancel": "replication", "stop": "data-replication"}[how]
    operation = migration.start()
    migration.wait_following(operation)
    assert_ended(migration, migration.end(operation, how), operation, ENDINGS[how])
    migration.world.source.change(CHANGES)
    resumed = migration.start(again, {"resume": True})
    migration.wait_equal(resumed)
    assert_ended(migration, migration.end(resumed), resumed, "cancelled")
    assert_released(migration, operation, ENDINGS[how])


@runs_on(POSTGRES)
def test_cancelled_while_paused(migration: Migration) -> None:
    operation = migration.start()
    migration.wait_following(operation)
    paused = migration.api.post(path("migrations", migration.name, "replication", "pause"))
    assert paused == {"migration": migration.name, "action": "paused"}
    assert_ended(migration, migration.end(operation), operation, "cancelled")
    assert_released(migration, operation, "cancelled")
