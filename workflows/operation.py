"""What every operation's workflow shares: pause and resume, the way it ends, and what the Temporal UI filters by."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, FailureError
from temporalio.workflow import ActivityCancellationType

with workflow.unsafe.imports_passed_through():
    from activities.cleanup import clean_up
    from activities.messages import CleanUp, DataCopied, Outcome, PauseAnswer, SetPause
    from activities.outcome import record_outcome
    from activities.pause import set_pause
    from workflows.messages import OperationOutcome, OperationRequest, Title
    from workflows.options import CLEANING, HEARTBEAT, PAUSING, RECORDING, TIDYING, Options
    from workflows.titles import step_title, workflow_title

Input = TypeVar("Input")
Output = TypeVar("Output")

MIGRATION = SearchAttributeKey.for_keyword("WhimbrelMigration")
STATUS = SearchAttributeKey.for_keyword("WhimbrelStatus")


class Operation:
    """Base of the workflows. A subclass has a ``run`` that hands its steps to ``conclude``."""

    data: DataCopied | None = None  # what the data phase moved, once it is through
    ending = False
    _title = ""

    @workflow.update
    async def pause(self) -> PauseAnswer:
        """Returns once the operation has come to rest."""
        return await self._set_pause(True)

    @pause.validator
    def check_pause(self) -> None:
        self._refuse_when_ending()

    @workflow.update
    async def resume(self) -> PauseAnswer:
        """Returns once the operation goes on."""
        return await self._set_pause(False)

    @resume.validator
    def check_resume(self) -> None:
        self._refuse_when_ending()

    def _refuse_when_ending(self) -> None:
        if self.ending:
            raise ApplicationError("the operation is ending", type="operation_not_found")

    async def _set_pause(self, wanted: bool) -> PauseAnswer:
        answer = await start(set_pause, SetPause(workflow.info().workflow_id, wanted), PAUSING)
        self._show(answer.action if wanted else "running")
        return answer

    def _show(self, status: str, error: dict[str, Any] | None = None) -> None:
        """In the UI: to filter by, and as details, which a worker replaces by figures (worker/details.py)."""
        show_status(status)
        said = [f"**{status}**", "", self._title]
        if error is not None:
            said += ["", f"    {error.get('code')}: {' '.join(str(error.get('message')).split())}"]
        workflow.set_current_details("\n".join(said))

    async def conclude(self, request: OperationRequest, steps: Callable[[], Awaitable[None]]) -> OperationOutcome:
        """Run the steps and record how they ended: completed, cancelled or failed.

        Slot and publication stay however it ends, so that a resume loses nothing. Raises what ended the steps, so that
        Temporal shows the same end as the catalog.
        """
        self._title = workflow_title(request)
        self._show("running")
        try:
            await steps()
        except (asyncio.CancelledError, FailureError) as e:
            # A step that was told to leave may still fail on its way out; it was cancelled all the same.
            if workflow.cancellation_reason() is not None or isinstance(e, asyncio.CancelledError):
                return await self._cancelled(request)
            raise await self._failed(request, e) from None
        await self._record(request, "completed", None)
        return OperationOutcome(request.operation, "completed")

    async def _cancelled(self, request: OperationRequest) -> OperationOutcome:
        error = await regardless(clean(request, CLEANING))
        await self._record(request, "cancelled", error)
        raise asyncio.CancelledError

    async def _failed(self, request: OperationRequest, e: BaseException) -> ApplicationError:
        error = error_of(e)
        await regardless(clean(request, TIDYING))
        await self._record(request, "failed", error)
        return ApplicationError(error["message"], error, type=error["details"]["reason"], non_retryable=True)

    async def _record(self, request: OperationRequest, status: str, error: dict[str, Any] | None) -> None:
        """Tell the catalog, then let pauses that wait for this operation find out that it has ended."""
        self.ending = True
        outcome = Outcome(request.operation, status, error, self.data)
        recorded = await regardless(start(record_outcome, outcome, RECORDING))
        self._show(recorded.status, error)
        await regardless(workflow.wait_condition(workflow.all_handlers_finished))


def start(
    activity: Callable[[Input], Output], argument: Input, options: Options, title: Title | None = None
) -> workflow.ActivityHandle[Output]:
    """Start an activity of ours. Cancelling it waits until it has come to rest. ``title`` is for those that move
    something."""
    return workflow.start_activity(
        activity,
        argument,
        task_queue=options.queue,
        start_to_close_timeout=options.start_to_close,
        heartbeat_timeout=HEARTBEAT,
        retry_policy=options.retry,
        summary=step_title(activity.__name__, title),
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    )


def leave_if_cancelled() -> None:
    """Raise CancelledError where a cancel has met the end of a step, which took it in silence and ended well.

    Operations of before go on as they did.
    """
    if workflow.cancellation_reason() is not None and workflow.patched("cancel-meets-the-end-of-a-step"):
        raise asyncio.CancelledError


async def regardless(work: Coroutine[Any, Any, Output] | Awaitable[Output]) -> Output:
    """Await to the end, even when the workflow is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise


async def clean(request: OperationRequest, options: Options) -> dict[str, Any] | None:
    """Clean up; the error when that failed for good, because an operation must end even if its source never answers."""
    try:
        await start(clean_up, CleanUp(request.operation, request.migration), options)
    except ActivityError as e:
        return leftover(error_of(e))
    return None


def leftover(error: dict[str, Any]) -> dict[str, Any]:
    """The same error, saying what it means when it ends a cleanup."""
    remedy = (
        f"{error['details'].get('remedy', '')} Then DELETE the migration, or drop what is named 'whimbrel…' by hand."
    )
    return {
        **error,
        "message": f"cleaning up failed, so a slot, publication or connection may be left: {error['message']}",
        "details": {**error["details"], "remedy": remedy.strip()},
    }


def error_of(e: BaseException) -> dict[str, Any]:
    """The ``error`` object of the envelope that an activity failed with."""
    cause = e.cause if isinstance(e, ActivityError) and e.cause is not None else e
    if isinstance(cause, ApplicationError) and cause.details and isinstance(cause.details[0], dict):
        return dict(cause.details[0])
    what = e.activity_type if isinstance(e, ActivityError) else "the workflow"
    return {
        "code": "ORCHESTRATOR_FAILED",
        "message": f"{what} did not end: {cause}",
        "details": {
            "reason": "orchestrator_failed",
            "remedy": "Check that a worker of this version runs, and read its log; then start with resume=true.",
        },
    }


def show_status(status: str) -> None:
    """Set the search attribute, if whoever started the workflow found the attributes registered and set the others."""
    if workflow.info().typed_search_attributes.get(MIGRATION) is not None:
        workflow.upsert_search_attributes([STATUS.value_set(status)])
