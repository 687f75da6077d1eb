from __future__ import annotations

import pytest
from fastapi import FastAPI

from api.dispatch import Dispatcher
from api.orchestrator import Workflow
from api.reconciler import reconcile
from tests.api.fake import FakeOrchestrator
from whimbrel.catalog.records import Mode, OperationRecord, Status
from whimbrel.catalog.store import Catalog

ID = "6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10"


@pytest.fixture
def dispatcher(app: FastAPI, shop: Catalog, temporal: FakeOrchestrator) -> Dispatcher:
    shop.begin_operation("shop", Mode.DATA, ID, "h", {"resume": True})
    return Dispatcher(shop, temporal)


async def heal(catalog: Catalog, dispatcher: Dispatcher) -> OperationRecord:
    await reconcile(catalog, dispatcher, grace_seconds=0)
    return catalog.get_operation(ID)


async def test_what_was_recorded_is_started(shop: Catalog, dispatcher: Dispatcher, temporal: FakeOrchestrator) -> None:
    record = await heal(shop, dispatcher)
    assert (record.status, record.workflow_started) == (Status.RUNNING, True)
    await heal(shop, dispatcher)
    assert [(r.operation, r.resume) for r in temporal.started] == [(ID, True)]


async def test_a_start_that_only_the_catalog_missed(
    shop: Catalog, dispatcher: Dispatcher, temporal: FakeOrchestrator
) -> None:
    temporal.states[ID] = Workflow.OPEN
    record = await heal(shop, dispatcher)
    assert (record.status, record.workflow_started, temporal.started) == (Status.RUNNING, True, [])


async def test_young_operations_are_left_to_their_request(
    shop: Catalog, dispatcher: Dispatcher, temporal: FakeOrchestrator
) -> None:
    assert await reconcile(shop, dispatcher, grace_seconds=60) == 0
    assert temporal.started == []


async def test_what_cannot_be_started_ends_as_failed(
    shop: Catalog, dispatcher: Dispatcher, temporal: FakeOrchestrator
) -> None:
    temporal.down = True
    record = await heal(shop, dispatcher)
    assert record.status is Status.FAILED
    assert record.error is not None
    assert record.error["code"] == "ORCHESTRATOR_FAILED"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (Workflow.OPEN, Status.RUNNING),
        (Workflow.COMPLETED, Status.FAILED),
        (Workflow.FAILED, Status.FAILED),
        (Workflow.MISSING, Status.FAILED),
        (Workflow.CANCELLED, Status.CANCELLED),
        (Workflow.TERMINATED, Status.STOPPED),
    ],
)
async def test_a_closed_workflow_ends_its_operation(
    shop: Catalog, dispatcher: Dispatcher, temporal: FakeOrchestrator, state: Workflow, status: Status
) -> None:
    shop.mark_started(ID, "run")
    temporal.states[ID] = state
    record = await heal(shop, dispatcher)
    assert record.status is status
    assert (record.error is not None) == (status is Status.FAILED)
    assert temporal.cleaned == ([ID] if state is Workflow.TERMINATED else [])


async def test_a_start_that_was_given_up_but_taken_is_cancelled(
    shop: Catalog, dispatcher: Dispatcher, temporal: FakeOrchestrator
) -> None:
    shop.fail_unstarted(ID, {"code": "ORCHESTRATOR_FAILED"})
    temporal.states[ID] = Workflow.OPEN
    assert (await heal(shop, dispatcher)).status is Status.FAILED
    assert temporal.states[ID] is Workflow.CANCELLED


async def test_without_temporal_running_operations_stay(
    shop: Catalog, dispatcher: Dispatcher, temporal: FakeOrchestrator
) -> None:
    shop.mark_started(ID, "run")
    temporal.down = True
    assert (await heal(shop, dispatcher)).status is Status.RUNNING
