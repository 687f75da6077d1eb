"""The data phase as one step: its snapshot lives in one process, so that a retry is a new snapshot."""

from __future__ import annotations

from temporalio import activity

from activities.control import OperationControl
from activities.messages import CopyData, DataCopied, DataState, Step
from activities.step import run_step
from whimbrel.model.job import Job
from whimbrel.pipeline import data, packet


@activity.defn(no_thread_cancel_exception=True)
def copy_data(step: CopyData) -> DataCopied:
    """Copy every row of the migration and build the keys. Long."""

    def work(job: Job, control: OperationControl) -> DataCopied:
        control.phase("snapshot")
        done = data.copy_data(job, control, capture=step.capture, resume=step.resume)
        return DataCopied(done.tables, done.rows, done.bytes, done.seconds)

    return run_step(step, work, patient=True)


@activity.defn(no_thread_cancel_exception=True)
def data_state(step: Step) -> DataState:
    """Whether replication can take up from an earlier data phase."""
    return run_step(step, lambda job, control: DataState(packet.data_is_complete(job)))
