"""What an ended operation leaves: nothing but rows and, if it may go on, its position and slot."""

from __future__ import annotations

from whimbrel.connectors.queues import queue_engine
from whimbrel.model.job import Job
from whimbrel.pipeline.pair import open_source, open_target
from whimbrel.pipeline.staging import Staging


def clean_up(job: Job, *, remove_capture: bool) -> None:
    """End this operation's connections on both sides and remove its staged files. Called twice it is no error.

    A transaction left open in a queue would hide from its readers what follows, until the brokers end it after minutes.
    With ``remove_capture`` slot and publication go too, and changes can no longer be resumed on engines that need them.
    """
    if job.has_database:
        with open_target(job) as target:
            target.cleanup(job)
    if remove_capture:
        with open_source(job) as source:
            source.cleanup(job)
    Staging(job).remove()
    if job.queue is not None:
        queue_engine(job.queue.type).end_transactions(job.queue, job)
