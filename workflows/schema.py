"""Operations on definitions: extract them, apply them."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities import schema
    from activities.messages import Step
    from workflows.messages import OperationOutcome, OperationRequest
    from workflows.operation import Operation, start
    from workflows.options import STEP


@workflow.defn
class SchemaExtract(Operation):
    @workflow.run
    async def run(self, request: OperationRequest) -> OperationOutcome:
        async def steps() -> None:
            await start(schema.extract_schema, Step(request.operation, request.migration), STEP, request.title)

        return await self.conclude(request, steps)


@workflow.defn
class SchemaApply(Operation):
    @workflow.run
    async def run(self, request: OperationRequest) -> OperationOutcome:
        async def steps() -> None:
            await start(schema.apply_schema, Step(request.operation, request.migration), STEP, request.title)

        return await self.conclude(request, steps)


@workflow.defn
class ObjectsApply(Operation):
    @workflow.run
    async def run(self, request: OperationRequest) -> OperationOutcome:
        async def steps() -> None:
            await start(schema.apply_objects, Step(request.operation, request.migration), STEP, request.title)

        return await self.conclude(request, steps)
