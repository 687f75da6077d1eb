"""The API without a network: its ASGI application, a catalog in a temporary folder and a fake Temporal.

Modules whose tests lean on the catalog run twice: on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api import logins
from api.app import furnish, routed
from api.auth import create_key
from api.results import Envelope
from tests.api.fake import FakeOrchestrator
from tests.catalogs import new_catalog
from tests.servers.postgres import Postgres
from whimbrel.catalog.home import api_keys_file
from whimbrel.catalog.records import EndpointRecord, MigrationRecord
from whimbrel.catalog.store import Catalog
from whimbrel.catalog.tables import metadata

MARKER = "s3cret-marker-7c1f"
ON_BOTH = {
    "test_endpoints",
    "test_metrics",
    "test_migrations",
    "test_endings",
    "test_operations",
    "test_request_ids",
    "test_reconciler",
    "test_reference",
    "test_statuses",
}
POSTGRES = {"host": "127.0.0.1", "port": 1, "user": "u", "password": MARKER, "database": "d"}


@dataclass
class Client:
    """Sends requests with a key and checks that every answer is the envelope."""

    http: httpx.AsyncClient

    async def send(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, dict[str, Any]]:
        if body is not None:
            options["json"] = body
        response = await self.http.request(method, path, **options)
        envelope: dict[str, Any] = response.json()
        Envelope[Any].model_validate(envelope)
        assert envelope["success"] == (envelope["error"] is None)
        assert MARKER not in response.text
        return response.status_code, envelope

    async def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The result of a request that must succeed."""
        status, envelope = await self.send(method, path, body, **options)
        assert (status, envelope["error"]) == (200, None)
        return envelope["result"]

    async def refused(
        self, method: str, path: str, body: Any = None, **options: Any
    ) -> tuple[int, str, dict[str, Any]]:
        """Status, code and the error object of a request that must fail."""
        status, envelope = await self.send(method, path, body, **options)
        assert envelope["success"] is False
        error = envelope["error"]
        assert error["details"]["remedy"]
        return status, error["code"], error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "catalog" in metafunc.fixturenames and metafunc.module.__name__.rpartition(".")[2] in ON_BOTH:
        metafunc.parametrize("catalog", ["sqlite", "postgres"], indirect=True)


@pytest.fixture(scope="session")
def postgres_catalog(postgres18: Postgres) -> Iterator[str]:
    """The URL of a catalog on PostgreSQL, to be emptied before use."""
    postgres18.create_database("api_catalog")
    url = f"postgresql://postgres:unused@127.0.0.1:{postgres18.port}/api_catalog"
    with tempfile.TemporaryDirectory() as home:
        Catalog.open(Path(home), url).close()
    yield url
    postgres18.psql("drop database api_catalog with (force)")


@pytest.fixture
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Catalog]:
    url = request.getfixturevalue("postgres_catalog") if getattr(request, "param", "sqlite") == "postgres" else None
    home = tmp_path / "home"
    opened = Catalog.open(home, url) if url else new_catalog(home)
    if url is not None:
        with opened._database.write() as connection:
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
    yield opened
    opened.close()


@pytest.fixture
def temporal(catalog: Catalog) -> FakeOrchestrator:
    return FakeOrchestrator(catalog)


@pytest.fixture(scope="session")
def routes() -> FastAPI:
    return routed()


@pytest.fixture
def app(routes: FastAPI, catalog: Catalog, temporal: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setattr(logins, "FIRST_SECONDS", 0.0)
    routes.user_middleware.clear()
    routes.middleware_stack = None  # what was built of the test before
    furnish(routes, catalog, temporal, sync_seconds=2.0)
    return routes


@pytest.fixture
def key(catalog: Catalog) -> str:
    return create_key("tests", api_keys_file(catalog.home))


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api") as http:
        yield Client(http)


@pytest.fixture
async def client(app: FastAPI, key: str) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api", headers=headers) as http:
        yield Client(http)


@pytest.fixture
def shop(catalog: Catalog) -> Catalog:
    """With the migration 'shop' from 'old' to 'new'."""
    catalog.put_source(EndpointRecord("old", "postgres", POSTGRES))
    catalog.put_target(EndpointRecord("new", "postgres", POSTGRES))
    catalog.put_migration(MigrationRecord("shop", "old", ("public.*",), file_target="new"))
    return catalog
