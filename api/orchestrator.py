"""The only place of the API that talks to Temporal."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from whimbrel.errors import OperationNotFound, OperationTimeout, OrchestratorFailed, WhimbrelError, from_json
from worker.polling import Workers, workers
from worker.settings import Settings
from workflows.messages import CLEANUP_WORKFLOW, CONTROL_QUEUE, WORKFLOWS, OperationRequest
from workflows.titles import bounded, workflow_title

logger = logging.getLogger("api.orchestrator")

CONNECT_SECONDS = 4.0
CALL = timedelta(seconds=4)
CALL_SECONDS = 5.0  # the client's own bound is loose while it tries again
# What a cluster may know: all of ours, those of an earlier version, none.
_ATTRIBUTES = (
    ("WhimbrelMigration", "WhimbrelMode", "WhimbrelStatus", "WhimbrelSource", "WhimbrelTarget"),
    ("WhimbrelMigration", "WhimbrelMode", "WhimbrelStatus"),
    (),
)
ASK_AGAIN = 300.0  # seconds after which a cluster that did not know them is asked once more: workers register them


class Workflow(StrEnum):
    """What Temporal says about an operation's workflow."""

    OPEN = "open"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    MISSING = "missing"


class Orchestrator(Protocol):
    """Everything the API asks of Temporal. Each call raises OrchestratorFailed within seconds when it is not there."""

    async def start(self, request: OperationRequest) -> str:
        """Start the operation's workflow, or find it running; return its run id."""

    async def set_pause(self, operation: str, wanted: bool, seconds: float) -> None:
        """Return once it is at rest (or goes on). Raises OperationNotFound, OperationTimeout."""

    async def cancel(self, operation: str) -> bool:
        """Ask it to come to an end; False when Temporal knows no workflow of it. A closed one takes it in silence."""

    async def terminate(self, operation: str) -> bool:
        """End it at once; False when no workflow of it is open."""

    async def clean_up(self, request: OperationRequest) -> None:
        """Start the workflow that cleans up behind a terminated one, unless it runs."""

    async def state(self, operation: str) -> Workflow: ...

    async def failure(self, operation: str) -> str | None:
        """What the failed workflow of an operation says that it failed with."""

    async def reachable(self) -> bool:
        """Whether Temporal answers; raises nothing."""

    async def workers(self) -> Workers:
        """Whether a worker asks Temporal for work, as far as Temporal says. Raises nothing."""

    def url(self, operation: str) -> str | None:
        """The workflow's page in Temporal's UI."""


class TemporalOrchestrator:
    """The real one. Connects when first used and again after a failure."""

    def __init__(self, settings: Settings, ui: str | None = None) -> None:
        self._settings = settings
        self._ui = ui.rstrip("/") if ui else None
        self._client: Client | None = None
        self._connecting = asyncio.Lock()
        self._attributes = 0  # of those above: which the server has not refused
        self._refused_at = 0.0

    async def start(self, request: OperationRequest) -> str:
        client = await self._connected()
        async with self._failing():
            try:
                return await self._start(client, request)
            except WorkflowAlreadyStartedError:
                logger.info("the workflow of operation %s was started before", request.operation)
        with suppress(_NoOpenWorkflow):
            async with self._failing():
                found = await client.get_workflow_handle(request.operation).describe(rpc_timeout=CALL)
            if found.status is WorkflowExecutionStatus.RUNNING:
                return str(found.run_id)
        raise OrchestratorFailed(
            f"a workflow with the id {request.operation} has run and ended before",
            remedy="Send the request again with a new X-Request-Id.",
            workflow_id=request.operation,
        )

    async def _start(self, client: Client, request: OperationRequest) -> str:
        if self._attributes and time.monotonic() - self._refused_at > ASK_AGAIN:
            self._attributes = 0
        known = _ATTRIBUTES[self._attributes]
        try:
            handle = await client.start_workflow(
                WORKFLOWS[request.mode],
                request,
                id=request.operation,
                task_queue=CONTROL_QUEUE,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                search_attributes=_search_attributes(request, known),
                static_summary=workflow_title(request),
                static_details=_details(request),
                rpc_timeout=CALL,
            )
        except RPCError as e:
            if not known or e.status is not RPCStatusCode.INVALID_ARGUMENT:
                raise
            logger.warning("Temporal refused search attributes, going on with fewer: %s", e.message)
            self._attributes, self._refused_at = _ATTRIBUTES.index(known) + 1, time.monotonic()
            return await self._start(client, request)
        return str(handle.first_execution_run_id)

    async def set_pause(self, operation: str, wanted: bool, seconds: float) -> None:
        handle = await self._handle(operation)
        update = handle.execute_update("pause" if wanted else "resume", rpc_timeout=timedelta(seconds=seconds))
        try:
            async with self._failing(seconds + 1):
                await asyncio.wait_for(update, seconds)
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as e:
            raise OperationTimeout(
                f"operation {operation} has not come to rest yet" if wanted else f"operation {operation} still rests",
                operation_id=operation,
            ) from e
        except WorkflowUpdateFailedError as e:
            raise _registered(e) from e
        except _NoOpenWorkflow as e:
            raise OperationNotFound(f"operation {operation} has ended", operation_id=operation) from e

    async def cancel(self, operation: str) -> bool:
        handle = await self._handle(operation)
        try:
            async with self._failing():
                await handle.cancel(rpc_timeout=CALL)
        except _NoOpenWorkflow:
            return False
        return True

    async def terminate(self, operation: str) -> bool:
        handle = await self._handle(operation)
        try:
            async with self._failing():
                await handle.terminate(reason="stopped through the API", rpc_timeout=CALL)
        except _NoOpenWorkflow:
            return False
        return True

    async def clean_up(self, request: OperationRequest) -> None:
        client = await self._connected()
        async with self._failing():
            try:
                await client.start_workflow(
                    CLEANUP_WORKFLOW,
                    request,
                    id=f"{request.operation}-cleanup",
                    task_queue=CONTROL_QUEUE,
                    static_summary=bounded(f"cleaning up behind {workflow_title(request)}"),
                    rpc_timeout=CALL,
                )
            except WorkflowAlreadyStartedError:
                return

    async def state(self, operation: str) -> Workflow:
        handle = await self._handle(operation)
        try:
            async with self._failing():
                status = (await handle.describe(rpc_timeout=CALL)).status
        except _NoOpenWorkflow:
            return Workflow.MISSING
        return _STATES.get(status, Workflow.OPEN) if status is not None else Workflow.OPEN

    async def failure(self, operation: str) -> str | None:
        handle = await self._handle(operation)
        try:
            async with self._failing():
                await handle.result(rpc_timeout=CALL)
        except WorkflowFailureError as e:
            return _registered(e).message
        except _NoOpenWorkflow:
            return None
        return None

    async def reachable(self) -> bool:
        try:
            client = await self._connected()
            return await client.service_client.check_health(timeout=timedelta(seconds=2))
        except (OrchestratorFailed, RPCError):
            return False

    async def workers(self) -> Workers:
        try:
            return await workers(await self._connected())
        except (OrchestratorFailed, RPCError):
            return Workers.UNKNOWN

    def url(self, operation: str) -> str | None:
        return f"{self._ui}/namespaces/{self._settings.namespace}/workflows/{operation}" if self._ui else None

    async def _handle(self, operation: str) -> WorkflowHandle[Any, Any]:
        return (await self._connected()).get_workflow_handle(operation)

    async def _connected(self) -> Client:
        async with self._connecting:
            if self._client is None:
                try:
                    self._client = await asyncio.wait_for(self._settings.connect(), CONNECT_SECONDS)
                except (RuntimeError, OSError, TimeoutError) as e:
                    raise self._unreachable(str(e) or "no answer in time") from e
            return self._client

    @asynccontextmanager
    async def _failing(self, seconds: float = CALL_SECONDS) -> AsyncIterator[None]:
        """Tell 'no such workflow is open' from 'Temporal does not answer'."""
        try:
            async with asyncio.timeout(seconds) as limit:
                yield
        except TimeoutError as e:
            if not limit.expired():
                raise
            raise self._unreachable("no answer in time") from e
        except RPCError as e:
            if e.status is RPCStatusCode.NOT_FOUND and "namespace" not in e.message.lower():
                raise _NoOpenWorkflow from e
            raise self._unreachable(e.message) from e

    def _unreachable(self, why: str) -> OrchestratorFailed:
        return OrchestratorFailed(f"Temporal at {self._settings.address} could not be used: {why[:500]}")


def _search_attributes(request: OperationRequest, known: Sequence[str]) -> TypedSearchAttributes:
    values = {"WhimbrelMigration": request.migration, "WhimbrelMode": request.mode, "WhimbrelStatus": "running"}
    if request.title is not None:
        values |= {"WhimbrelSource": request.title.source, "WhimbrelTarget": request.title.target}
    pairs = [(SearchAttributeKey.for_keyword(name), values[name]) for name in known if name in values]
    return TypedSearchAttributes([SearchAttributePair(key, value) for key, value in pairs])


def _details(request: OperationRequest) -> str:
    """What stands on the workflow's page for good, in Markdown."""
    lines = [f"operation `{request.operation}` of migration **{request.migration}**: {request.mode}"]
    lines += [request.title.text] if request.title else []
    lines += ["`resume`: what an earlier operation has moved stays"] if request.resume else []
    return "\n\n".join(lines)


class _NoOpenWorkflow(Exception):
    """No workflow of that id, or it is closed."""


_STATES = {
    WorkflowExecutionStatus.COMPLETED: Workflow.COMPLETED,
    WorkflowExecutionStatus.FAILED: Workflow.FAILED,
    WorkflowExecutionStatus.TIMED_OUT: Workflow.FAILED,
    WorkflowExecutionStatus.CANCELED: Workflow.CANCELLED,
    WorkflowExecutionStatus.TERMINATED: Workflow.TERMINATED,
}


def _registered(error: BaseException) -> WhimbrelError:
    """The error that a workflow, an update handler or its activity raised, found along the chain of causes."""
    cause: BaseException | None = error
    last = str(error)
    while cause is not None:
        if isinstance(cause, ApplicationError):
            last = cause.message
            if cause.details and isinstance(cause.details[0], dict):
                return from_json(cause.details[0])
            if cause.type == OperationNotFound.reason():
                return OperationNotFound(cause.message)
        cause = cause.__cause__
    return OrchestratorFailed(f"the workflow refused: {last[:500]}")
