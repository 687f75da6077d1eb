from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from api import connectors
from api.orchestrator import Workflow
from api.results import MigrationStatus, Operation, OperationEnded, Operations, Paused, Started
from tests.api.conftest import MARKER, Client
from tests.api.fake import FakeOrchestrator, completing
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Mode, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import SchemaMismatch
from whimbrel.model.progress import ChangeProgress, TableChangeTotals, TablePhase, TableProgress
from workflows.messages import OperationRequest

ID = "6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10"
RID = {"X-Request-Id": ID}
SHOP = "/v1/migrations/shop"


async def test_asynchronous_work_answers_at_once(client: Client, shop: Catalog, temporal: FakeOrchestrator) -> None:
    result = Started.model_validate(await client.ok("POST", f"{SHOP}/data", {"resume": True}))
    assert result.status == "running"
    assert result.started_at.endswith("Z")
    (request,) = temporal.started
    assert request == OperationRequest(result.operation_id, "shop", "data", resume=True)
    record = shop.get_operation(result.operation_id)
    assert (record.workflow_started, record.run_id) == (True, f"run-{result.operation_id}")


@pytest.mark.parametrize(
    ("path", "mode"),
    [("data", Mode.DATA), ("replication", Mode.CHANGE), ("data-replication", Mode.DATA_REPLICATION)],
)
async def test_modes_and_positions(
    client: Client, shop: Catalog, temporal: FakeOrchestrator, path: str, mode: Mode
) -> None:
    extracted(shop)
    body = {} if mode is Mode.DATA else {"position": "0/16B3748"}
    await client.ok("POST", f"{SHOP}/{path}", body)
    (request,) = temporal.started
    assert (request.mode, request.resume, request.position) == (mode, False, body.get("position"))


def source_of(shop: Catalog, type: str) -> None:
    """Give the migration a source of that type; one that it has may not change its own."""
    shop.put_source(EndpointRecord("other", type, dict(shop.get_source("old").parameters)))
    shop.put_migration(MigrationRecord("shop", "other", ("public.*",), file_target="new"))


@pytest.mark.parametrize("path", ["replication", "data-replication"])
@pytest.mark.parametrize(
    ("type", "position"),
    [
        ("postgres", "nonsense"),
        ("postgres", "0/0"),
        ("postgres", "binlog.000001:4"),
        ("mysql", "0/16B3748"),
        ("mysql", "binlog.000001:-4"),
        ("mysql", "binlog.000001:99999999999999999999"),
        ("mariadb", "0-1-100,nonsense"),
    ],
)
async def test_a_position_that_cannot_be_right(
    client: Client, shop: Catalog, temporal: FakeOrchestrator, path: str, type: str, position: str
) -> None:
    extracted(shop)
    source_of(shop, type)
    status, code, error = await client.refused("POST", f"{SHOP}/{path}", {"position": position})
    assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", "position")
    assert temporal.started == []
    await client.ok("POST", f"{SHOP}/{path}", {"position": position, "resume": True})  # where it is not used


@pytest.mark.parametrize(
    ("type", "position"),
    [
        ("postgres", "0/16b3748"),
        ("mysql", "binlog.000042:1234"),
        ("mysql", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5,\n 4e11fa47-71ca-11e1-9e33-c80aa9429562:7"),
        ("mariadb", "0-1-100,1-2-3"),
    ],
)
async def test_positions_of_each_engine(client: Client, shop: Catalog, type: str, position: str) -> None:
    extracted(shop)
    source_of(shop, type)
    await client.ok("POST", f"{SHOP}/replication", {"position": position})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/health"),
        ("GET", "/v1/sources"),
        ("GET", f"{SHOP}/status"),
        ("GET", "/v1/operations"),
        ("POST", f"{SHOP}/data"),
        ("DELETE", "/v1/migrations/shop"),
        ("POST", f"/v1/operations/{ID}/cancel"),
    ],
)
async def test_an_unknown_query_parameter(client: Client, shop: Catalog, method: str, path: str) -> None:
    status, code, error = await client.refused(method, f"{path}?forse=true")
    assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", "forse")
    assert "forse" in error["message"]


def extracted(catalog: Catalog) -> None:
    catalog.begin_operation("shop", Mode.SCHEMA_EXTRACT, "extract", "h", {})
    catalog.mark_started("extract", "run")
    catalog.finish_operation("extract", Status.COMPLETED)


async def test_replication_needs_an_extracted_schema(client: Client, shop: Catalog) -> None:
    status, code, error = await client.refused("POST", f"{SHOP}/replication")
    assert (status, code) == (400, "INVALID_REQUEST")
    assert "schema/extract" in error["details"]["remedy"]


async def test_synchronous_work_answers_with_result_and_logs(
    client: Client, shop: Catalog, temporal: FakeOrchestrator
) -> None:
    temporal.behaviour = completing(shop, {"sql_file": "/x/tables-schema.sql", "tables": 3})
    response = await client.http.post(f"{SHOP}/schema/extract", headers=RID)
    envelope = response.json()
    assert response.headers["X-Request-Id"] == ID
    assert envelope["result"] == {"sql_file": "/x/tables-schema.sql", "tables": 3}
    assert envelope["logs"] == {"extractor": "one line\n"}


async def test_a_failed_operation_answers_its_registered_error(
    client: Client, shop: Catalog, temporal: FakeOrchestrator
) -> None:
    error = SchemaMismatch("public.t has another column", table="public.t").to_json()
    temporal.behaviour = lambda r: shop.finish_operation(r.operation, Status.FAILED, error=error)
    status, code, found = await client.refused("POST", f"{SHOP}/schema/apply", headers=RID)
    assert (status, code, found["message"]) == (500, "SCHEMA_APPLY_FAILED", "public.t has another column")
    assert found["details"] == {**error["details"], "operation_id": ID}


async def test_a_call_that_takes_too_long_goes_on(client: Client, shop: Catalog, temporal: FakeOrchestrator) -> None:
    status, code, error = await client.refused("POST", f"{SHOP}/reset", {"mode": "truncate"}, headers=RID)
    assert (status, code, error["details"]["operation_id"]) == (504, "OPERATION_TIMEOUT", ID)
    assert shop.get_operation(ID).status is Status.RUNNING
    assert shop.get_operation(ID).body == {"mode": "truncate", "force": False}


async def test_a_call_whose_operation_is_cancelled(client: Client, shop: Catalog, temporal: FakeOrchestrator) -> None:
    temporal.behaviour = lambda r: shop.finish_operation(r.operation, Status.CANCELLED)
    status, code, error = await client.refused("POST", f"{SHOP}/validate", {"sample_percent": 5})
    assert (status, code) == (500, "VALIDATE_FAILED")
    assert "cancelled" in error["message"]


@pytest.mark.parametrize("percent", [0, 1, 99, 100])
async def test_shares_that_may_be_compared(
    client: Client, shop: Catalog, temporal: FakeOrchestrator, percent: int
) -> None:
    temporal.behaviour = completing(shop, {"valid": True})
    await client.ok("POST", f"{SHOP}/validate", {"sample_percent": percent})
    last = shop.last_operation("shop")
    assert last is not None
    assert last.body["sample_percent"] == percent


@pytest.mark.parametrize("body", [{"sample_percent": 101}, {"sample_percent": -1}, {"sample_percent": "5"}, {"x": 1}])
async def test_bodies_of_operations_are_strict(client: Client, shop: Catalog, body: dict[str, Any]) -> None:
    assert (await client.refused("POST", f"{SHOP}/validate", body))[:2] == (400, "INVALID_REQUEST")
    assert shop.running_operation("shop") is None


# --- pause, cancel, stop --------------------------------------------------------------------------------------------


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
    assert request == OperationRequest(ID, "shop", "change-queue", resume=True, position="0/16B3748")
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


# --- status and lists -----------------------------------------------------------------------------------------------


async def test_status_of_an_idle_migration(client: Client, shop: Catalog) -> None:
    found = await client.ok("GET", f"{SHOP}/status")
    assert found == {
        "migration": "shop",
        "state": "idle",
        "operation": None,
        "last_operation": None,
        "held": None,
        "let_go": None,
    }


async def test_status_of_a_running_migration(client: Client, shop: Catalog) -> None:
    extracted(shop)
    await client.ok("POST", f"{SHOP}/data-replication", headers=RID)
    shop.set_phase(ID, "data")
    shop.save_table_progress(ID, [TableProgress("public.a", TablePhase.COPYING, 99, 50, 50, 5000, 1, 2)])
    shop.save_change(ID, None, [TableChangeTotals("public.a", 1, 2, 3)])
    shop.save_change(ID, ChangeProgress("0/1", "0/2", 0.5, 8, 1, 1, 2, 3, 0, 0, 2.0, 1_763_888_400_000_000))
    shop.append_log(ID, "loader", "a line")
    status = MigrationStatus.model_validate(await client.ok("GET", f"{SHOP}/status"))
    operation = status.operation
    assert status.state == "running"
    assert operation is not None
    assert operation.progress is not None
    assert operation.progress.tables is not None
    assert (operation.phase, operation.progress.percent, operation.logs) == ("data", 50.0, None)
    assert operation.progress.tables[0].updates == 2
    assert operation.change is not None
    assert operation.change.lag_seconds == 0.5
    assert operation.workflow.url == f"http://temporal/workflows/{ID}"
    assert status.last_operation is not None
    assert status.last_operation.operation_id == "extract"
    full = Operation.model_validate(await client.ok("GET", f"/v1/operations/{ID}"))
    assert full.logs == {"loader": "a line\n"}


async def test_lists_are_paged(client: Client, shop: Catalog) -> None:
    for i in range(5):
        shop.begin_operation("shop", Mode.DATA, f"id-{i}", "h", {})
        shop.finish_operation(f"id-{i}", Status.COMPLETED)
        time.sleep(0.001)
    seen, token = [], "0"
    while token is not None:
        page = await client.ok("GET", f"/v1/operations?page_size=2&page_token={token}")
        Operations.model_validate(page)
        assert page["total"] == 5
        seen += [o["operation_id"] for o in page["operations"]]
        token = page["next_page_token"]
    assert seen == [f"id-{i}" for i in (4, 3, 2, 1, 0)]
    beyond = await client.ok("GET", "/v1/operations?page_token=50")
    assert (beyond["operations"], beyond["next_page_token"], beyond["total"]) == ([], None, 5)
    assert (await client.ok("GET", "/v1/operations?status=running&mode=data&migration=shop"))["total"] == 0


@pytest.mark.parametrize(
    "query",
    [
        "page_size=0",
        "page_size=201",
        "page_size=x",
        "page_token=-1",
        "page_token=x",
        "page_token=1234567890",
        "status=odd",
        "mode=odd",
        "migration=a/b",
        "x=1",
    ],
)
async def test_bad_filters(client: Client, query: str) -> None:
    status, code, error = await client.refused("GET", f"/v1/operations?{query}")
    assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", query.split("=")[0])


# --- sql_file -------------------------------------------------------------------------------------------------------


async def test_sql_files_stay_inside(
    client: Client, shop: Catalog, temporal: FakeOrchestrator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporal.behaviour = completing(shop, {"tables_created": 1})
    workdir = shop.workdir("shop")
    workdir.mkdir(parents=True)
    mine, outside = workdir / "mine.sql", tmp_path / "outside.sql"
    mine.write_text(MARKER)
    outside.write_text("")
    (workdir / "link.sql").symlink_to(outside)
    for text in ("mine.sql", str(mine), f"{workdir}/../shop/mine.sql"):
        await client.ok("POST", f"{SHOP}/schema/apply", {"sql_file": text})
        last = shop.last_operation("shop")
        assert last is not None
        assert last.body == {"sql_file": str(mine.resolve())}
    for text in (str(outside), "link.sql", "../../../outside.sql", "none.sql", ".", "/etc/passwd", "a\0b", "x" * 4000):
        status, code, error = await client.refused("POST", f"{SHOP}/schema/apply", {"sql_file": text})
        assert (status, code, error["details"]["field"]) == (400, "INVALID_REQUEST", "sql_file")
    monkeypatch.setenv("WHIMBREL_SQL_FOLDERS", str(tmp_path))
    await client.ok("POST", f"{SHOP}/schema/apply", {"sql_file": str(outside)})


@pytest.mark.parametrize(
    ("path", "body", "mode", "recorded"),
    [
        ("schema/extract", None, Mode.SCHEMA_EXTRACT, {}),
        ("schema/apply", None, Mode.SCHEMA_APPLY, {"sql_file": None}),
        ("objects/apply", {}, Mode.OBJECTS_APPLY, {}),
        ("reset", None, Mode.RESET, {"mode": "drop", "force": False}),
        ("validate", {"sample_percent": 7}, Mode.VALIDATE, {"sample_percent": 7, "repair": False}),
    ],
)
async def test_synchronous_operations_record_what_was_asked(
    client: Client,
    shop: Catalog,
    temporal: FakeOrchestrator,
    path: str,
    body: dict[str, Any] | None,
    mode: Mode,
    recorded: dict[str, Any],
) -> None:
    temporal.behaviour = completing(shop, {"done": path})
    assert await client.ok("POST", f"{SHOP}/{path}", body) == {"done": path}
    last = shop.last_operation("shop")
    assert last is not None
    assert (last.mode, last.body) == (mode, recorded)
    assert [r.mode for r in temporal.started] == [mode]
