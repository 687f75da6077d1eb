"""Sources, targets and queues."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from api.results import Connected, Deleted, EndpointView, NameAndType, Sources, Targets
from tests.api.conftest import MARKER, POSTGRES, Client
from tests.emulators.kafka import Kafka
from tests.servers.postgres import Postgres
from tests.servers.process import free_port
from whimbrel.catalog.store import Catalog

BOTH = pytest.mark.parametrize("kind", ["sources", "targets"])


@BOTH
async def test_create_read_list_delete(client: Client, catalog: Catalog, kind: str) -> None:
    put = await client.ok("PUT", f"/v1/{kind}/a", {"type": "postgres", "parameters": POSTGRES})
    assert NameAndType.model_validate(put).model_dump() == {"name": "a", "type": "postgres"}
    one = EndpointView.model_validate(await client.ok("GET", f"/v1/{kind}/a"))
    assert (one.parameters["host"], one.parameters["password"]) == ("127.0.0.1", "***")
    listed = await client.ok("GET", f"/v1/{kind}")
    (Sources if kind == "sources" else Targets).model_validate(listed)
    assert listed == {kind: [one.model_dump()]}
    gone = await client.ok("DELETE", f"/v1/{kind}/a")
    assert Deleted.model_validate(gone).model_dump() == {"name": "a", "deleted": True}
    code = "SOURCE_NOT_FOUND" if kind == "sources" else "TARGET_NOT_FOUND"
    assert (await client.refused("GET", f"/v1/{kind}/a"))[:2] == (404, code)
    assert (await client.refused("DELETE", f"/v1/{kind}/a"))[:2] == (404, code)


async def test_what_was_read_can_be_written_back(client: Client, catalog: Catalog) -> None:
    await client.ok("PUT", "/v1/sources/a", {"type": "postgres", "parameters": POSTGRES})
    read = await client.ok("GET", "/v1/sources/a")
    await client.ok("PUT", "/v1/sources/a", {"type": read["type"], "parameters": read["parameters"]})
    assert catalog.get_source("a").parameters["password"] == MARKER
    assert await client.ok("GET", "/v1/sources/a") == read


async def test_aliases_and_ports_as_text(client: Client) -> None:
    parameters = {"host": "h", "username": "u", "password": "p", "port": "3307"}
    await client.ok("PUT", "/v1/targets/a", {"type": "mariadb", "parameters": parameters})
    shown = (await client.ok("GET", "/v1/targets/a"))["parameters"]
    assert (shown["user"], shown["port"]) == ("u", 3307)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"type": "sqlserver", "parameters": {}}, "type"),
        ({"type": "access", "parameters": {}}, "type"),
        ({"type": "postgres", "parameters": {**POSTGRES, "x": 1}}, "parameters.x"),
        ({"type": "postgres", "parameters": {**POSTGRES, "port": 0}}, "parameters.port"),
        ({"type": "postgres", "parameters": {**POSTGRES, "host": None}}, "parameters.host"),
        ({"type": "postgres", "parameters": {**POSTGRES, "password": "***"}}, "parameters.password"),
        ({"type": "postgres"}, "parameters"),
    ],
)
@BOTH
async def test_bad_definitions(client: Client, kind: str, body: dict[str, Any], field: str) -> None:
    status, code, error = await client.refused("PUT", f"/v1/{kind}/a", body)
    assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", field)


async def test_a_type_without_a_connector_names_those_there_are(client: Client) -> None:
    _, _, error = await client.refused("PUT", "/v1/sources/a", {"type": "sqlserver", "parameters": {}})
    assert {"mysql", "mariadb", "postgres"} <= set(error["details"]["known"])
    assert "postgres" in error["message"]


async def test_in_use(client: Client, shop: Catalog) -> None:
    for path in ("/v1/sources/old", "/v1/targets/new"):
        status, code, error = await client.refused("DELETE", path)
        assert (status, code, error["details"]["migrations"]) == (400, "INVALID_REQUEST", ["shop"])


@BOTH
async def test_a_far_end_that_is_not_there(client: Client, kind: str) -> None:
    status, code, error = await client.refused("POST", f"/v1/{kind}/test", {"type": "postgres", "parameters": POSTGRES})
    assert (status, code, error["details"]["reason"]) == (200, "CONNECTION_REFUSED", "host_unreachable")


@BOTH
async def test_a_far_end_that_answers(client: Client, postgres15: Postgres, kind: str) -> None:
    body = {"type": "postgres", "parameters": postgres15.parameters()}
    result = Connected.model_validate(await client.ok("POST", f"/v1/{kind}/test", body))
    assert "PostgreSQL 15" in result.message
    status, code, error = await client.refused(
        "POST", f"/v1/{kind}/test", {**body, "parameters": postgres15.parameters("nope")}
    )
    assert (status, code, error["details"]["reason"]) == (200, "CONNECTION_REFUSED", "database_missing")


async def test_a_test_needs_the_secret_itself(client: Client) -> None:
    body = {"type": "postgres", "parameters": {**POSTGRES, "password": "***"}}
    status, _, error = await client.refused("POST", "/v1/sources/test", body)
    assert (status, error["details"]["field"]) == (400, "parameters.password")


async def test_an_unexpected_error_of_a_driver_keeps_the_secret(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from whimbrel.connectors.postgres import ENGINE

    def broken(*_: object) -> None:
        raise RuntimeError(f"cannot log in with {MARKER}")

    monkeypatch.setattr(type(ENGINE), "test", broken)
    status, code, error = await client.refused("POST", "/v1/sources/test", {"type": "postgres", "parameters": POSTGRES})
    assert (status, code) == (500, "INTERNAL_ERROR")
    assert error["details"]["error_id"] in caplog.text
    assert "cannot log in with ***" in caplog.text
    assert MARKER not in caplog.text


async def test_queues(client: Client, kafka: Kafka) -> None:
    topic = f"events-{uuid.uuid4().hex}"  # the broker outlives the test
    body = {"type": "kafka", "parameters": {"queueBrokers": kafka.brokers, "topic": topic, "compression": "zstd"}}
    _, _, error = await client.refused("POST", "/v1/targets/test", body)
    assert "/v1/queues/test" in error["details"]["remedy"]
    status, code, error = await client.refused("POST", "/v1/queues/test", body)
    assert (status, code, error["details"]["reason"]) == (200, "CONNECTION_REFUSED", "topic_missing")
    assert topic in error["message"]
    kafka.make_topic(topic)
    for type in ("kafka", "redpanda"):
        result = await client.ok("POST", "/v1/queues/test", {**body, "type": type})
        assert result == {"ok": True, "message": f"broker reachable, topic {topic!r} found"}
    nobody = {"brokers": f"127.0.0.1:{free_port()}", "topic": "events"}
    status, code, error = await client.refused("POST", "/v1/queues/test", {"type": "kafka", "parameters": nobody})
    assert (status, code, error["details"]["reason"]) == (200, "CONNECTION_REFUSED", "host_unreachable")
    _, _, error = await client.refused("POST", "/v1/queues/test", {"type": "postgres", "parameters": POSTGRES})
    assert "/v1/targets/test" in error["details"]["remedy"]
