from __future__ import annotations

import logging

import pytest
from fastapi import FastAPI

from api.durations import go_duration
from tests.api.conftest import MARKER, Client
from whimbrel.catalog.store import Catalog

MIGRATION = {"source": "old", "fileTarget": "new", "tables": ["a.b"]}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-1, "0s"),
        (0.00085, "850µs"),
        (0.85, "850ms"),
        (0.0123456, "12.346ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (59.9999999, "1m0s"),
        (60, "1m0s"),
        (135, "2m15s"),
        (3723, "1h2m3s"),
        (3600, "1h0m0s"),
        (360000.25, "100h0m0.25s"),
    ],
)
def test_durations_are_gos(seconds: float, text: str) -> None:
    assert go_duration(seconds) == text


async def test_answers_end_with_a_newline(client: Client, shop: Catalog) -> None:
    await client.ok("GET", "/v1/migrations/shop/status")
    for path in ("/v1/sources", "/v1/nothing", "/v1/migrations/shop/status"):
        assert (await client.http.get(path)).text.endswith("}\n")


async def test_unknown_paths_and_methods(client: Client) -> None:
    assert (await client.refused("GET", "/v1/nothing"))[:2] == (404, "NOT_FOUND")
    assert (await client.refused("GET", "/"))[:2] == (404, "NOT_FOUND")
    assert (await client.refused("GET", "/v1/sources/a/"))[:2] == (404, "NOT_FOUND")
    assert (await client.refused("PATCH", "/v1/sources"))[:2] == (405, "METHOD_NOT_ALLOWED")
    assert (await client.refused("OPTIONS", "/v1/sources"))[:2] == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/sources", "GET"),
        ("/v1/sources/a", "DELETE, GET, PUT"),
        ("/v1/sources/test", "DELETE, GET, POST, PUT"),
        ("/v1/operations/x/stop", "POST"),
    ],
)
@pytest.mark.parametrize("method", ["PATCH", "HEAD"])
async def test_another_method_is_told_those_there_are(client: Client, path: str, methods: str, method: str) -> None:
    response = await client.http.request(method, path)
    assert (response.status_code, response.headers["Allow"]) == (405, methods)


@pytest.mark.parametrize("query", ["page_size=1&page_size=1", "x=&page_size=1&x="])
async def test_a_parameter_given_twice(client: Client, query: str) -> None:
    status, code, error = await client.refused("GET", f"/v1/operations?{query}")
    assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", query.partition("=")[0])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"threads": "5"}, "threads"),
        ({"threads": 5.5}, "threads"),
        ({"threads": True}, "threads"),
        ({"threads": 0}, "threads"),
        ({"tables": "a.b"}, "tables"),
        ({"tables": []}, "tables"),
        ({"tables": [1]}, "tables.0"),
        ({"tables": ["a.b", "nodot"]}, "tables"),
        ({"tables": ["a.b", "a.b"]}, "tables.1"),
        ({"source": None}, "source"),
        ({"source": "../x"}, "source"),
        ({"fileTarget": None}, "fileTarget"),
        ({"logDetail": "loud"}, "logDetail"),
        ({"case": "lower"}, "case"),
        ({"value_policy": "clamp"}, "value_policy"),
        ({"column_types": {"a.b.c": "text"}}, "column_types"),
        ({"schema_rename": "a"}, "schema_rename"),
        ({"schema_rename": "a:b,a:c"}, "schema_rename"),
        ({"schema_rename": {"a": 1}}, "schema_rename"),
        ({"unknown": 1}, "unknown"),
    ],
)
async def test_bodies_are_strict(client: Client, shop: Catalog, change: dict[str, object], field: str) -> None:
    status, code, error = await client.refused("PUT", "/v1/migrations/m", {**MIGRATION, **change})
    assert (status, code) == (400, "INVALID_REQUEST")
    assert error["details"]["field"].startswith(field)
    assert error["message"].startswith(field)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b'{"type": NaN}',
        b'{"type": "postgres", "type": "mysql", "parameters": {}}',
        b'{"type": "postgres", "parameters": {"host": "\\ud800"}}',
        b'{"type": "\xff"}',
        b"[" * 100_000,
        b"1" * 5000,
    ],
)
async def test_what_is_no_body(client: Client, content: bytes) -> None:
    assert (await client.refused("PUT", "/v1/sources/a", content=content))[:2] == (400, "INVALID_REQUEST")


async def test_bodies_have_a_limit(client: Client) -> None:
    big = {"type": "postgres", "parameters": {"host": "x" * (1024 * 1024)}}
    status, code, error = await client.refused("PUT", "/v1/sources/a", big)
    assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", "body")


async def test_a_body_needs_no_content_type(client: Client) -> None:
    content = b'{"type": "mysql", "parameters": {"host": "h", "user": "u", "password": "p"}}'
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert await client.ok("PUT", "/v1/sources/a", content=content, headers=headers) == {"name": "a", "type": "mysql"}


@pytest.mark.parametrize("name", ["-a", "a b", "a" * 65, "%00", "é", "a%0a"])
async def test_names_in_paths(client: Client, name: str) -> None:
    assert (await client.refused("GET", f"/v1/sources/{name}"))[:2] == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("name", ["a" * 64, "0._-", "test"])
async def test_names_that_are_allowed(client: Client, name: str) -> None:
    body = {"type": "mysql", "parameters": {"host": "h", "user": "u", "password": "p"}}
    assert (await client.ok("PUT", f"/v1/sources/{name}", body))["name"] == name
    quoted = "".join(f"%{ord(c):02x}" for c in name)
    assert (await client.ok("GET", f"/v1/sources/{quoted}"))["name"] == name
    assert (await client.ok("DELETE", f"/v1/sources/{name}"))["deleted"] is True


@pytest.mark.parametrize("path", ["/v1/sources/..%2f..%2fx", "/v1/sources/../../etc/passwd"])
async def test_paths_that_climb(client: Client, path: str) -> None:
    assert (await client.refused("GET", path))[0] in (400, 404)


async def test_an_unexpected_error_tells_its_id_alone(
    app: FastAPI, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("in the middle of something")

    monkeypatch.setattr(Catalog, "list_sources", broken)
    with caplog.at_level(logging.ERROR):
        status, code, error = await client.refused("GET", "/v1/sources")
    assert (status, code) == (500, "INTERNAL_ERROR")
    assert "ZeroDivisionError" not in str(error)
    assert error["details"]["error_id"] in caplog.text
    assert "ZeroDivisionError: in the middle of something" in caplog.text


async def test_refused_values_are_not_repeated(client: Client) -> None:
    """The client fixture fails on any answer with the marker; pydantic would quote what it refuses."""
    for body in (
        {"type": "postgres", "parameters": MARKER},
        {"type": "postgres", "parameters": {"password": MARKER}, "x": MARKER},
        {"type": 1, "parameters": {"password": MARKER}},
    ):
        assert (await client.refused("PUT", "/v1/sources/a", body))[0] == 400
