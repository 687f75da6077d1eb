"""Every test of the catalog runs on SQLite and, where a server can be had, on PostgreSQL."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.catalogs import new_catalog, new_database
from whimbrel.catalog.records import EndpointRecord, MigrationRecord
from whimbrel.catalog.store import Catalog

MARKER = "s3cret-marker-7c1f"


@pytest.fixture(params=["sqlite", "postgres"])
def open_catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Catalog]]:
    """Opens the same catalog again and again, as several processes would."""
    url = None
    if request.param == "postgres":
        server = request.getfixturevalue("postgres18")
        url = new_database(server, f"catalog_{uuid.uuid4().hex[:12]}")
    opened: list[Catalog] = []

    def open_again() -> Catalog:
        home = tmp_path / "home"
        opened.append(Catalog.open(home, url) if url else new_catalog(home))
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
