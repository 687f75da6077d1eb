"""Operations on what the target holds: reset it, compare it."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import target
    from activities.messages import Step
    from workflows.messages import OperationOutcome, OperationRequest
    from workflows.operation import Operation, start
    from workflows.options import STEP


@workflow.defn
class Reset(Operation):
    @workflow.run
    async def run(self, request: OperationRequest) -> OperationOutcome:
        async def steps() -> None:
            await start(target.reset_target, Step(request.operation, request.migration), STEP, request.title)

        return await self.conclude(request, steps)


@workflow.defn
class Validate(Operation):
    @workflow.run
    async def run(self, request: OperationRequest) -> OperationOutcome:
        async def steps() -> None:
            await start(target.validate_data, Step(request.operation, request.migration), STEP, request.title)

        return await self.conclude(request, steps)
