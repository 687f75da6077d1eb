"""What sources keep of their logs for nobody: one workflow looks after all idle migrations, for as long as there are
workers."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.idle import look_at_idle
    from activities.messages import LookAtIdle
    from workflows.messages import IdleWatchRequest
    from workflows.operation import start
    from workflows.options import LOOKING

LOOKS = 200  # in one run, so that its history stays short


@workflow.defn
class IdleWatch:
    """Never ends by itself. Workers see to it that it runs."""

    @workflow.run
    async def run(self, request: IdleWatchRequest) -> None:
        for _ in range(LOOKS):
            try:
                seen = await start(look_at_idle, LookAtIdle(), LOOKING)
                workflow.set_current_details(
                    f"At the last look: **{seen.idle}** migrations that nobody follows; log is kept on its source for "
                    f"**{seen.held}** of them, and was let go now for {seen.let_go}."
                )
            except ActivityError as e:
                if workflow.cancellation_reason() is not None:
                    raise
                workflow.logger.warning("idle migrations could not be looked at: %s", e.cause)
            await workflow.sleep(timedelta(seconds=request.every_seconds), summary="until the next look")
        workflow.continue_as_new(request)
