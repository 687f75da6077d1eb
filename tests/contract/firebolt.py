"""A bench on the stand-in for Firebolt whose faults are ordered, for more than one module."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.bench import Bench, table
from tests.engines import side_of
from tests.servers.firebolt import Firebolt

errors = pytest.importorskip("firebolt.utils.exception")
DATABASE = "faulty"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def stand(firebolt: Firebolt) -> Firebolt:
    firebolt.create_database(DATABASE)
    return firebolt


@pytest.fixture
def bench(stand: Firebolt, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(side_of(stand, "firebolt", DATABASE, "public"), [table("t")], tmp_path, f"faulty{next(_numbers)}")
    try:
        yield made
    finally:
        stand.no_faults()
        made.drop_tables()
        made.close()


def ours(stand: Firebolt) -> list[str]:
    """Tables of ours that are not the ledger's."""
    kept = {"progress", "tables", "chunks", "loaded", "owned"}
    found = stand.query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'", DATABASE)
    return [name for (name,) in found if name.removeprefix("whimbrel_") not in kept and name.startswith("whimbrel_")]
