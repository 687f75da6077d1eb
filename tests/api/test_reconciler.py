from __future__ import annotations

import asyncio

import pytest
from fastapi import FastAPI

from api.dispatch import Dispatcher
from api.orchestrator import Workflow
from api.reconciler import reconcile
from tests.api.fake import FakeOrchestrator
from whimbrel.catalog.records import Mode, OperationRecord, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import CatalogUnreachable

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


async def test_what_a_failed_workflow_says_is_told(
    shop: Catalog, dispatcher: Dispatcher, temporal: FakeOrchestrator
) -> None:
    shop.mark_started(ID, "run")
    temporal.states[ID] = Workflow.FAILED
    temporal.failures[ID] = "no worker knows this operation"
    record = await heal(shop, dispatcher)
    assert record.error is not None
    assert record.error["message"].endswith("without recording how it ended: no worker knows this operation")


async def test_a_wait_outlives_a_catalog_and_a_temporal_that_are_away(
    shop: Catalog, dispatcher: Dispatcher, temporal: FakeOrchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.mark_started(ID, "run")
    temporal.down = True
    monkeypatch.setattr("api.dispatch.SETTLE_EVERY", -1.0)
    waiting = asyncio.create_task(dispatcher.ended(ID))
    await asyncio.sleep(0.1)
    with monkeypatch.context() as away:
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()

        def refuse(*_: object, **__: object) -> OperationRecord:
            loop.call_soon_threadsafe(asked.set)
            raise CatalogUnreachable("no answer")

        away.setattr(shop, "get_operation", refuse)
        await asyncio.wait_for(asked.wait(), 5)
    shop.finish_operation(ID, Status.COMPLETED, {"rows": 1})
    assert (await asyncio.wait_for(waiting, 5)).result == {"rows": 1}


async def test_a_catalog_that_stays_away_ends_a_wait(
    shop: Catalog, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> OperationRecord:
        raise CatalogUnreachable("no answer")

    monkeypatch.setattr("api.dispatch.CATALOG_SECONDS", 0.2)
    monkeypatch.setattr(shop, "get_operation", refuse)
    with pytest.raises(CatalogUnreachable):
        await asyncio.wait_for(dispatcher.ended(ID), 5)


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
