"""A running plant for all fault tests, and servers of their own that may be killed."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import running_end
from tests.engines import side_of
from tests.faults.plant import Migration, Plant
from tests.pairs import Pair, first
from tests.servers.fleet import SERVERS, Fleet
from tests.suite.world import World

ROWS = 30_000
# Each kind of fault meets both families of sources in `make test`, but not each test both.
POSTGRES, MARIADB = ("postgres15", "postgres18"), ("mariadb", "postgres18")
PAIRS = (POSTGRES, MARIADB, ("mysql", "mariadb"))
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/faults/" in item.nodeid:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def plant() -> Iterator[Plant]:
    home = Path(tempfile.mkdtemp(prefix="whimbrel-plant-"))
    try:
        with Plant(home / "home") as running:
            yield running
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(params=first(PAIRS[:1], PAIRS[1:]))
def migration(request: pytest.FixtureRequest, fleet: Fleet, plant: Plant) -> Iterator[Migration]:
    """Source filled, schema on the target, nothing started. Afterwards both servers hold nothing of it."""
    with a_migration(fleet, plant, request.param) as made:
        yield made


def runs_on(pair: Pair) -> pytest.MarkDecorator:
    """The pair of a test in ``make test``; by ``make test-pairs`` it runs on the others."""
    return pytest.mark.parametrize("migration", first([pair], _others(pair)), indirect=True)


def runs_on_each(name: str, chosen: Mapping[str, Pair]) -> pytest.MarkDecorator:
    """The same for a test with a parameter: each value has its pair."""
    cases = [
        pytest.param(*one.values, value, id=f"{one.id}-{value}", marks=one.marks)
        for value, pair in chosen.items()
        for one in first([pair], _others(pair))
    ]
    return pytest.mark.parametrize(("migration", name), cases, indirect=["migration"])


def _others(pair: Pair) -> list[Pair]:
    return [other for other in PAIRS if other != pair]


@contextmanager
def a_migration(fleet: Fleet, plant: Plant, pair: tuple[str, str], rows: int = ROWS) -> Iterator[Migration]:
    """The same for any pair of servers."""
    plant.heal()
    source, target = (
        side_of(running_end(fleet, name), SERVERS[name], f"faults_{role}")
        for name, role in zip(pair, ("source", "target"), strict=True)
    )
    for side in (source, target):
        side.drop_leftovers()
    world = World(source, target, plant.home, f"fault{next(_numbers)}")
    world.make(rows)
    made = Migration(plant, world, rows_per_file=1500)
    made.schema()
    yield made
    made.release()
    plant.heal()
    running = plant.api.get(f"/v1/migrations/{made.name}/status")["operation"]
    if running is not None:
        made.end(running["operation_id"], "stop")
    for side in (source, target):
        side.drop_leftovers()
