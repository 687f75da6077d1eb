"""Workflows that do nothing but wait for what the API asks of them, and the activity by which they end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from whimbrel.catalog.records import Status
    from whimbrel.catalog.store import Catalog
    from workflows.messages import OperationRequest


class Recorder:
    """The activity that ends an operation in the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @activity.defn(name="end")
    def end(self, operation: str, status: str) -> None:
        if operation == "fails":
            error: dict[str, Any] = {
                "code": "INTERNAL_ERROR",
                "message": "not in this catalog",
                "details": {"reason": "catalog_differs"},
            }
            raise ApplicationError(error["message"], error, type="catalog_differs", non_retryable=True)
        if any(r.id == operation for r in self._catalog.running_operations()):
            self._catalog.finish_operation(operation, Status(status), {"by": "workflow"})


@workflow.defn(name="Data")
class Data:
    """Waits to be cancelled. ``pause`` works, ``resume`` fails with a registered error."""

    @workflow.run
    async def run(self, request: OperationRequest) -> None:
        try:
            await workflow.wait_condition(lambda: False)
        except asyncio.CancelledError:
            await asyncio.shield(_end(request.operation, "cancelled"))
            raise

    @workflow.update
    async def pause(self) -> None:
        return

    @workflow.update
    async def resume(self) -> None:
        error = {"code": "REPLICATION_FAILED", "message": "the log is gone", "details": {"reason": "position_lost"}}
        raise ApplicationError("the log is gone", error, type="position_lost")


@workflow.defn(name="Reset")
class Reset:
    """Completes at once."""

    @workflow.run
    async def run(self, request: OperationRequest) -> None:
        await _end(request.operation, "completed")


@workflow.defn(name="Cleanup")
class Cleanup:
    @workflow.run
    async def run(self, request: OperationRequest) -> None:
        await _end(request.operation, "stopped")


async def _end(operation: str, status: str) -> None:
    await workflow.execute_activity("end", args=[operation, status], start_to_close_timeout=timedelta(seconds=10))
