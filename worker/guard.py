"""No cleaning up behind an operation whose workflow still runs, whoever asks for it.

A stop ends the operation's workflow and then starts one that cleans up. Whoever reaches Temporal can start that one
without the other, and would end connections, and the operation's record, under a step that is at work. Only Temporal
knows whether the workflow has ended, so it is asked here, where there is a client; what an activity can tell by the
catalog alone, it tells itself (activities/recorded.py).
"""

from __future__ import annotations

from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from activities.errors import as_failure
from activities.recorded import CLEANUP
from whimbrel.errors import InvalidRequest, OrchestratorFailed


class CleaningGuard(Interceptor):
    """To be given to a worker together with its client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Guarded(next, self._client)


class _Guarded(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, client: Client) -> None:
        super().__init__(next)
        self._client = client

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        """Raises ApplicationError instead where the operation's own workflow runs, or where nobody can say."""
        if activity.info().workflow_type == CLEANUP:
            operation = (activity.info().workflow_id or "").removesuffix("-cleanup")
            if await self._runs(operation):
                raise as_failure(
                    InvalidRequest(
                        f"operation {operation[:64]} has not ended, so there is nothing to clean up behind it",
                        remedy="Stop operations through the API: POST /v1/operations/{id}/stop.",
                    )
                )
        return await super().execute_activity(input)

    async def _runs(self, workflow: str) -> bool:
        try:
            found = await self._client.get_workflow_handle(workflow).describe()
        except RPCError as e:
            if e.status is RPCStatusCode.NOT_FOUND:
                return False
            raise as_failure(OrchestratorFailed(f"Temporal does not tell whether a workflow runs: {e.message}")) from e
        return found.status is WorkflowExecutionStatus.RUNNING
