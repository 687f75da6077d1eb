"""Benches on the stand-in for SingleStore whose faults are ordered, for more than one module."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.bench import Bench, table
from tests.engines import side_of
from tests.servers.singlestore import SingleStore

_numbers = itertools.count(1)
MOST = 80  # statements of the longest story here


@pytest.fixture(scope="module")
def stand(singlestore: SingleStore) -> SingleStore:
    side_of(singlestore, "singlestore", "faults", "faults").drop_leftovers()
    return singlestore


@pytest.fixture
def made(stand: SingleStore, tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    """Benches; what was ordered to go wrong is taken back behind the test."""
    benches: list[Bench] = []

    def make(key: tuple[str, ...] = ("id",)) -> Bench:
        side = side_of(stand, "singlestore", "faults", "faults")
        benches.append(Bench(side, [table("t", key=key)], tmp_path, f"faults{next(_numbers)}"))
        return benches[-1]

    yield make
    stand.clear_orders()
    for bench in benches:
        bench.close()
        bench.drop_tables()
