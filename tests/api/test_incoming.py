"""Requests that do not arrive whole, or are made to keep the API busy."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from fastapi import FastAPI

from api import incoming
from tests.api.conftest import Client
from tests.api.fake import FakeOrchestrator
from whimbrel.catalog.store import Catalog

STEPS = [
    "reset",
    "data",
    "data-replication",
    "replication",
    "schema/apply",
    "schema/extract",
    "objects/apply",
    "validate",
]


async def sent(app: FastAPI, key: str | None, path: str, *messages: dict[str, Any], **scope: Any) -> list[int]:
    """The statuses answered to a POST whose body is these ASGI messages."""
    given, answered = iter(messages), []

    async def receive() -> dict[str, Any]:
        found = next(given, None)
        if found is None:
            await asyncio.Event().wait()
        assert found is not None
        return found

    async def send(message: Any) -> None:
        answered.extend([message["status"]] if "status" in message else [])

    headers = [(b"host", b"api"), (b"content-length", b"20")]
    headers += [(b"authorization", f"Bearer {key}".encode())] if key else []
    request = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "https",
        "http_version": "1.1",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("api", 443),
    }
    await app({**request, **scope}, receive, send)
    return answered


GONE = {"type": "http.disconnect"}


@pytest.mark.parametrize("first", [None, b"{", b"{}", b'{"mode":"metadata"}'], ids=["nothing", "half", "json", "all"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_body_that_did_not_arrive_whole_runs_nothing(
    app: FastAPI, shop: Catalog, temporal: FakeOrchestrator, key: str, step: str, first: bytes | None
) -> None:
    came = [] if first is None else [{"type": "http.request", "body": first, "more_body": True}]
    assert await sent(app, key, f"/v1/migrations/shop/{step}", *came, GONE) == []
    assert shop.list_operations() == ([], 0)
    assert temporal.started == []


async def test_a_body_that_does_not_come_is_waited_for_within_a_bound(
    app: FastAPI, shop: Catalog, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "BODY_SECONDS", 0.05)
    assert await sent(app, key, "/v1/migrations/shop/reset") == [400]
    assert shop.list_operations() == ([], 0)


@pytest.mark.parametrize("path", ["/anything", "/openapi.json", "/v1/health"])
async def test_nothing_is_read_where_no_key_is_needed(app: FastAPI, path: str) -> None:
    """The body would never come: were it waited for, this test would hang."""
    async with asyncio.timeout(5):
        assert await sent(app, None, path) in ([404], [405])


async def test_nothing_is_read_without_a_key(app: FastAPI) -> None:
    async with asyncio.timeout(5):
        assert await sent(app, None, "/v1/sources/a") == [401]


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"99999999999999999999")],
        [(b"content-length", b"1048577")],
        [(b"content-length", b"2"), (b"transfer-encoding", b"chunked")],
    ],
    ids=["endless", "too long", "two lengths"],
)
@pytest.mark.parametrize("path", ["/v1/sources/a", "/v1/health", "/"])
async def test_lengths_that_cannot_be_are_not_waited_for(
    app: FastAPI, key: str, path: str, headers: list[tuple[bytes, bytes]]
) -> None:
    async with asyncio.timeout(5):
        for shown in (key, None):
            extra = [(b"authorization", f"Bearer {shown}".encode())] if shown else []
            assert await sent(app, None, path, headers=[*headers, *extra]) == [400]


async def test_many_names_are_looked_through_once(client: Client, anonymous: Client) -> None:
    """A quadratic look for the one that is there twice took minutes, in which nobody was answered."""
    names = [f'"{i:06d}":0' for i in range(80_000)]
    content = ("{" + ",".join([*names, '"079999":0']) + "}").encode()
    began = time.process_time()
    status, code, error = await client.refused("PUT", "/v1/sources/a", content=content)
    assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", "079999")
    assert (await anonymous.refused("POST", "/anything", content=content))[0] == 404
    query = "&".join([*(f"{i:x}" for i in range(6000)), "176f"])
    status, _, error = await client.refused("GET", f"/v1/operations?{query}")
    assert (status, error["details"]["field"]) == (400, "176f")
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    "content", [b'{"a": 1e999}', b'{"a": -1e999}', '{"a": 1}'.encode("utf-16"), b'{"a": "\xc0\x80"}']
)
async def test_what_reads_as_json_but_is_none(client: Client, content: bytes) -> None:
    assert (await client.refused("PUT", "/v1/sources/a", content=content))[:2] == (400, "INVALID_REQUEST")


async def test_a_mark_before_the_json_is_no_part_of_it(client: Client) -> None:
    """Some editors and shells write one."""
    body = json.dumps({"type": "mysql", "parameters": {"host": "h", "user": "u", "password": "p"}})
    assert (await client.ok("PUT", "/v1/sources/a", content=b"\xef\xbb\xbf" + body.encode()))["name"] == "a"
