"""What must not stay behind when an operation ends early: connections, temporary tables, slot and publication."""

from __future__ import annotations

from temporalio import activity

from activities.control import OperationControl
from activities.messages import Cleaned, CleanUp
from activities.step import run_step
from whimbrel.model.job import Job
from whimbrel.pipeline import cleanup


@activity.defn(no_thread_cancel_exception=True)
def clean_up(step: CleanUp) -> Cleaned:
    """Remove it, after an attempt that still runs in this process has left. Doing it twice is no error."""

    def work(job: Job, control: OperationControl) -> Cleaned:
        cleanup.clean_up(job, remove_capture=step.remove_capture)
        return Cleaned(step.remove_capture)

    return run_step(step, work)
