"""A bench for each engine, on the session's servers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conftest import running_end
from tests.contract.bench import Bench
from tests.engines import Side, side_of
from tests.servers.fleet import SERVERS, Fleet
from whimbrel.connectors.registry import engine, known_types
from whimbrel.model.table import Table

# PostgreSQL 15 holds what 18 does here; a stand-in joins with its connector.
ENGINES = tuple(
    name
    for name in SERVERS
    if name != "postgres15" and SERVERS[name] in known_types() and engine(SERVERS[name]).capabilities.target
)
_numbers = itertools.count(1)


CORE = {  # of the engine whose stand-in takes a second for each script: what `make test` runs of the tests here
    "bigquery": (
        *("test_the_position_commits", "test_values_left_out", "test_of_equal_rows", "test_rows_that_are_one"),
        "test_who_holds",
        *("test_a_chunk_is_loaded_once", "test_an_older_epoch", "test_checks.py"),
    )
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The others are run by `make test-long`."""
    for item in items:
        for type, kept in CORE.items():
            if f"[{type}" in item.nodeid and not any(name in item.nodeid for name in kept):
                item.add_marker(pytest.mark.long)


@pytest.fixture(scope="module", params=ENGINES)
def side(request: pytest.FixtureRequest, fleet: Fleet) -> Side:
    """The engine's end, empty when the module begins."""
    found = side_of(running_end(fleet, request.param), SERVERS[request.param], "contracts", "contract")
    found.drop_leftovers()
    return found


@pytest.fixture
def bench(request: pytest.FixtureRequest, side: Side, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Makes a bench of these tables; each test has a migration of its own, and the same schema, emptied."""
    for mark in request.node.iter_markers("differs"):
        types, error, reason = mark.args
        if side.type in ((types,) if isinstance(types, str) else types):
            request.applymarker(pytest.mark.xfail(raises=error, reason=reason, strict=True))
    made: list[Bench] = []

    def make(*tables: Table) -> Bench:
        made.append(Bench(side, tables, tmp_path, f"contract{next(_numbers)}"))
        return made[-1]

    yield make
    for one in made:
        with closing(one):
            one.drop_tables()
