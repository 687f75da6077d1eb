"""What must not stay behind when an operation ends early: connections, temporary tables, staged files."""

from __future__ import annotations

from temporalio import activity

from activities.control import OperationControl
from activities.jobs import catalog, known
from activities.messages import Cleaned, CleanUp
from activities.step import run_step
from whimbrel.catalog.records import REPLICATING, Mode
from whimbrel.connectors.protocols import Retained
from whimbrel.model.job import Job
from whimbrel.pipeline import cleanup


@activity.defn(no_thread_cancel_exception=True)
def clean_up(step: CleanUp) -> Cleaned:
    """Remove it, after an attempt that still runs in this process has left, and note what the source keeps for whoever
    goes on. Doing it twice is no error."""

    def work(job: Job, control: OperationControl) -> Cleaned:
        moved = known(job.operation).mode in REPLICATING | {Mode.DATA}
        kept = cleanup.clean_up(job, moved=moved, tell=lambda line: control.log("loader", line))
        return Cleaned(note_held(job.migration, kept))

    return run_step(step, work, hears=False)


def note_held(migration: str, kept: Retained | None) -> str | None:
    """Let the catalog know what a migration's source keeps of its log; the slot's name."""
    if kept is None:
        catalog().held.forget(migration, let_go=False)
        return None
    catalog().held.save(migration, kept.slot, kept.bytes)
    return kept.slot
