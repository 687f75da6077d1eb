"""Repeated and rival requests, and those that find no Temporal: one operation each, started once or not at all."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from pathlib import Path

import pytest

from tests.api.conftest import Client
from tests.api.fake import FakeOrchestrator, completing
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Mode, Status
from whimbrel.catalog.store import Catalog

ID = "6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10"
RID = {"X-Request-Id": ID}
SHOP = "/v1/migrations/shop"


# --- X-Request-Id ---------------------------------------------------------------------------------------------------


async def test_a_request_id_names_the_operation(client: Client, shop: Catalog, temporal: FakeOrchestrator) -> None:
    first = await client.ok("POST", f"{SHOP}/data", headers=RID)
    assert first["operation_id"] == ID
    assert await client.ok("POST", f"{SHOP}/data", {}, headers={"X-Request-Id": ID.upper()}) == first
    assert await client.ok("POST", f"{SHOP}/data", {"resume": False}, headers=RID) == first
    shop.finish_operation(ID, Status.COMPLETED)
    ended = await client.ok("POST", f"{SHOP}/data", headers=RID)
    assert (ended["operation_id"], ended["status"]) == (ID, "completed")
    assert len(temporal.started) == 1


async def test_a_request_id_is_not_for_two_requests(client: Client, shop: Catalog) -> None:
    await client.ok("POST", f"{SHOP}/data", headers=RID)
    for path, body in (("data", {"resume": True}), ("data-replication", {}), ("reset", {})):
        status, code, error = await client.refused("POST", f"{SHOP}/{path}", body, headers=RID)
        assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", "X-Request-Id")


@pytest.mark.parametrize("given", ["", "1", ID[:-1], ID.replace("-", ""), "{" + ID + "}", ID + "0"])
async def test_a_request_id_is_a_uuid(client: Client, shop: Catalog, given: str) -> None:
    status, code, error = await client.refused("POST", f"{SHOP}/data", headers={"X-Request-Id": given})
    assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", "X-Request-Id")


async def test_a_repeated_synchronous_call_gives_the_same_result(
    client: Client, shop: Catalog, temporal: FakeOrchestrator
) -> None:
    temporal.behaviour = completing(shop, {"mode": "metadata"})
    first = await client.ok("POST", f"{SHOP}/reset", {"mode": "metadata"}, headers=RID)
    assert await client.ok("POST", f"{SHOP}/reset", {"mode": "metadata"}, headers=RID) == first
    assert len(temporal.started) == 1


async def test_a_repeated_request_is_not_checked_again(
    client: Client, shop: Catalog, temporal: FakeOrchestrator, tmp_path: Path
) -> None:
    """What it leaned on may be gone since: it finds its operation all the same."""
    temporal.behaviour = completing(shop, {"tables_created": 1})
    file = shop.workdir("shop") / "mine.sql"
    file.parent.mkdir(parents=True)
    file.write_text("")
    first = await client.ok("POST", f"{SHOP}/schema/apply", {"sql_file": "mine.sql"}, headers=RID)
    file.unlink()
    assert await client.ok("POST", f"{SHOP}/schema/apply", {"sql_file": "mine.sql"}, headers=RID) == first
    assert (await client.refused("POST", f"{SHOP}/schema/apply", {"sql_file": "mine.sql"}))[:2] == (
        400,
        "INVALID_REQUEST",
    )
    id = str(uuid.uuid4())
    await client.ok("POST", f"{SHOP}/data", headers={"X-Request-Id": id})
    shop.put_target(EndpointRecord("queue", "kafka", {"brokers": "b:9092", "topic": "t"}))
    shop.put_migration(MigrationRecord("shop", "old", ("public.*",), queue_target="queue"))
    assert (await client.ok("POST", f"{SHOP}/data", headers={"X-Request-Id": id}))["operation_id"] == id
    assert (await client.refused("POST", f"{SHOP}/data"))[2]["details"]["field"] == "fileTarget"


async def test_two_request_ids(client: Client, shop: Catalog) -> None:
    for other, status in ((ID.upper(), 200), (str(uuid.UUID(int=1)), 400)):
        answer = await client.http.post(f"{SHOP}/data", headers=[("X-Request-Id", ID), ("X-Request-Id", other)])
        assert answer.status_code == status


# --- conflicts ------------------------------------------------------------------------------------------------------


async def test_two_hundred_identical_requests_start_one(
    client: Client, shop: Catalog, temporal: FakeOrchestrator
) -> None:
    answers = await asyncio.gather(*(client.ok("POST", f"{SHOP}/data", headers=RID) for _ in range(200)))
    assert {a["operation_id"] for a in answers} == {ID}
    assert len(temporal.started) == 1


async def test_of_two_hundred_rivals_one_starts(client: Client, shop: Catalog, temporal: FakeOrchestrator) -> None:
    async def start() -> str:
        headers = {"X-Request-Id": str(uuid.uuid4())}
        status, envelope = await client.send("POST", f"{SHOP}/data", headers=headers)
        return "started" if status == 200 else f"{status} {envelope['error']['details']['operation_id']}"

    counted = Counter(await asyncio.gather(*(start() for _ in range(200))))
    (request,) = temporal.started
    assert counted == {"started": 1, f"409 {request.operation}": 199}


# --- Temporal is not there ------------------------------------------------------------------------------------------


async def test_without_temporal_nothing_half_made_stays(
    client: Client, shop: Catalog, temporal: FakeOrchestrator
) -> None:
    temporal.down = True
    status, code, error = await client.refused("POST", f"{SHOP}/data", headers=RID)
    assert (status, code, error["details"]["operation_id"]) == (500, "ORCHESTRATOR_FAILED", ID)
    assert shop.running_operation("shop") is None
    assert (await client.ok("GET", "/v1/health"))["temporal"] == "unreachable"
    temporal.down = False
    assert (await client.ok("POST", f"{SHOP}/data", headers=RID))["status"] == "running"
    assert len(temporal.started) == 1


async def test_an_api_that_died_before_starting_is_healed_by_the_retry(
    client: Client, shop: Catalog, temporal: FakeOrchestrator
) -> None:
    from api.dispatch import request_hash

    body = {"resume": False}
    shop.begin_operation("shop", Mode.DATA, ID, request_hash(Mode.DATA, "shop", body), body)
    assert (await client.ok("POST", f"{SHOP}/data", headers=RID))["status"] == "running"
    assert [r.operation for r in temporal.started] == [ID]
