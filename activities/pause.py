"""Asking a running operation to come to rest or to go on, and waiting until it has."""

from __future__ import annotations

import time

from temporalio import activity
from temporalio.exceptions import CancelledError

from activities.errors import as_failure, classify
from activities.jobs import catalog, known
from activities.messages import PauseAnswer, SetPause
from activities.recorded import require_workflow
from whimbrel.catalog.records import Status
from whimbrel.errors import OperationNotFound, OperationTimeout

WAIT_SECONDS = 14 * 60.0  # a little less than the API waits for a synchronous call
POLL_EVERY = 0.1
UNBEGUN_SECONDS = 3.0  # in which a step that had begun when it was asked has told its phase


@activity.defn(no_thread_cancel_exception=True)
def set_pause(step: SetPause) -> PauseAnswer:
    """Return once it is true. Asking for what is already so is no error.

    Fails with operation_not_found when the operation ends meanwhile, operation_timeout when it takes too long (the
    request stands nevertheless).
    """
    try:
        return _set_pause(step)
    except CancelledError:
        raise
    except Exception as e:
        raise as_failure(classify(e)) from None


def _set_pause(step: SetPause) -> PauseAnswer:
    require_workflow(step.operation)
    catalog().request_pause(step.operation, step.wanted)
    action = "paused" if step.wanted else "resumed"
    asked = time.monotonic()
    deadline = asked + WAIT_SECONDS
    while True:
        operation = known(step.operation)
        if operation.status is not Status.RUNNING:
            raise OperationNotFound(f"operation {step.operation} has ended meanwhile: {operation.status}")
        if operation.paused is step.wanted:
            return PauseAnswer(action)
        if operation.phase is None and time.monotonic() - asked > UNBEGUN_SECONDS:
            # Its step has no place yet, and looks at what is wanted before it begins anything.
            catalog().set_paused(step.operation, step.wanted)
            return PauseAnswer(action)
        if time.monotonic() > deadline:
            raise OperationTimeout(f"operation {step.operation} is not {action} yet", operation_id=step.operation)
        activity.heartbeat()
        if activity.is_cancelled():
            raise CancelledError("came to rest")
        time.sleep(POLL_EVERY)
