"""Clients that leave while a far end is waited for."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from api import connectors, threads
from tests.api.conftest import POSTGRES, Client
from tests.api.test_incoming import GONE, sent
from whimbrel.errors import HostUnreachable


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Far ends answer when this is set."""
    answers = threading.Event()

    def test(*_: object) -> str:
        answers.wait(30)
        return "connected"

    monkeypatch.setattr(connectors, "test", test)
    yield answers
    answers.set()


async def test_their_places_are_given_back(app: FastAPI, client: Client, key: str, silence: threading.Event) -> None:
    body = json.dumps({"type": "postgres", "parameters": POSTGRES}).encode()
    whole = {"type": "http.request", "body": body, "more_body": False}
    async with asyncio.timeout(10):
        for _ in range(20):  # more than there are places
            assert await sent(app, key, "/v1/sources/test", whole, GONE) == []
    waiting = asyncio.create_task(client.ok("POST", "/v1/sources/test", {"type": "postgres", "parameters": POSTGRES}))
    await asyncio.sleep(0)
    silence.set()
    async with asyncio.timeout(10):
        assert (await waiting)["connected"] is True


async def test_what_nobody_waits_for_has_a_bound(silence: threading.Event) -> None:
    slow = threads.SlowThreads(threads=4, most=6)
    for _ in range(6):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await slow.run(silence.wait, 30)
    with pytest.raises(HostUnreachable):
        await slow.run(silence.wait, 30)
    silence.set()
    async with asyncio.timeout(10):
        while slow._running:
            await asyncio.sleep(0.01)
        assert await slow.run(lambda: 7) == 7
