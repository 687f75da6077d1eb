from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from api.results import MigrationStatus, Operation, Operations, Started
from tests.api.conftest import MARKER, Client
from tests.api.fake import FakeOrchestrator, completing
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Mode, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import NotExtracted, SchemaMismatch
from whimbrel.model.progress import ChangeProgress, TableChangeTotals, TablePhase, TableProgress
from workflows.messages import OperationRequest, Title

ID = "6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10"
RID = {"X-Request-Id": ID}
SHOP = "/v1/migrations/shop"


async def test_asynchronous_work_answers_at_once(client: Client, shop: Catalog, temporal: FakeOrchestrator) -> None:
    result = Started.model_validate(await client.ok("POST", f"{SHOP}/data", {"resume": True}))
    assert result.status == "running"
    assert result.started_at.endswith("Z")
    (request,) = temporal.started
    title = Title("old (postgres) → new (postgres), 1 pattern of tables", "old", "new")
    assert request == OperationRequest(result.operation_id, "shop", "data", resume=True, title=title)
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


@pytest.mark.parametrize("path", ["schema/apply", "objects/apply"])
async def test_applying_needs_an_extracted_schema(
    client: Client, shop: Catalog, temporal: FakeOrchestrator, path: str
) -> None:
    status, code, error = await client.refused("POST", f"{SHOP}/{path}", {})
    assert (status, code, error["details"]["reason"]) == (400, "INVALID_REQUEST", "not_extracted")
    assert "POST /v1/migrations/shop/schema/extract first" in error["details"]["remedy"]
    assert shop.list_operations() == ([], 0)
    extracted(shop)
    temporal.behaviour = completing(shop, {"done": path})
    await client.ok("POST", f"{SHOP}/{path}", {})


async def test_an_extracted_schema_that_the_worker_does_not_find(
    client: Client, shop: Catalog, temporal: FakeOrchestrator
) -> None:
    """Somebody has removed the file, or it is on another machine's disk."""
    extracted(shop)
    error = NotExtracted("tables-schema.sql does not exist").to_json()
    temporal.behaviour = lambda r: shop.finish_operation(r.operation, Status.FAILED, error=error)
    status, _, found = await client.refused("POST", f"{SHOP}/schema/apply", headers=RID)
    assert (status, found["details"]["reason"]) == (400, "not_extracted")


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
    extracted(shop)
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
    if path.endswith("/apply"):
        extracted(shop)
    temporal.behaviour = completing(shop, {"done": path})
    assert await client.ok("POST", f"{SHOP}/{path}", body) == {"done": path}
    last = shop.last_operation("shop")
    assert last is not None
    assert (last.mode, last.body) == (mode, recorded)
    assert [r.mode for r in temporal.started] == [mode]
