"""What an ended operation leaves: nothing but rows and, if it may go on, its position and slot."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from whimbrel.connectors.queues import queue_engine
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.pair import open_source, open_target
from whimbrel.pipeline.staging import Staging

_PROGRESS = TableName("whimbrel", "progress")


def clean_up(job: Job, *, remove_capture: bool) -> None:
    """End this operation's connections on both sides and remove its staged files. Called twice it is no error.

    With ``remove_capture`` slot and publication go too, and changes can no longer be resumed on engines that need them;
    without it they go only where nothing could be resumed anyway. An end that cannot be reached does not keep the
    others from being cleaned; its error is raised afterwards. A transaction left open in a queue would hide from its
    readers what follows, until the brokers end it after minutes.
    """
    useless = False

    def clean_target() -> None:
        nonlocal useless
        if not job.has_database:
            return
        with open_target(job) as target:
            target.cleanup(job)
        useless = not remove_capture and _capture_is_useless(job)

    def clean_source() -> None:
        if remove_capture or useless:
            with open_source(job) as source:
                source.cleanup(job)

    def clean_queue() -> None:
        if job.queue is not None:
            queue_engine(job.queue.type).end_transactions(job.queue, job)

    _each(clean_target, clean_source, Staging(job).remove, clean_queue)


def _capture_is_useless(job: Job) -> bool:
    """Whether this operation began a load of which no row arrived: going on would begin it again all the same.

    Its slot would only make the source keep its log for nobody.
    """
    with open_target(job) as target:
        if not target.existing([_PROGRESS]):
            return False
        with closing(target.checkpoint(job.migration)) as checkpoint:
            state = checkpoint.state()
    begun = state.operation == job.operation and not state.data_complete
    replicates = state.position is not None and not state.snapshots
    return begun and not replicates and not any(t.loaded for t in state.tables.values())


def _each(*steps: Callable[[], None]) -> None:
    """Take every step, then raise the first error; the messages of the others are told with it."""
    errors: list[Exception] = []
    for step in steps:
        try:
            step()
        except Exception as e:
            errors.append(e)
    if not errors:
        return
    first = errors[0]
    for other in errors[1:]:
        if isinstance(first, WhimbrelError) and isinstance(other, WhimbrelError):
            first.message = f"{first.message}; and {other.message}"
            first.args = (first.message,)
    raise first
