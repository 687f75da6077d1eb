"""The change phase: alone, and behind a data phase whose snapshot it takes over from."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.data import copy_data, data_state
    from activities.messages import CopyData, Replicate, Step
    from activities.replication import replicate
    from workflows.messages import OperationOutcome, OperationRequest
    from workflows.operation import Operation, leave_if_cancelled, start
    from workflows.options import CHECKING, LONG


@workflow.defn
class Replication(Operation):
    @workflow.run
    async def run(self, request: OperationRequest) -> OperationOutcome:
        async def steps() -> None:
            await follow(request, handoff=False)

        return await self.conclude(request, steps)


@workflow.defn
class DataReplication(Operation):
    @workflow.run
    async def run(self, request: OperationRequest) -> OperationOutcome:
        async def steps() -> None:
            if not await self._data_is_there(request):
                copy = CopyData(request.operation, request.migration, capture=True, resume=request.resume)
                self.data = await start(copy_data, copy, LONG, request.title)
                leave_if_cancelled()
            await follow(request, handoff=True)

        return await self.conclude(request, steps)

    async def _data_is_there(self, request: OperationRequest) -> bool:
        """Smart resume: only a data phase that is recorded as complete is ever skipped."""
        if not request.resume:
            return False
        complete = (await start(data_state, Step(request.operation, request.migration), CHECKING)).complete
        leave_if_cancelled()
        return complete


async def follow(request: OperationRequest, *, handoff: bool) -> None:
    """Replicate until cancelled, as a new run whenever the history has grown long.

    A new run resumes from the position in the target; a pause outlives it, because it stands in the catalog. Nothing
    replicates for the moment between two runs, so a pause that comes just then is answered by this run, not lost.
    """
    resume, position = request.resume or handoff, request.position
    while True:
        step = Replicate(request.operation, request.migration, resume, position, handoff)
        replicating = start(replicate, step, LONG, request.title)
        await _watch(replicating)
        if replicating.done():
            return await replicating
        await _come_to_rest(replicating)
        resume, position = True, None
        if workflow.all_handlers_finished():
            workflow.continue_as_new(replace(request, resume=resume, position=position))


async def _watch(replicating: workflow.ActivityHandle[None]) -> None:
    """Wait until it has ended, or Temporal would like a new run and no pause or resume is in the middle of its work.

    Raises what the activity raises when the workflow is cancelled, once it has come to rest.
    """
    try:
        await workflow.wait_condition(
            lambda: (
                replicating.done()
                or (workflow.info().is_continue_as_new_suggested() and workflow.all_handlers_finished())
            )
        )
    except asyncio.CancelledError:
        replicating.cancel()
        await replicating
        raise


async def _come_to_rest(replicating: workflow.ActivityHandle[None]) -> None:
    """Cancel the activity for our own ends. Raises CancelledError when the whole workflow was cancelled meanwhile."""
    replicating.cancel()
    with suppress(ActivityError):
        await replicating
    if workflow.cancellation_reason() is not None:
        raise asyncio.CancelledError
