"""Pause, resume, cancel and stop, and what is held behind an end until it is released."""

from __future__ import annotations

import uuid

import pytest

from api import connectors
from api.orchestrator import Workflow
from api.results import OperationEnded, Paused
from tests.api.conftest import Client
from tests.api.fake import FakeOrchestrator
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Mode, Status
from whimbrel.catalog.store import Catalog
from workflows.messages import OperationRequest, Title

ID = "6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10"
RID = {"X-Request-Id": ID}
SHOP = "/v1/migrations/shop"


async def test_pause_and_resume(client: Client, shop: Catalog, temporal: FakeOrchestrator) -> None:
    assert (await client.refused("POST", f"{SHOP}/replication/pause"))[:2] == (404, "OPERATION_NOT_FOUND")
    await client.ok("POST", f"{SHOP}/data-replication", headers=RID)
    for action, state in (("pause", "paused"), ("pause", "paused"), ("resume", "running"), ("resume", "running")):
        result = Paused.model_validate(await client.ok("POST", f"{SHOP}/replication/{action}"))
        assert result.model_dump() == {"migration": "shop", "action": f"{action}d".replace("pauseed", "paused")}
        assert (await client.ok("GET", f"{SHOP}/status"))["state"] == state
    assert temporal.pauses == [(ID, True), (ID, True), (ID, False), (ID, False)]


async def test_replication_into_a_queue(client: Client, shop: Catalog, temporal: FakeOrchestrator) -> None:
    shop.put_target(EndpointRecord("queue", "kafka", {"brokers": "b:9092", "topic": "t"}))
    shop.put_migration(MigrationRecord("shop", "old", ("public.*",), queue_target="queue"))
    path, body = f"{SHOP}/replication-queue", {"resume": True, "position": "0/16B3748"}
    result = await client.ok("POST", path, body, headers=RID)
    assert (result["operation_id"], result["status"], result["mode"]) == (ID, "running", "change-queue")
    (request,) = temporal.started
    title = Title("old (postgres) → queue (kafka), 1 pattern of tables", "old", "queue")
    assert request == OperationRequest(ID, "shop", "change-queue", True, "0/16B3748", title)
    assert (await client.refused("POST", path))[:2] == (409, "OPERATION_CONFLICT")
    assert (await client.refused("POST", f"{SHOP}/replication/pause"))[:2] == (404, "OPERATION_NOT_FOUND")
    for action, state in (("pause", "paused"), ("resume", "running")):
        paused = Paused.model_validate(await client.ok("POST", f"{path}/{action}"))
        assert paused.migration == "shop"
        assert (await client.ok("GET", f"{SHOP}/status"))["state"] == state
    assert temporal.pauses == [(ID, True), (ID, False)]


async def test_a_data_load_is_no_replication(client: Client, shop: Catalog) -> None:
    await client.ok("POST", f"{SHOP}/data")
    assert (await client.refused("POST", f"{SHOP}/replication/pause"))[:2] == (404, "OPERATION_NOT_FOUND")
    assert (await client.refused("POST", f"{SHOP}/replication-queue/pause"))[:2] == (404, "OPERATION_NOT_FOUND")


async def test_what_acts_on_an_operation_answers_with_its_logs(client: Client, shop: Catalog) -> None:
    await client.ok("POST", f"{SHOP}/data-replication", headers=RID)
    shop.append_log(ID, "loader", "a line")
    for path in (f"{SHOP}/replication/pause", f"{SHOP}/replication/resume", f"/v1/operations/{ID}/cancel"):
        _, envelope = await client.send("POST", path)
        assert envelope["logs"] == {"loader": "a line\n"}


async def test_cancel(client: Client, shop: Catalog, temporal: FakeOrchestrator) -> None:
    await client.ok("POST", f"{SHOP}/data", headers=RID)
    for _ in range(2):
        ended = OperationEnded.model_validate(await client.ok("POST", f"/v1/operations/{ID}/cancel"))
        assert ended.model_dump() == {"operation_id": ID, "status": "cancelled", "held": None}
    assert (await client.ok("POST", f"/v1/operations/{ID}/stop"))["status"] == "cancelled"


async def test_stop_cleans_up(client: Client, shop: Catalog, temporal: FakeOrchestrator) -> None:
    await client.ok("POST", f"{SHOP}/data", headers=RID)
    assert await client.ok("POST", f"/v1/operations/{ID}/stop", {}) == {
        "operation_id": ID,
        "status": "stopped",
        "held": None,
    }
    assert (temporal.states[ID], temporal.cleaned) == (Workflow.TERMINATED, [ID])


@pytest.mark.parametrize("action", ["cancel", "stop"])
async def test_what_is_held_is_told_until_it_is_released(
    client: Client, shop: Catalog, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    removed: list[str] = []
    monkeypatch.setattr(connectors, "remove_capture", lambda source, job: removed.append(job.migration))
    shop.begin_operation("shop", Mode.DATA_REPLICATION, ID, "h", {})
    shop.finish_operation(ID, Status.CANCELLED)
    shop.held.save("shop", "whimbrel_shop", 7)
    ended = await client.ok("POST", f"/v1/operations/{ID}/{action}", {})
    assert (ended["status"], ended["held"]["slot"], ended["held"]["retained_bytes"]) == (
        "cancelled",
        "whimbrel_shop",
        7,
    )
    assert (await client.ok("GET", f"{SHOP}/status"))["held"]["release"] == ended["held"]["release"]
    assert removed == []
    ended = await client.ok("POST", f"/v1/operations/{ID}/{action}", {"release": True})
    assert ended == {"operation_id": ID, "status": "cancelled", "held": None}
    assert removed == ["shop"]
    assert (await client.ok("GET", f"{SHOP}/status"))["held"] is None


async def test_nothing_is_released_under_an_operation_that_follows(
    client: Client, shop: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connectors, "remove_capture", lambda *_: pytest.fail("it is followed"))
    shop.begin_operation("shop", Mode.DATA_REPLICATION, ID, "h", {})
    shop.finish_operation(ID, Status.CANCELLED)
    shop.begin_operation("shop", Mode.CHANGE, str(uuid.UUID(int=2)), "h", {})
    status, code, error = await client.refused("POST", f"/v1/operations/{ID}/cancel", {"release": True})
    assert (status, code, error["details"]["operation_id"]) == (409, "OPERATION_CONFLICT", str(uuid.UUID(int=2)))
    assert shop.running_operation("shop") is not None


async def test_an_end_is_told_although_its_source_could_not_be_asked_to_let_go(
    client: Client, shop: Catalog, temporal: FakeOrchestrator
) -> None:
    await client.ok("POST", f"{SHOP}/data-replication", headers=RID)
    status, code, error = await client.refused("POST", f"/v1/operations/{ID}/cancel", {"release": True})
    assert (status, code) == (500, "CONNECTION_REFUSED")
    assert f"operation {ID} is cancelled, but" in error["message"]
    assert (await client.ok("GET", f"/v1/operations/{ID}"))["status"] == "cancelled"


async def test_a_source_that_leads_elsewhere_tells_of_what_is_held_on_the_old_server(
    client: Client, shop: Catalog
) -> None:
    shop.held.save("shop", "whimbrel_shop", 7)
    source = shop.get_source("old")
    body = {"type": source.type, "parameters": {**source.parameters, "host": "elsewhere.example.com"}}
    _, answered = await client.send("PUT", "/v1/sources/old", body)
    assert answered["success"], answered
    assert "pg_drop_replication_slot('whimbrel_shop')" in answered["logs"]["orchestrator"]
    assert "logs" not in (await client.send("PUT", "/v1/sources/old", body))[1]


async def test_what_was_let_go_by_itself_stands_in_the_status(client: Client, shop: Catalog) -> None:
    shop.begin_operation("shop", Mode.CHANGE, ID, "h", {})
    shop.finish_operation(ID, Status.STOPPED)
    shop.held.mark_let_go("shop", "whimbrel_shop", 11)
    found = await client.ok("GET", f"{SHOP}/status")
    assert found["held"] is None
    assert (found["let_go"]["slot"], found["let_go"]["retained_bytes"]) == ("whimbrel_shop", 11)
    assert "start with resume=false" in found["let_go"]["why"]


@pytest.mark.parametrize(("action", "status"), [("cancel", "cancelled"), ("stop", "stopped")])
async def test_what_never_started_ends_at_once(
    client: Client, shop: Catalog, temporal: FakeOrchestrator, action: str, status: str
) -> None:
    shop.begin_operation("shop", Mode.DATA, ID, "h", {})
    assert (await client.ok("POST", f"/v1/operations/{ID}/{action}"))["status"] == status
    assert temporal.cleaned == []


@pytest.mark.parametrize("action", ["", "/cancel", "/stop"])
@pytest.mark.parametrize("id", [str(uuid.UUID(int=1)), "nope", "a%00b", "x" * 5000])
async def test_an_unknown_operation(client: Client, id: str, action: str) -> None:
    method = "POST" if action else "GET"
    status, code, error = await client.refused(method, f"/v1/operations/{id}{action}")
    assert (status, code) == (404, "OPERATION_NOT_FOUND")
    assert len(str(error)) < 500


async def test_cancelled_between_recording_and_starting(
    client: Client, shop: Catalog, temporal: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workflow that starts nevertheless is ended, and its operation stays cancelled."""
    start = FakeOrchestrator.start

    async def late(self: FakeOrchestrator, request: OperationRequest) -> str:
        shop.finish_operation(request.operation, Status.CANCELLED)
        return await start(self, request)

    monkeypatch.setattr(FakeOrchestrator, "start", late)
    assert (await client.ok("POST", f"{SHOP}/data", headers=RID))["status"] == "cancelled"
    assert temporal.states[ID] is Workflow.CANCELLED
