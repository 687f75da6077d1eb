"""The data phase as one step: its snapshot lives in one process, so that a retry is a new snapshot."""

from __future__ import annotations

from contextlib import suppress

from temporalio import activity

from activities.cleanup import note_held
from activities.control import OperationControl
from activities.messages import CopyData, DataCopied, DataState, Step
from activities.step import run_step
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Job
from whimbrel.pipeline import cleanup, packet
from whimbrel.pipeline.load import data


@activity.defn(no_thread_cancel_exception=True)
def copy_data(step: CopyData) -> DataCopied:
    """Copy every row of the migration and build the keys. Long."""

    def work(job: Job, control: OperationControl) -> DataCopied:
        control.phase("snapshot")
        done = data.copy_data(job, control, capture=step.capture, resume=step.resume)
        if not step.capture:  # a load of its own begins by removing what was kept for an earlier one
            with suppress(WhimbrelError):  # what was loaded is loaded; whoever looks at idle migrations sees it too
                note_held(job.migration, cleanup.held(job))
        return DataCopied(done.tables, done.rows, done.bytes, done.seconds)

    return run_step(step, work, patient=True)


@activity.defn(no_thread_cancel_exception=True)
def data_state(step: Step) -> DataState:
    """Whether replication can take up from an earlier data phase."""
    return run_step(step, lambda job, control: DataState(packet.data_is_complete(job)))
