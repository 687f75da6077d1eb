"""Every pair of engines, once: each test of the suite runs for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import running_server
from tests.servers.fleet import SERVERS, Fleet
from tests.suite.world import Side, World, drop_leftovers

PAIRS = (
    ("postgres15", "postgres18"),
    ("postgres18", "mariadb"),
    ("mariadb", "postgres15"),
    ("mysql", "postgres18"),
    ("mariadb", "mysql"),
)
_numbers = itertools.count(1)


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def world(request: pytest.FixtureRequest, fleet: Fleet, tmp_path: Path) -> Iterator[World]:
    """An empty source and target of this pair; the tables are made by ``world.make``."""
    source, target = (
        Side(running_server(fleet, name), SERVERS[name], f"suite_{role}")
        for name, role in zip(request.param, ("source", "target"), strict=True)
    )
    for side in (source, target):
        drop_leftovers(side)
    yield World(source, target, tmp_path, f"suite{next(_numbers)}")
    for side in (source, target):
        drop_leftovers(side)
