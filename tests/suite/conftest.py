"""Every pair of engines, once: each test of the suite runs for all of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import running_server
from tests.servers.fleet import SERVERS, Fleet
from tests.suite.world import SCHEMA, Side, World, drop_leftovers

PAIRS = (
    ("postgres15", "postgres18"),
    ("postgres18", "mariadb"),
    ("mariadb", "postgres15"),
    ("mysql", "postgres18"),
    ("mariadb", "mysql"),
    ("postgres15", "mysql"),
    ("mariadb", "mariadb"),
    ("mysql", "mariadb"),
    ("mysql", "mysql"),
)
_numbers = itertools.count(1)


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}-{pair[1]}")
def world(request: pytest.FixtureRequest, fleet: Fleet, tmp_path: Path) -> Iterator[World]:
    """An empty source and target of this pair, on one server under two names where they are of one kind; the tables are
    made by ``world.make``."""
    source_name, target_name = request.param
    source = Side(running_server(fleet, source_name), SERVERS[source_name], "suite_source")
    target = Side(running_server(fleet, target_name), SERVERS[target_name], "suite_target")
    if source.server is target.server:
        target = replace(target, schema=f"{SCHEMA}_copy")  # a database is a schema there
    for side in (source, target):
        drop_leftovers(side)
    yield World(source, target, tmp_path, f"suite{next(_numbers)}")
    for side in (source, target):
        drop_leftovers(side)
