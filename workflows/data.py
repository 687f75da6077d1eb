"""The data phase alone."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.data import copy_data
    from activities.messages import CopyData
    from workflows.messages import OperationOutcome, OperationRequest
    from workflows.operation import Operation, start
    from workflows.options import LONG


@workflow.defn
class Data(Operation):
    @workflow.run
    async def run(self, request: OperationRequest) -> OperationOutcome:
        async def steps() -> None:
            copy = CopyData(request.operation, request.migration, capture=False, resume=request.resume)
            self.data = await start(copy_data, copy, LONG, request.title)

        return await self.conclude(request, steps)
