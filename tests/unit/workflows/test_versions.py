"""Workers as versions of a deployment: what one build began, the next one goes on with, and nothing is lost between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentVersionRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from tests.servers.temporal import Temporal
from tests.unit.workflows.house import House, open_house, until_told
from whimbrel.catalog.records import Status
from workflows.messages import CONTROL_QUEUE, DATA_QUEUE

DEPLOYMENT = "whimbrel"


@pytest.fixture(scope="module")
def versioned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Temporal]:
    """A server of its own: a current version would keep all other tests' workers from their queues."""
    server = Temporal.make(tmp_path_factory.mktemp("versions"))
    server.start()
    yield server
    server.stop()


@pytest_asyncio.fixture
async def house(versioned: Temporal, tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(versioned.address, tmp_path / "home") as house:
        yield house


async def make_current(house: House, build: str) -> None:
    """As an operator does with ``temporal worker deployment set-current-version``, once the build polls both queues."""
    await polled(house, build)
    await house.client.workflow_service.set_worker_deployment_current_version(
        SetWorkerDeploymentCurrentVersionRequest(
            namespace=house.client.namespace, deployment_name=DEPLOYMENT, build_id=build
        )
    )


async def polled(house: House, build: str) -> None:
    """Wait until Temporal knows both queues as that build's."""
    version = WorkerDeploymentVersion(deployment_name=DEPLOYMENT, build_id=build)
    asked = DescribeWorkerDeploymentVersionRequest(namespace=house.client.namespace, deployment_version=version)
    known: set[str] = set()
    async with asyncio.timeout(20):
        while known != {CONTROL_QUEUE, DATA_QUEUE}:
            try:
                answer = await house.client.workflow_service.describe_worker_deployment_version(asked)
                known = {queue.name for queue in answer.worker_deployment_version_info.task_queue_infos}
            except RPCError as e:
                if e.status is not RPCStatusCode.NOT_FOUND:
                    raise
            await asyncio.sleep(0.1)


async def build_of(handle: WorkflowHandle[Any, Any]) -> str:
    """The build on which its workflow was last at work."""
    described = (await handle.describe()).raw_description.workflow_execution_info
    return str(described.versioning_info.deployment_version.build_id)


async def test_an_operation_goes_on_under_the_next_build(house: House) -> None:
    """From no version to one, and from that to the next: each time the step in hand moves when its worker leaves."""
    house.actors.acts["replicate"] = [until_told]
    async with house.worker():
        handle = await house.begin("change")
        await house.reached("replicate")
        async with house.worker(build_id="1"):
            await make_current(house, "1")
    async with house.worker(build_id="1"):
        await house.reached("replicate", 2)
        assert (await handle.execute_update("pause"))["action"] == "paused"
        assert await build_of(handle) == "1"
        async with house.worker(build_id="2"):
            await make_current(house, "2")
    async with house.worker(build_id="2"):
        await house.reached("replicate", 3)
        assert house.operation(handle).paused, "a pause outlives its build"
        await handle.execute_update("resume")
        await handle.cancel()
        assert (await house.ended(handle)).status is Status.CANCELLED
        assert await build_of(handle) == "2"
