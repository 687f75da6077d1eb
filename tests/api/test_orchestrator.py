"""The real orchestrator against a real Temporal server, with workflows that only wait."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from temporalio.client import Client as TemporalClient
from temporalio.common import TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from api.app import create_app
from api.dispatch import Dispatcher
from api.orchestrator import ASK_AGAIN, TemporalOrchestrator, Workflow
from api.reconciler import reconcile
from tests.api.conftest import Client
from tests.api.temporal import Temporal
from tests.api.waiting import Cleanup, Data, Recorder, Reset
from tests.servers.process import wait_until
from whimbrel.catalog.records import Mode, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import OperationNotFound, OrchestratorFailed, PositionLost
from worker.settings import Settings
from workflows.messages import CONTROL_QUEUE, OperationRequest, Title

ID = "6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10"
SHOP = "/v1/migrations/shop"


@pytest.fixture(scope="module")
def server() -> Iterator[Temporal]:
    folder = Path(tempfile.mkdtemp(prefix="whimbrel-temporal-"))
    made = Temporal(folder)
    made.start()
    try:
        wait_until(lambda: _answers(made), 30, "Temporal")
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(server: Temporal) -> bool:
    if not server.running:
        raise RuntimeError(server.tail())
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", server.port)) == 0


@pytest.fixture
async def orchestrator(server: Temporal) -> TemporalOrchestrator:
    made = TemporalOrchestrator(Settings(address=server.address), "http://ui")
    for _ in range(100):
        if await made.reachable():
            return made
        await asyncio.sleep(0.1)
    raise TimeoutError("Temporal is not healthy")


@pytest.fixture
async def worker(server: Temporal, shop: Catalog, orchestrator: TemporalOrchestrator) -> AsyncIterator[None]:
    client = await TemporalClient.connect(server.address)
    with ThreadPoolExecutor(4) as threads:
        async with Worker(
            client,
            task_queue=CONTROL_QUEUE,
            workflows=[Data, Reset, Cleanup],
            activities=[Recorder(shop).end],
            activity_executor=threads,
        ):
            yield


@pytest.fixture
async def live(shop: Catalog, orchestrator: TemporalOrchestrator, key: str, worker: None) -> AsyncIterator[Client]:
    app = create_app(shop, orchestrator, sync_seconds=30)
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://api", headers=headers) as http:
        yield Client(http)


def request(operation: str) -> OperationRequest:
    return OperationRequest(operation, "shop", "data")


async def test_a_synchronous_call_runs_a_workflow(live: Client, shop: Catalog) -> None:
    assert await live.ok("POST", f"{SHOP}/reset", {"mode": "metadata"}) == {"by": "workflow"}
    last = shop.last_operation("shop")
    assert last is not None
    assert last.run_id


async def test_cancel_goes_through_the_workflow(live: Client, orchestrator: TemporalOrchestrator) -> None:
    id = (await live.ok("POST", f"{SHOP}/data"))["operation_id"]
    assert await orchestrator.state(id) is Workflow.OPEN
    assert (await live.ok("POST", f"/v1/operations/{id}/cancel"))["status"] == "cancelled"
    shown = await live.ok("GET", f"/v1/operations/{id}")
    assert shown["workflow"]["url"] == f"http://ui/namespaces/default/workflows/{id}"
    assert shown["result"] == {"by": "workflow"}


async def test_stop_terminates_and_cleans_up(live: Client, orchestrator: TemporalOrchestrator) -> None:
    id = (await live.ok("POST", f"{SHOP}/data"))["operation_id"]
    assert (await live.ok("POST", f"/v1/operations/{id}/stop"))["status"] == "stopped"
    assert await orchestrator.state(id) is Workflow.TERMINATED
    assert await orchestrator.state(f"{id}-cleanup") in (Workflow.OPEN, Workflow.COMPLETED)


async def test_starting_twice_finds_the_first(orchestrator: TemporalOrchestrator, worker: None) -> None:
    run = await orchestrator.start(request("twice"))
    assert await orchestrator.start(request("twice")) == run
    assert await orchestrator.terminate("twice")
    assert not await orchestrator.terminate("twice")
    assert not await orchestrator.cancel("never")
    with pytest.raises(OrchestratorFailed, match="has run and ended"):
        await orchestrator.start(request("twice"))


async def test_updates_and_their_errors(orchestrator: TemporalOrchestrator, worker: None) -> None:
    await orchestrator.start(request("updated"))
    await orchestrator.set_pause("updated", True, 10)
    with pytest.raises(PositionLost, match="the log is gone"):
        await orchestrator.set_pause("updated", False, 10)
    await orchestrator.terminate("updated")
    with pytest.raises(OperationNotFound):
        await orchestrator.set_pause("updated", True, 10)
    with pytest.raises(OperationNotFound):
        await orchestrator.set_pause("never", True, 10)
    assert await orchestrator.state("never") is Workflow.MISSING


async def test_a_workflow_ended_behind_our_back(
    live: Client, shop: Catalog, orchestrator: TemporalOrchestrator
) -> None:
    dispatcher = Dispatcher(shop, orchestrator)
    id = (await live.ok("POST", f"{SHOP}/data"))["operation_id"]
    await orchestrator.terminate(id)
    await reconcile(shop, dispatcher, grace_seconds=0)
    assert (await dispatcher.ended(id)).status is Status.STOPPED


async def test_what_a_failed_workflow_says(orchestrator: TemporalOrchestrator, worker: None) -> None:
    """A reset of an operation that the catalog does not have, so that its last activity fails."""
    await orchestrator.start(OperationRequest("fails", "shop", "reset"))
    for _ in range(100):
        if await orchestrator.state("fails") is Workflow.FAILED:
            break
        await asyncio.sleep(0.1)
    assert await orchestrator.failure("fails") == "not in this catalog"
    assert await orchestrator.failure("never") is None


async def test_the_search_attributes_filter(orchestrator: TemporalOrchestrator, server: Temporal, worker: None) -> None:
    title = Title("old (postgres) → new (mariadb), 12 tables", "old", "new")
    await orchestrator.start(replace(request("filtered"), title=title))
    client = await TemporalClient.connect(server.address)
    ends = "WhimbrelSource = 'old' AND WhimbrelTarget = 'new'"
    query = f"WhimbrelMigration = 'shop' AND WhimbrelMode = 'data' AND {ends} AND WorkflowId = 'filtered'"
    for _ in range(100):
        found = [w.id async for w in client.list_workflows(query)]
        if found:
            break
        await asyncio.sleep(0.1)
    assert found == ["filtered"]
    shown = await client.get_workflow_handle("filtered").describe()
    assert await shown.static_summary() == "shop: old (postgres) → new (mariadb), 12 tables"
    assert "operation `filtered` of migration **shop**: data" in (await shown.static_details() or "")
    await orchestrator.terminate("filtered")


@pytest.mark.parametrize(("known", "kept"), [(3, ("WhimbrelMigration", "WhimbrelMode", "WhimbrelStatus")), (0, ())])
async def test_a_cluster_gets_the_attributes_that_it_knows(known: int, kept: tuple[str, ...]) -> None:
    """And is asked for all of them again after a while, as a worker may have registered them."""
    client = _Refusing(known)
    orchestrator = TemporalOrchestrator(Settings())
    orchestrator._client = cast(TemporalClient, client)
    asked = replace(request("x"), title=Title("a (postgres) → b (mysql), 1 table", "a", "b"))
    await orchestrator.start(asked)
    assert client.sent[-1] == kept
    refused = len(client.sent)
    await orchestrator.start(asked)
    assert len(client.sent) == refused + 1, "what was refused is not asked each time"
    client.known = 5
    orchestrator._refused_at -= ASK_AGAIN + 1
    await orchestrator.start(asked)
    assert client.sent[-1] == _ALL


_ALL = ("WhimbrelMigration", "WhimbrelMode", "WhimbrelStatus", "WhimbrelSource", "WhimbrelTarget")


class _Refusing:
    """A client whose cluster knows so many of the attributes."""

    def __init__(self, known: int) -> None:
        self.known = known
        self.sent: list[tuple[str, ...]] = []

    async def start_workflow(self, *_: Any, search_attributes: TypedSearchAttributes, **__: Any) -> Any:
        sent = {pair.key.name for pair in search_attributes}
        self.sent.append(tuple(name for name in _ALL if name in sent))
        if not sent <= set(_ALL[: self.known]):
            raise RPCError("no mapping defined for search attribute", RPCStatusCode.INVALID_ARGUMENT, b"")
        return SimpleNamespace(first_execution_run_id="run")


async def test_an_address_where_nobody_listens_fails_quickly(shop: Catalog) -> None:
    orchestrator = TemporalOrchestrator(Settings(address="127.0.0.1:1"))
    shop.begin_operation("shop", Mode.DATA, ID, "h", {})
    began = time.monotonic()
    with pytest.raises(OrchestratorFailed, match=r"127\.0\.0\.1:1"):
        await Dispatcher(shop, orchestrator).launch(shop.get_operation(ID))
    assert time.monotonic() - began < 6
    assert shop.running_operation("shop") is None
    assert not await orchestrator.reachable()


async def test_a_server_that_dies_fails_quickly_and_is_used_again(server: Temporal, worker: None) -> None:
    orchestrator = TemporalOrchestrator(Settings(address=server.address))
    await orchestrator.start(request("survivor"))
    server.kill()
    began = time.monotonic()
    with pytest.raises(OrchestratorFailed):
        await orchestrator.cancel("survivor")
    assert time.monotonic() - began < 8
    server.start()
    wait_until(lambda: _answers(server), 30, "Temporal")
    for _ in range(100):
        if await orchestrator.reachable():
            break
        await asyncio.sleep(0.1)
    assert await orchestrator.state("survivor") is Workflow.OPEN
    await orchestrator.terminate("survivor")
