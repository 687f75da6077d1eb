"""Many who ask for one status at once share one reading, and none is shown what is over."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import FastAPI

from api import statuses
from api.statuses import Reading, Statuses
from tests.api.conftest import Client
from whimbrel.catalog.records import Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import MigrationNotFound

SHOP = "/v1/migrations/shop"


class Source:
    """Counts readings; each waits until it is let go."""

    def __init__(self) -> None:
        self.readings = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def read(self, migration: str) -> Reading:
        self.readings += 1
        number = self.readings
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return Reading(f"{migration} {number}".encode(), None)


@pytest.fixture
async def source() -> Source:
    return Source()


@pytest.fixture
def shared(source: Source) -> Statuses:
    return Statuses(source.read)


async def test_those_who_ask_at_once_share_a_reading(source: Source, shared: Statuses) -> None:
    asking = [asyncio.create_task(shared.get("a")) for _ in range(50)]
    await asyncio.sleep(0)
    source.gate.set()
    assert set(await asyncio.gather(*asking)) == {b"a 1"}
    assert await shared.get("b") == b"b 2"
    assert (shared.at_hand("a"), source.readings) == (b"a 1", 2)


async def test_one_who_leaves_does_not_take_the_reading_along(source: Source, shared: Statuses) -> None:
    first, second = (asyncio.create_task(shared.get("a")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    source.gate.set()
    assert await second == b"a 1"


async def test_a_reading_begun_before_a_change_is_not_shown_after_it(source: Source, shared: Statuses) -> None:
    before = asyncio.create_task(shared.get("a"))
    await asyncio.sleep(0)
    shared.forget()
    after = asyncio.create_task(shared.get("a"))
    await asyncio.sleep(0)
    source.gate.set()
    assert (await before, await after) == (b"a 1", b"a 2")
    assert shared.at_hand("a") == b"a 2"


async def test_ageing_answers_are_given_while_a_new_one_is_read(
    source: Source, shared: Statuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.gate.set()
    assert await shared.get("a") == b"a 1"
    monkeypatch.setattr(statuses, "FRESH_SECONDS", -1.0)
    assert [shared.at_hand("a") for _ in range(3)] == [b"a 1"] * 3
    for _ in range(5):
        await asyncio.sleep(0)
    assert (shared.at_hand("a"), source.readings) == (b"a 2", 2)
    monkeypatch.setattr(statuses, "USABLE_SECONDS", -1.0)
    assert shared.at_hand("a") is None


async def test_errors_are_shared_and_not_kept(source: Source, shared: Statuses) -> None:
    source.error = MigrationNotFound("gone")
    asking = [asyncio.create_task(shared.get("a")) for _ in range(3)]
    source.gate.set()
    assert all(isinstance(e, MigrationNotFound) for e in await asyncio.gather(*asking, return_exceptions=True))
    source.error = None
    assert await shared.get("a") == b"a 2"


async def test_what_this_process_changed_shows_at_once(client: Client, shop: Catalog) -> None:
    assert (await client.ok("GET", f"{SHOP}/status"))["state"] == "idle"
    started = await client.ok("POST", f"{SHOP}/data")
    running = await client.ok("GET", f"{SHOP}/status")
    assert (running["state"], running["operation"]["operation_id"]) == ("running", started["operation_id"])
    await client.ok("POST", f"/v1/operations/{started['operation_id']}/cancel")
    assert (await client.ok("GET", f"{SHOP}/status"))["last_operation"]["status"] == "cancelled"
    await client.ok("DELETE", SHOP)
    assert (await client.refused("GET", f"{SHOP}/status"))[1] == "MIGRATION_NOT_FOUND"


async def test_an_end_that_was_shown_is_not_taken_back(client: Client, shop: Catalog) -> None:
    """A worker ends the operation behind our back, and somebody has seen that."""
    for list_them in (False, True):
        id = (await client.ok("POST", f"{SHOP}/data"))["operation_id"]
        assert (await client.ok("GET", f"{SHOP}/status"))["state"] == "running"
        shop.finish_operation(id, Status.COMPLETED)
        assert (await client.ok("GET", f"{SHOP}/status"))["state"] == "running"  # nobody has seen it
        await client.ok("GET", "/v1/operations" if list_them else f"/v1/operations/{id}")
        assert (await client.ok("GET", f"{SHOP}/status"))["state"] == "idle"


async def test_a_status_at_hand_still_needs_a_key(client: Client, anonymous: Client, shop: Catalog) -> None:
    await client.ok("GET", f"{SHOP}/status")
    assert (await anonymous.refused("GET", f"{SHOP}/status"))[:2] == (401, "AUTH_FAILED")


async def test_refused_logins_do_not_make_others_wait(
    app: FastAPI, client: Client, anonymous: Client, shop: Catalog
) -> None:
    await client.ok("GET", f"{SHOP}/status")
    await anonymous.refused("POST", f"{SHOP}/data")
    assert app.state.services.statuses.at_hand("shop") is not None
