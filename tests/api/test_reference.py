"""The 36 endpoints of the reference exist with these methods, and no others do."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from api.results import Health
from tests.api.conftest import Client
from tests.api.fake import FakeOrchestrator
from worker.polling import Workers

ENDPOINTS = [
    "GET /v1/health",
    "PUT /v1/sources/{name}",
    "GET /v1/sources/{name}",
    "GET /v1/sources",
    "DELETE /v1/sources/{name}",
    "POST /v1/sources/test",
    "PUT /v1/targets/{name}",
    "GET /v1/targets/{name}",
    "GET /v1/targets",
    "DELETE /v1/targets/{name}",
    "POST /v1/targets/test",
    "POST /v1/queues/test",
    "PUT /v1/migrations/{name}",
    "GET /v1/migrations/{name}",
    "GET /v1/migrations",
    "DELETE /v1/migrations/{name}",
    "POST /v1/prereqs",
    "POST /v1/validate",
    "POST /v1/migrations/{name}/schema/extract",
    "POST /v1/migrations/{name}/schema/apply",
    "POST /v1/migrations/{name}/objects/apply",
    "POST /v1/migrations/{name}/data",
    "POST /v1/migrations/{name}/replication",
    "POST /v1/migrations/{name}/replication/pause",
    "POST /v1/migrations/{name}/replication/resume",
    "POST /v1/migrations/{name}/replication-queue",
    "POST /v1/migrations/{name}/replication-queue/pause",
    "POST /v1/migrations/{name}/replication-queue/resume",
    "POST /v1/migrations/{name}/data-replication",
    "POST /v1/migrations/{name}/reset",
    "POST /v1/migrations/{name}/validate",
    "GET /v1/migrations/{name}/status",
    "GET /v1/operations",
    "GET /v1/operations/{id}",
    "POST /v1/operations/{id}/cancel",
    "POST /v1/operations/{id}/stop",
]


def test_the_api_has_the_endpoints_of_the_reference(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    found = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert found == set(ENDPOINTS)
    assert len(ENDPOINTS) == 36


@pytest.mark.parametrize("endpoint", ENDPOINTS[1:])
async def test_every_endpoint_but_health_needs_a_key(anonymous: Client, endpoint: str) -> None:
    method, path = endpoint.format(name="x", id="6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10").split()
    assert (await anonymous.refused(method, path))[:2] == (401, "AUTH_FAILED")


@pytest.mark.parametrize("endpoint", [e for e in ENDPOINTS if "migrations/{name}" in e and not e.startswith("PUT")])
async def test_an_unknown_migration(client: Client, endpoint: str) -> None:
    method, path = endpoint.format(name="nope").split()
    assert (await client.refused(method, path))[:2] == (404, "MIGRATION_NOT_FOUND")


async def test_health_needs_no_key(anonymous: Client) -> None:
    found = await anonymous.ok("GET", "/v1/health")
    assert (found["status"], found["catalog"], found["temporal"], found["worker"]) == ("ok", "ok", "ok", "polls")


@pytest.mark.parametrize("seen", Workers)
async def test_health_tells_when_nobody_would_do_the_work(
    temporal: FakeOrchestrator, anonymous: Client, seen: Workers
) -> None:
    temporal.seen = seen
    found = await anonymous.ok("GET", "/v1/health")
    assert Health.model_validate(found).worker == seen.value


def test_openapi_tells_of_the_key_and_of_no_foreign_errors(app: FastAPI) -> None:
    schema = app.openapi()
    for path, methods in schema["paths"].items():
        for operation in methods.values():
            assert "422" not in operation["responses"]
            assert operation["responses"]["200"]["content"]["application/json"]["example"]
            assert ("security" in operation) == (path != "/v1/health")
            assert operation["description"]


async def test_the_docs_page_needs_no_network(anonymous: Client) -> None:
    page = (await anonymous.http.get("/docs")).text
    assert "http://" not in page.replace("http://127.0.0.1", "")
    assert "<script" not in page
    for endpoint in ENDPOINTS:
        assert endpoint.split()[1] in page
