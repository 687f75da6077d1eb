"""Every test of the catalog runs on SQLite and, where a server can be had, on PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from whimbrel.catalog.records import EndpointRecord, MigrationRecord
from whimbrel.catalog.store import Catalog

MARKER = "s3cret-marker-7c1f"


@pytest.fixture(params=["sqlite", "postgres"])
def open_catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Catalog]]:
    """Opens the same catalog again and again, as several processes would."""
    url = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres18")
        database = f"catalog_{uuid.uuid4().hex[:12]}"
        server.create_database(database)
        url = f"postgresql://postgres:unused@127.0.0.1:{server.port}/{database}"
    opened: list[Catalog] = []

    def open_again() -> Catalog:
        opened.append(Catalog.open(tmp_path / "home", url))
        return opened[-1]

    yield open_again
    for catalog in opened:
        catalog.close()


@pytest.fixture
def catalog(open_catalog: Callable[[], Catalog]) -> Catalog:
    return open_catalog()


@pytest.fixture
def shop(catalog: Catalog) -> Catalog:
    """With a source, a target and the migration 'shop' between them."""
    catalog.put_source(EndpointRecord("old", "postgres", {"host": "a", "password": MARKER}))
    catalog.put_target(EndpointRecord("new", "mariadb", {"host": "b", "password": MARKER}))
    catalog.put_migration(MigrationRecord("shop", "old", ("public.*",), file_target="new"))
    return catalog
