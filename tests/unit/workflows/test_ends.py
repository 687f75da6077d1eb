"""How operations end: completed, failed, cancelled, stopped; and that the catalog knows."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.common import SearchAttributeKey

from activities import jobs
from tests.unit.workflows.house import SECRET, House, failing, until_told, until_told_and_done
from whimbrel.catalog.records import OperationRecord, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import (
    CatalogUnreachable,
    HostUnreachable,
    OperationNotFound,
    SourceInterrupted,
    TableMissing,
    ValueRefused,
)
from whimbrel.model.job import Job
from whimbrel.model.progress import TablePhase, TableProgress
from whimbrel.pipeline.control import Control

RESULTS: dict[str, dict[str, object]] = {
    "schema-extract": {"tables": 2, "notes": ["public.a.c: timetz -> time"]},
    "schema-apply": {"tables_created": 2},
    "objects-apply": {"objects_succeeded": 1, "objects_failed": 0},
    "reset": {"mode": "truncate", "tables_dropped": 1, "drop_failed": 0},
    "validate": {"valid": True, "sample_percent": 7},
    "data": {"tables": 1, "rows": 10, "bytes": 100, "seconds": 0.5},
}
BODIES: dict[str, dict[str, Any]] = {"reset": {"mode": "truncate"}, "validate": {"sample_percent": 7}}


@pytest.mark.parametrize("mode", sorted(RESULTS))
async def test_an_operation_that_works_is_completed_with_its_result(house: House, mode: str) -> None:
    handle = await house.begin(mode, **BODIES.get(mode, {}))
    outcome = await handle.result()
    record = await house.ended(handle)
    assert outcome["status"] == record.status == Status.COMPLETED
    assert record.error is None
    assert record.result is not None
    assert RESULTS[mode].items() <= record.result.items()
    assert house.actors.called("clean_up") == []


async def test_progress_reaches_the_catalog(house: House) -> None:
    handle = await house.begin("data")
    record = await house.ended(handle)
    assert record.phase == "snapshot"
    assert record.progress is not None
    assert record.progress["tables"][0]["rows_loaded"] == 10


async def test_a_terminal_error_surfaces_at_once_with_its_code(house: House) -> None:
    house.actors.acts["copy_data"] = [failing(ValueRefused("public.a.c: a NUL byte", table="public.a"))]
    handle = await house.begin("data")
    with pytest.raises(WorkflowFailureError) as raised:
        await handle.result()
    record = await house.ended(handle)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error["code"] == "LOADER_FAILED"
    assert record.error["message"] == "public.a.c: a NUL byte"
    assert record.error["details"]["reason"] == "value_refused"
    assert record.error["details"]["table"] == "public.a"
    assert getattr(raised.value.cause, "type", None) == "value_refused"
    assert len(house.actors.called("copy_data")) == 1
    # slot and publication stay, so that a resume loses nothing
    assert house.actors.called("clean_up") == [{}]


async def test_a_passing_error_is_tried_again_and_says_so(house: House) -> None:
    interrupted = failing(SourceInterrupted("the source restarted"))
    house.actors.acts["copy_data"] = [interrupted, interrupted, lambda job, control: None]
    handle = await house.begin("data")
    await handle.result()
    record = await house.ended(handle)
    assert record.status is Status.COMPLETED
    assert len(house.actors.called("copy_data")) == 3
    assert "attempt 2 failed and is tried again in 2 s: the source restarted" in record.logs["extractor"]


async def test_repair_goes_by_the_last_comparison(house: House) -> None:
    record = await house.ended(await house.begin("validate", repair=True))
    assert record.error is not None
    assert (record.error["code"], record.error["details"]["field"]) == ("INVALID_REQUEST", "repair")
    compared = await house.ended(await house.begin("validate", sample_percent=7))
    for _ in range(2):  # a repair is no report for the next one
        record = await house.ended(await house.begin("validate", repair=True))
        assert record.result is not None
        assert (record.result["report"], record.result["repaired"]) == (compared.id, 1)
    told = {"report": compared.result, "comparison": compared.id}
    assert house.actors.called("repair_data") == [told] * 2


async def test_a_short_operation_gives_up(house: House) -> None:
    house.actors.acts["extract_schema"] = [failing(SourceInterrupted("the connection to db:5432 broke"))]
    handle = await house.begin("schema-extract")
    record = await house.ended(handle, 60)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error["code"] == "EXTRACTOR_FAILED"
    assert len(house.actors.called("extract_schema")) == 6


@pytest.mark.parametrize(("mode", "step"), [("schema-extract", "extract_schema"), ("data", "copy_data")])
async def test_a_host_that_was_never_reached_is_not_waited_for(house: House, mode: str, step: str) -> None:
    house.actors.acts[step] = [failing(HostUnreachable("no answer from db:5432"))]
    record = await house.ended(await house.begin(mode), 30)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error["code"] == "CONNECTION_REFUSED"
    assert 2 <= len(house.actors.called(step)) <= 4


async def test_a_host_that_was_reached_is_waited_for_and_the_wait_is_shown(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activities.step.FIRST_CONTACT", 0.0)

    def reached(job: Job, control: Control) -> None:
        control.table(TableProgress("public.a", TablePhase.COPYING, 10, 5, 5, 100, 1, 2))
        raise HostUnreachable("no answer from db:5432")

    shown: list[str] = []

    def look(job: Job, control: Control) -> None:
        error = house.catalog.get_operation(job.operation).error
        shown.append(error["code"] if error else "")

    house.actors.acts["copy_data"] = [reached, look]
    record = await house.ended(await house.begin("data"), 30)
    assert record.status is Status.COMPLETED
    assert record.error is None
    assert shown == ["CONNECTION_REFUSED"]


async def test_a_bug_becomes_an_internal_error_with_an_id(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.actors.acts["apply_schema"] = [failing(KeyError(f"no {SECRET}"))]
    handle = await house.begin("schema-apply")
    record = await house.ended(handle)
    assert record.error is not None
    assert record.error["code"] == "INTERNAL_ERROR"
    error_id = record.error["details"]["id"]
    lines = next(r.getMessage() for r in caplog.records if error_id in r.getMessage())
    assert "KeyError" in lines
    assert "***" in lines
    assert SECRET not in lines + str(record.error)


@pytest.mark.parametrize(
    ("mode", "step"),
    [
        ("data", "copy_data"),
        ("change", "replicate"),
        ("data-replication", "copy_data"),
        ("data-replication", "replicate"),
        ("validate", "validate_data"),
    ],
)
async def test_cancel_cleans_up_in_each_phase(house: House, mode: str, step: str) -> None:
    house.actors.acts[step] = [until_told]
    handle = await house.begin(mode)
    await house.reached(step)
    await handle.cancel()
    record = await house.ended(handle)
    assert record.status is Status.CANCELLED
    assert record.error is None
    assert house.actors.called("clean_up") == [{}]
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED


async def test_a_cancel_that_meets_the_end_of_a_step_is_looked_at_before_the_next(house: House) -> None:
    house.actors.acts["copy_data"] = [until_told_and_done]
    handle = await house.begin("data-replication")
    await house.reached("copy_data")
    await handle.cancel()
    record = await house.ended(handle)
    assert (record.status, house.actors.called("replicate")) == (Status.CANCELLED, [])
    assert house.actors.called("clean_up") == [{}]


async def test_a_step_that_fails_on_its_way_out_was_cancelled_all_the_same(house: House) -> None:
    def stumbles(job: object, control: object) -> None:
        try:
            until_told(job, control)  # type: ignore[arg-type]  # only passed through
        finally:
            raise SourceInterrupted("the connection broke while closing")

    house.actors.acts["replicate"] = [stumbles]
    handle = await house.begin("change")
    await house.reached("replicate")
    await handle.cancel()
    assert (await house.ended(handle)).status is Status.CANCELLED


async def test_a_cleanup_that_fails_for_good_is_told_and_ends_the_operation(house: House) -> None:
    house.actors.acts["replicate"] = [until_told]
    house.actors.acts["clean_up"] = [failing(TableMissing("whimbrel.progress is gone"))]
    handle = await house.begin("change")
    await house.reached("replicate")
    await handle.cancel()
    record = await house.ended(handle)
    assert record.status is Status.CANCELLED
    assert record.error is not None
    assert record.error["message"].endswith("a slot, publication or connection may be left: whimbrel.progress is gone")


async def test_stop_sends_the_step_home_and_cleans_twice(house: House) -> None:
    left: list[str] = []

    def leaves(job: object, control: object) -> None:
        try:
            until_told(job, control)  # type: ignore[arg-type]  # only passed through
        finally:
            left.append("left")
            house.actors.calls.append(("left", {}))

    house.actors.acts["replicate"] = [leaves]
    handle = await house.begin("change")
    await house.reached("replicate")
    await house.stop(handle, "change")
    assert house.operation(handle).status is Status.STOPPED
    names = [name for name, _ in house.actors.calls]
    assert names == ["replicate", "left", "clean_up", "clean_up"]
    assert house.actors.called("clean_up") == [{}] * 2


FAULTS: dict[str, Exception] = {
    "away": CatalogUnreachable("the server closed the connection"),
    "full": OSError(28, "No space left on device"),
    "driver": sqlite3.OperationalError("database is locked"),
    "bug": KeyError("status"),
    "other catalog": OperationNotFound("there is no such operation"),
}


def failing_first(monkeypatch: pytest.MonkeyPatch, name: str, errors: list[Exception]) -> list[Exception]:
    """Make the worker's catalog raise these in turn before it answers; returns those it has not raised yet."""
    answer, left = getattr(Catalog, name), list(errors)

    def fails(catalog: Catalog, *told: Any, **named: Any) -> OperationRecord:
        if left and catalog is jobs.catalog():
            raise left.pop(0)
        found: OperationRecord = answer(catalog, *told, **named)
        return found

    monkeypatch.setattr(Catalog, name, fails)
    return left


@pytest.mark.parametrize(
    ("mode", "fault"), [("schema-extract", "away"), ("validate", "away"), *(("data", name) for name in FAULTS)]
)
async def test_the_end_is_recorded_whatever_the_catalog_does_first(
    house: House, monkeypatch: pytest.MonkeyPatch, mode: str, fault: str
) -> None:
    """In a step that records its own result, whose work is not done again; and in the last, which none comes after."""
    left = failing_first(monkeypatch, "finish_operation", [FAULTS[fault]])
    record = await house.ended(await house.begin(mode))
    assert (record.status, record.error, left) == (Status.COMPLETED, None, [])
    assert record.result
    assert len(house.actors.calls) == 1


async def test_a_failure_is_recorded_as_it_was_whatever_the_catalog_does_first(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_first(monkeypatch, "finish_operation", [FAULTS["driver"], FAULTS["bug"]])
    house.actors.acts["copy_data"] = [failing(ValueRefused("public.a.c: a NUL byte"))]
    record = await house.ended(await house.begin("data"))
    assert record.error is not None
    assert (record.status, record.error["message"]) == (Status.FAILED, "public.a.c: a NUL byte")


async def test_a_step_that_a_worker_of_another_catalog_took_is_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = failing_first(monkeypatch, "get_operation", [FAULTS["other catalog"]] * 2)
    record = await house.ended(await house.begin("data"))
    assert record.status is Status.COMPLETED
    assert left == []
    assert "is not in this worker's catalog (SQLite, " in record.logs["extractor"]


async def test_the_first_end_stands(house: House) -> None:
    house.actors.acts["replicate"] = [until_told]
    handle = await house.begin("change")
    await house.reached("replicate")
    house.catalog.finish_operation(handle.id, Status.STOPPED)
    await handle.cancel()
    assert (await house.ended(handle)).status is Status.STOPPED


async def test_no_secret_stands_in_history(house: House) -> None:
    house.actors.acts["copy_data"] = [failing(ValueRefused(f"login as u with {SECRET} was refused"))]
    handle = await house.begin("data")
    await house.ended(handle)
    history = await handle.fetch_history()
    assert any(e.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED for e in history.events)
    assert SECRET not in history.to_json()
    assert SECRET not in str(house.operation(handle))


async def test_the_ui_can_filter_by_status(house: House) -> None:
    house.actors.acts["replicate"] = [until_told]
    handle = await house.begin("change")
    await house.reached("replicate")
    assert await shown_status(handle) == "running"
    await handle.execute_update("pause")
    assert await shown_status(handle) == "paused"
    await handle.cancel()
    await house.ended(handle)
    assert await shown_status(handle) == "cancelled"


async def test_a_cluster_that_does_not_know_our_attributes_runs_operations_too(house: House) -> None:
    house.attributes = False
    handle = await house.begin("data")
    await handle.result()
    assert await shown_status(handle) is None


async def shown_status(handle: WorkflowHandle[Any, Any]) -> str | None:
    attributes = (await handle.describe()).typed_search_attributes
    return attributes.get(SearchAttributeKey.for_keyword("WhimbrelStatus"))
