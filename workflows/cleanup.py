"""What follows a stop: the operation's workflow was terminated and could not clean up itself."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.messages import Outcome
    from activities.outcome import record_outcome
    from workflows.messages import OperationOutcome, OperationRequest
    from workflows.operation import clean, regardless, start
    from workflows.options import CLEANING, RECORDING, TIDYING

# An activity on another worker learns with its next heartbeat, at most a second later, that its workflow is gone.
STRAGGLERS = timedelta(seconds=2)


@workflow.defn
class Cleanup:
    """Input is the request of the operation that was stopped. Cleans twice: what stops an activity may come after it
    has made something new."""

    @workflow.run
    async def run(self, request: OperationRequest) -> OperationOutcome:
        await regardless(clean(request, TIDYING))
        await workflow.sleep(STRAGGLERS, summary="let steps elsewhere leave")
        error = await regardless(clean(request, CLEANING))
        recorded = await regardless(start(record_outcome, Outcome(request.operation, "stopped", error), RECORDING))
        return OperationOutcome(request.operation, recorded.status)
