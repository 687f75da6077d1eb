"""Pairs of engines: each test of the suite runs on a diagonal of them, and on all others by ``make test-pairs``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import running_end
from tests.engines import SCHEMA, side_of
from tests.pairs import first, named
from tests.servers.fleet import SERVERS, Fleet
from tests.suite.world import World

DIAGONAL = (  # each engine once on either side, and the two families both ways
    ("postgres15", "mysql"),
    ("mysql", "postgres18"),
    ("mariadb", "mariadb"),
)
OTHERS = (
    ("postgres15", "postgres18"),  # the fault tests and the demo run on it
    ("postgres18", "snowflake"),
    ("mariadb", "snowflake"),
    ("mysql", "snowflake"),
    ("postgres18", "mariadb"),
    ("mariadb", "postgres15"),
    ("mariadb", "mysql"),
    ("mysql", "mariadb"),
    ("mysql", "mysql"),
)
PAIRS = (*DIAGONAL, *OTHERS)
# MariaDB's and MySQL's readers and appliers are one; where they differ tests/unit/mysql runs on both. What follows
# changes on this pair alone is left to ``make test-pairs``, but for what a load and its hand-over need.
FOLLOWED_LATER = ("mariadb", "mariadb")
_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "following" in getattr(item, "fixturenames", ()) and item.name.endswith(f"[{named(FOLLOWED_LATER)}]"):
            item.add_marker(pytest.mark.pairs)


@pytest.fixture(params=first(DIAGONAL, OTHERS))
def world(request: pytest.FixtureRequest, fleet: Fleet, tmp_path: Path) -> Iterator[World]:
    """An empty source and target of this pair, on one server under two names where they are of one kind; the tables are
    made by ``world.make``."""
    source_name, target_name = request.param
    source = side_of(running_end(fleet, source_name), SERVERS[source_name], "suite_source")
    target = side_of(running_end(fleet, target_name), SERVERS[target_name], "suite_target")
    if source.server is target.server:
        target = replace(target, schema=f"{SCHEMA}_copy")  # a database is a schema there
    for side in (source, target):
        side.drop_leftovers()
    yield World(source, target, tmp_path, f"suite{next(_numbers)}")
    for side in (source, target):
        side.drop_leftovers()
