"""Cancel and stop in each phase: no slot, publication, connection or temporary table stays behind."""

from __future__ import annotations

import pytest

from tests.faults.plant import Migration
from tests.servers.process import wait_until
from tests.suite.world import Side
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


def assert_clean(migration: Migration) -> None:
    for side in (migration.world.source, migration.world.target):
        wait_until(lambda side=side: not leftovers(side), 15, f"{side.type} to be clean of {leftovers(side)}")
    staging = migration.plant.home / "migrations" / migration.name / "staging"
    assert not list(staging.glob("*/*"))


@pytest.mark.parametrize("how", ENDINGS)
def test_mid_load(migration: Migration, how: str) -> None:
    operation = migration.start_slowly()
    migration.wait_loading(operation)
    assert migration.end(operation, how) == {"operation_id": operation, "status": ENDINGS[how]}
    assert migration.operation(operation)["status"] == ENDINGS[how]
    assert_clean(migration)


@pytest.mark.parametrize("how", ENDINGS)
def test_while_changes_flow(migration: Migration, how: str) -> None:
    operation = migration.start()
    migration.wait_following(operation)
    assert migration.end(operation, how)["status"] == ENDINGS[how]
    assert_clean(migration)
    assert migration.end(operation, "cancel")["status"] == ENDINGS[how], "an ended operation keeps its status"


def test_cancelled_while_paused(migration: Migration) -> None:
    operation = migration.start()
    migration.wait_following(operation)
    paused = migration.api.post(path("migrations", migration.name, "replication", "pause"))
    assert paused == {"migration": migration.name, "action": "paused"}
    assert migration.end(operation)["status"] == "cancelled"
    assert_clean(migration)
