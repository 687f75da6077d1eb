"""Operations from the API's side: record, start, wait, pause, cancel, stop."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from api.orchestrator import Orchestrator, Workflow
from api.threads import in_thread
from api.titles import title_of
from whimbrel.catalog.records import Mode, OperationRecord, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import (
    CatalogUnreachable,
    InternalError,
    OperationNotFound,
    OperationTimeout,
    OrchestratorFailed,
)
from workflows.messages import OperationRequest, Title

logger = logging.getLogger("api.dispatch")

SYNC_SECONDS = 15 * 60.0
POLL_SECONDS = (0.05, 0.5)  # between looks at the catalog: at first, at last
CATALOG_SECONDS = 30.0  # how long a catalog may be away while an operation's end is waited for
SETTLE_EVERY = 10.0  # seconds between asking Temporal whether a workflow that is waited for still lives

Prepare = Callable[[], Awaitable[dict[str, Any]]]


class Dispatcher:
    """Keeps catalog and Temporal in step. Any number of API processes may do so at once."""

    def __init__(self, catalog: Catalog, orchestrator: Orchestrator, sync_seconds: float = SYNC_SECONDS) -> None:
        self._catalog = catalog
        self._orchestrator = orchestrator
        self._sync_seconds = sync_seconds

    async def start(
        self, migration: str, mode: Mode, asked: dict[str, Any], request_id: str | None, prepare: Prepare
    ) -> OperationRecord:
        """Record the operation and start its workflow; the same request again finds the same operation.

        ``asked`` is the body with its defaults. ``prepare`` checks whether the operation may begin and gives the body
        to record; a repeated request is not checked again, as things may have changed since. Raises what ``prepare``
        raises, MigrationNotFound, OperationConflict, InvalidRequest, OrchestratorFailed.
        """
        operation = request_id or str(uuid.uuid4())
        digest = request_hash(mode, migration, asked)
        if request_id is not None:
            known = await in_thread(self._catalog.repeated_operation, migration, mode, operation, digest)
            if known is not None:
                return await self.launch(known)
        body = await prepare()
        record, _ = await in_thread(self._catalog.begin_operation, migration, mode, operation, digest, body)
        return await self.launch(record)

    async def launch(self, record: OperationRecord) -> OperationRecord:
        """Start the workflow of a recorded operation unless it was started. Called by several at once it starts one.

        A failure ends the operation as failed, so that the migration is free again; the same request sent again
        takes it up. Raises OrchestratorFailed.
        """
        if record.workflow_started or record.status is not Status.RUNNING:
            return record
        try:
            run_id = await self._orchestrator.start(await self._request(record))
        except OrchestratorFailed as e:
            error = OrchestratorFailed(e.message, remedy=e.how_to_fix, **{**e.extra, "operation_id": record.id})
            if await in_thread(self._catalog.fail_unstarted, record.id, error.to_json()):
                raise error from e
            return await self._look(record.id)
        running = await in_thread(self._catalog.mark_started, record.id, run_id)
        now = await self._look(record.id)
        if not running and now.status is not Status.COMPLETED:
            # Cancelled, stopped or given up between recording and starting. (If it failed by itself it is ending.)
            await self._orchestrator.cancel(record.id)
        return now

    async def ended(self, operation: str) -> OperationRecord:
        """Wait until the operation has ended and return it with its logs. Raises OperationTimeout after 15 minutes.

        The operation goes on without us, so a catalog that is away for a moment, or Temporal, ends no waiting.
        Raises CatalogUnreachable when it stays away.
        """
        began = settled = answered = time.monotonic()
        pause, longest = POLL_SECONDS
        while True:
            now = time.monotonic()
            try:
                record = await self._look(operation)
                if record.status is not Status.RUNNING:
                    return await in_thread(self._catalog.get_operation, operation)
                answered = now
                if now - settled > SETTLE_EVERY:
                    settled = now
                    await self.settle(record)
            except OrchestratorFailed as e:
                logger.warning("operation %s is waited for: %s", operation, e.message)
            except CatalogUnreachable as e:
                if now - answered > CATALOG_SECONDS:
                    raise
                logger.warning("operation %s is waited for: %s", operation, e.message)
            if now - began > self._sync_seconds:
                raise OperationTimeout(
                    f"operation {operation} still runs after {self._sync_seconds:g} s", operation_id=operation
                )
            await asyncio.sleep(pause)
            pause = min(longest, pause * 1.3)

    async def set_pause(self, migration: str, modes: frozenset[Mode], wanted: bool) -> OperationRecord:
        """Pause or resume what runs; return once it is true. Raises MigrationNotFound, OperationNotFound, ..."""
        await in_thread(self._catalog.get_migration, migration)
        record = await in_thread(self._catalog.running_operation, migration)
        if record is None or record.mode not in modes:
            running = f"; a {record.mode} operation does" if record else ""
            raise OperationNotFound(f"no replication runs on migration {migration!r}{running}", migration=migration)
        await self._orchestrator.set_pause(record.id, wanted, self._sync_seconds)
        return record

    async def cancel(self, operation: str) -> OperationRecord:
        """Ask it to come to an end and wait for that. An ended operation is returned unchanged."""
        record = await self._look(operation)
        if record.status is not Status.RUNNING:
            return record
        if not await self._orchestrator.cancel(operation):
            await self._finish_without_workflow(record, Status.CANCELLED)
        return await self.ended(operation)

    async def stop(self, operation: str) -> OperationRecord:
        """End it at once, clean up behind it and wait for that. An ended operation is returned unchanged."""
        record = await self._look(operation)
        if record.status is not Status.RUNNING:
            return record
        found = await self._orchestrator.terminate(operation)
        if found or record.workflow_started:
            await self._orchestrator.clean_up(await self._request(record))
        else:
            await self._finish_without_workflow(record, Status.STOPPED)
        return await self.ended(operation)

    async def settle(self, record: OperationRecord) -> None:
        """Bring a running operation's row in line with its workflow. Raises OrchestratorFailed."""
        if not record.workflow_started:
            await self.launch(record)
            return
        state = await self._orchestrator.state(record.id)
        if state is Workflow.OPEN:
            return
        if state is Workflow.TERMINATED:
            await self._orchestrator.clean_up(await self._request(record))
            return
        await self._record_end(record, state)

    async def disown(self, record: OperationRecord) -> None:
        """Cancel the workflow of an operation that was given up, if Temporal took the start and only its answer was
        lost. Raises OrchestratorFailed."""
        if await self._orchestrator.state(record.id) is Workflow.OPEN:
            await self._orchestrator.cancel(record.id)

    async def _record_end(self, record: OperationRecord, state: Workflow) -> None:
        """A workflow records its end before it closes, so this one could not; the first writer still wins."""
        if state is Workflow.CANCELLED:
            await in_thread(self._catalog.finish_operation, record.id, Status.CANCELLED)
            return
        if state is Workflow.MISSING:
            message = "Temporal no longer knows its workflow"
        else:
            why = await self._orchestrator.failure(record.id) if state is Workflow.FAILED else None
            message = f"its workflow has {state} without recording how it ended{f': {why}' if why else ''}"
        error = OrchestratorFailed(
            f"operation {record.id}: {message}",
            remedy="Read the workflow's history in Temporal, then start again with resume=true.",
            operation_id=record.id,
        )
        await in_thread(self._catalog.finish_operation, record.id, Status.FAILED, None, error.to_json())

    async def _finish_without_workflow(self, record: OperationRecord, status: Status) -> None:
        if record.workflow_started:
            await self.settle(record)
        else:
            await in_thread(self._catalog.finish_operation, record.id, status)

    async def _request(self, record: OperationRecord) -> OperationRequest:
        return request_of(record, await in_thread(title_of, self._catalog, record))

    async def _look(self, operation: str) -> OperationRecord:
        return await in_thread(self._catalog.get_operation, operation, detail=False)


def request_of(record: OperationRecord, title: Title | None = None) -> OperationRequest:
    """What the workflow is told; everything else stands in the catalog."""
    if not isinstance(record.body, dict):
        raise InternalError(f"operation {record.id} was recorded without a body")
    return OperationRequest(
        operation=record.id,
        migration=record.migration,
        mode=record.mode.value,
        resume=bool(record.body.get("resume", False)),
        position=record.body.get("position"),
        title=title,
    )


def request_hash(mode: Mode, migration: str, body: dict[str, Any]) -> str:
    """What makes two requests the same: endpoint, migration and body with its defaults."""
    canonical = json.dumps([mode.value, migration, body], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
