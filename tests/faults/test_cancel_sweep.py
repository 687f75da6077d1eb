"""Cancel and stop at any moment of a data-replication, and in the midst of what waits in a server.

Each is answered within ten seconds and leaves nothing but what the answer names under ``held``; after the release
nothing at all is left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg
import pytest

from tests.engines import SCHEMA, Side
from tests.faults.conftest import a_migration
from tests.faults.plant import Migration, Plant
from tests.faults.test_endings import ENDINGS, assert_clean
from tests.pairs import first
from tests.servers.fleet import Fleet
from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from whimbrel.cli.client import path
from whimbrel.errors import WhimbrelError

ANSWERED = 10.0  # seconds
MOMENTS = 8
MORE_MOMENTS = 40
ROWS = 10_000
PAIRS = (("postgres15", "postgres18"), ("mysql", "postgres18"))
ANYWHERE = (*PAIRS, ("postgres15", "mariadb"))


def end_at(migration: Migration, how: str, seconds: float) -> None:
    """Start, end after so long, and require what is promised."""
    operation = migration.start()
    time.sleep(seconds)
    end_in_time(migration, operation, how)


def end_in_time(migration: Migration, operation: str, how: str) -> dict[str, Any]:
    asked = time.monotonic()
    answer = migration.end(operation, how)
    took = time.monotonic() - asked
    assert answer["status"] == ENDINGS[how]
    kept = answer["held"]
    assert_clean(migration, [f"{what} {kept['slot']}" for what in ("slot", "publication")] if kept else [])
    assert took < ANSWERED, f"{how} was answered after {took:.1f} s"
    assert migration.end(operation, how, release=True)["held"] is None
    assert_clean(migration)
    return answer


def start_over(migration: Migration) -> None:
    migration.api.post(path("migrations", migration.name, "reset"), {"mode": "truncate"})


def length(migration: Migration) -> float:
    """Seconds from the start to the change phase."""
    began = time.monotonic()
    operation = migration.start()
    migration.wait_following(operation)
    took = time.monotonic() - began
    end_in_time(migration, operation, "cancel")
    start_over(migration)
    return took


def sweep(migration: Migration, moments: int, how: Callable[[int], str]) -> None:
    """From the start to a little behind the beginning of the change phase."""
    whole = length(migration)
    for number in range(moments):
        end_at(migration, how(number), whole * 1.1 * number / (moments - 1))
        start_over(migration)


@pytest.fixture
def moving(request: pytest.FixtureRequest, fleet: Fleet, plant: Plant) -> Iterator[Migration]:
    with a_migration(fleet, plant, request.param, ROWS) as made:
        yield made


anywhere = pytest.mark.parametrize("moving", ANYWHERE, indirect=True, ids=lambda pair: f"{pair[0]}-{pair[1]}")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("moving", first(PAIRS[:1], PAIRS[1:]), indirect=True)
def test_eight_moments(moving: Migration) -> None:
    """Each once, with cancel and stop in turn, and on the other pair the other way round."""
    first = int(moving.world.source.is_postgres)
    sweep(moving, MOMENTS, lambda number: list(ENDINGS)[(number + first) % 2])


@pytest.mark.long
@pytest.mark.parametrize("how", ENDINGS)
@anywhere
def test_forty_moments(moving: Migration, how: str) -> None:
    sweep(moving, MORE_MOMENTS, lambda _: how)


# --- in the midst of a wait -----------------------------------------------------------------------------------------


@contextmanager
def in_the_way(side: Side, statement: str) -> Iterator[None]:
    """Somebody's transaction that has run the statement and does not end."""
    assert isinstance(side.server, Postgres)
    with closing(psycopg.connect(side.server.dsn(side.database))) as other:
        other.execute(statement.encode())
        yield


def begun(migration: Migration, start: Callable[[], object], waits: Callable[[], bool]) -> str:
    """Start in another thread what may answer only when it has ended; its operation, once it waits."""

    def run() -> None:
        with suppress(WhimbrelError):  # it is told that its operation was ended
            start()

    threading.Thread(target=run, daemon=True).start()
    wait_until(waits, 30, "the step to wait")
    running = migration.status()["operation"]
    return str(running["operation_id"])


def waiting(side: Side) -> bool:
    """Whether one of our sessions waits for somebody."""
    ours = "application_name like 'whimbrel%' and wait_event_type = 'Lock'"
    return side.run(f"select count(*) from pg_stat_activity where {ours}") != "0"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("moving", PAIRS[:1], indirect=True, ids=["postgres15-postgres18"])
def test_what_waits_for_others_is_ended_in_time(moving: Migration) -> None:
    source, target, api, name = moving.world.source, moving.world.target, moving.api, moving.name

    with in_the_way(source, "select txid_current()"):
        for how in ENDINGS:  # the slot waits for all transactions that were open before
            operation = begun(moving, moving.start, lambda: waiting(source))
            assert moving.operation(operation)["phase"] == "snapshot"
            assert end_in_time(moving, operation, how)["held"] is None

    with in_the_way(source, f"lock table {SCHEMA}.item in access exclusive mode"):
        operation = begun(
            moving, lambda: api.post(path("migrations", name, "schema", "extract"), {}), lambda: waiting(source)
        )
        end_in_time(moving, operation, "cancel")

    operation = moving.start_slowly()
    moving.wait_loading(operation)
    with in_the_way(target, f"lock table {SCHEMA}.item in row exclusive mode"):  # rows may come, indexes may not
        moving.wait(operation, lambda o: o["phase"] == "indexes" and waiting(target), 60, "indexes to wait")
        end_in_time(moving, operation, "cancel")
