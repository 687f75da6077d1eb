"""A migration from Oracle (a stand-in) over REST, whose worker is killed in the middle of the load."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.engines.oracle import POSTGRES
from tests.faults.conftest import a_migration
from tests.faults.plant import Migration, Plant
from tests.pairs import first
from tests.servers.fleet import Fleet
from tests.servers.process import wait_until

ROWS = 6000  # in files of 1,500
SLOW = """create function slow() returns trigger language plpgsql as
    $$ begin if current_query() ilike 'copy%' then perform pg_sleep(0.3); end if; return null; end $$;
    create trigger slow before insert on item for each statement execute function slow();
    alter table item enable always trigger slow"""
ENDED = ("completed", "failed", "cancelled", "stopped")


@pytest.fixture(params=first([("oracle", "postgres18")]))
def moving(request: pytest.FixtureRequest, fleet: Fleet, plant: Plant) -> Iterator[Migration]:
    with a_migration(fleet, plant, request.param, ROWS) as made:
        yield made


def test_moved_with_a_kill_and_following_is_refused_by_name(moving: Migration, plant: Plant) -> None:
    refused = moving.start("data-replication")
    ended = _ended(moving, refused)
    assert ended["status"] == "failed"
    assert "changes of oracle are not read yet" in ended["error"]["message"]
    assert "operation data" in ended["error"]["details"]["remedy"]

    target = moving.world.target
    target.change(SLOW)
    operation = moving.start("data")
    moving.wait_loading(operation)
    plant.kill(plant.worker)
    plant.worker.start()
    assert _ended(moving, operation)["status"] == "completed"
    there = {t: sorted(target.run(query.format(target.schema)).splitlines()) for t, query in POSTGRES.items()}
    assert there == moving.world.source.rows()


def _ended(moving: Migration, operation: str) -> dict[str, Any]:
    wait_until(lambda: moving.operation(operation)["status"] in ENDED, 120, f"{operation} to end", 0.2)
    return moving.operation(operation)
