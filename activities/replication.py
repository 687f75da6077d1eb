"""The change phase: one step that runs until it is told to leave."""

from __future__ import annotations

from temporalio import activity

from activities.control import OperationControl
from activities.messages import Replicate
from activities.step import run_step
from whimbrel.model.job import Job
from whimbrel.pipeline.changes import replication


@activity.defn(no_thread_cancel_exception=True)
def replicate(step: Replicate) -> None:
    """Feed changes to the migration's targets until cancelled. Long, and never done by itself."""

    def work(job: Job, control: OperationControl) -> None:
        control.phase("change")
        replication.replicate(job, control, resume=step.resume, position=step.position, handoff=step.handoff)

    run_step(step, work, patient=True)
