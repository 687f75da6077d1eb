"""The frame around every step that moves something: job in, control around it, errors out as Temporal wants them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, CancelledError

from activities import running
from activities.control import OperationControl
from activities.errors import as_failure, classify, is_retryable
from activities.jobs import build_job, catalog, known
from activities.patience import LIMIT, Trouble
from activities.recorded import Addressed, require_step
from whimbrel.errors import HostUnreachable, Interrupted, LoaderFailed, WhimbrelError
from whimbrel.model.job import Job
from whimbrel.pipeline.hearing import Hearing

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

# Seconds for which a host that was never reached is tried: enough for a server that starts beside us, and then the
# name or port is taken to be wrong. A host that was reached once is waited for much longer.
FIRST_CONTACT = 3.0
RESTING = 0.2  # seconds between two looks whether a pause is over


def run_step(
    step: Addressed, work: Callable[[Job, OperationControl], Result], *, patient: bool = False, hears: bool = True
) -> Result:
    """Do ``work`` on the operation's job.

    ``patient`` steps are tried for as long as they make progress now and then; the others as often as their retry
    policy says. One that ``hears`` is got out of whatever it waits for in a server once it was told to leave. Raises
    CancelledError when cancelled, ApplicationError for everything else.
    """
    trouble = Trouble.from_heartbeat(activity.info().heartbeat_details) if patient else None
    with OperationControl(step.operation, catalog(), trouble) as control:
        try:
            require_step(step)
            with running.alone(step.operation, control):
                job = build_job(step.operation, step.migration)
                if patient:
                    _rest_before_it_begins(step.operation, control)
                return _heard(job, work, control) if hears else work(job, control)
        except Interrupted:
            raise _interruption(control) from None
        except Exception as e:
            raise _failure(classify(e), control, patient) from None


def _rest_before_it_begins(operation: str, control: OperationControl) -> None:
    """One that was paused while it waited for a place begins nothing: it was told to be at rest."""
    if known(operation).phase is not None:
        return  # an earlier attempt has begun, and the work itself knows where to rest
    while control.pause_wanted():
        control.at_rest(True)
        control.check()
        time.sleep(RESTING)
    control.at_rest(False)


def _heard(job: Job, work: Callable[[Job, OperationControl], Result], control: OperationControl) -> Result:
    """Do it, and raise Interrupted for whatever it fails with because its sessions were ended."""
    with Hearing(job, control, control.patience) as hearing:
        try:
            return work(job, control)
        except Exception:
            if hearing.ended:
                raise Interrupted from None
            raise


def _interruption(control: OperationControl) -> Exception:
    """Why ``check`` ended the step: cancel is final, all else means that another attempt goes on."""
    details = activity.cancellation_details()
    if details is not None and (details.cancel_requested or details.not_found):
        return CancelledError("came to rest")
    if activity.is_worker_shutdown() or control.superseded:
        why = "the worker shuts down" if activity.is_worker_shutdown() else "a newer attempt has begun"
        return ApplicationError(
            f"{why}; the step goes on elsewhere", type="moved", category=ApplicationErrorCategory.BENIGN
        )
    return CancelledError("came to rest")


def _failure(error: WhimbrelError, control: OperationControl, patient: bool) -> ApplicationError:
    """Log the failure where people look for it, and decide about the next attempt."""
    role = "loader" if isinstance(error, LoaderFailed) else "extractor"
    attempt = f"{activity.info().activity_type}, attempt {activity.info().attempt}"
    if activity.is_cancelled() or not is_retryable(error) or _is_last_attempt():
        control.log(role, f"{attempt} failed: {error.message}")
        return as_failure(error)
    # an operation that waited for a place, or paused before it began, has had no second try yet
    again = activity.info().attempt > 1
    if isinstance(error, HostUnreachable) and not control.begun and again and _tried_for() > FIRST_CONTACT:
        control.log(role, f"{attempt} failed, nothing was begun yet: {error.message}")
        return as_failure(error, retryable=False)
    if not patient:
        control.log(role, f"{attempt} failed and is tried again: {error.message}")
        return as_failure(error)
    trouble = control.trouble.after_failure()
    control.keep(trouble)
    control.waits_for(error)
    if trouble.exhausted:
        control.log(role, f"{attempt} failed, without progress for {LIMIT}: {error.message}")
        return as_failure(error, retryable=False)
    wait = trouble.wait
    control.log(role, f"{attempt} failed and is tried again in {wait.total_seconds():g} s: {error.message}")
    return as_failure(error, next_retry_delay=wait)


def _tried_for() -> float:
    """Seconds since the first attempt was asked for."""
    return (datetime.now(UTC) - activity.info().scheduled_time).total_seconds()


def _is_last_attempt() -> bool:
    policy = activity.info().retry_policy
    return policy is not None and 0 < policy.maximum_attempts <= activity.info().attempt
