"""What an ended operation leaves: nothing but rows and, if it may go on, its position and slot."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Final

from whimbrel.connectors.protocols import Retained
from whimbrel.connectors.queues import queue_of
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Job
from whimbrel.pipeline.load.staging import Staging
from whimbrel.pipeline.pair import open_pair, open_source, open_target

NUMBERING_SECONDS: Final = 5  # to wait for a locked table: who ends an operation waits for this


def clean_up(
    job: Job, *, moved: bool = True, remove_capture: bool = False, tell: Callable[[str], None] = lambda line: None
) -> Retained | None:
    """End this operation's connections on both sides and remove its staged files; return what the source keeps of its
    log for a later operation that goes on. Called twice it is no error.

    Slot and publication go only with ``remove_capture``, and where nothing could be resumed anyway. An end that cannot
    be reached does not keep the others from being cleaned; its error is raised afterwards. A transaction left open in a
    queue would hide from its readers what follows, until the brokers end it after minutes. If the operation has
    ``moved`` anything, the target's sequences are set past it, which may have to wait NUMBERING_SECONDS for a table
    that somebody has locked; ``tell`` gets a line for people when that failed.
    """
    useless = answers = False
    kept: Retained | None = None

    def clean_target() -> None:
        nonlocal useless, answers
        if not job.has_database:
            return
        with open_target(job) as target:
            target.cleanup(job)
        answers = True
        useless = _capture_is_useless(job)

    def clean_source() -> None:
        nonlocal kept
        with open_source(job) as source:
            if remove_capture or useless:
                source.cleanup(job)
            else:
                source.end_sessions(job)
                kept = source.retained(job)

    def clean_queue() -> None:
        if job.queue is not None:
            queue_of(job.queue.type).end_transactions(job.queue, job)

    def number_on() -> None:
        try:
            if answers and moved:
                _number_on(job)
        except WhimbrelError as e:
            tell(f"sequences on the target were not moved: {e.message}")

    _each(clean_target, number_on, clean_source, Staging(job).remove, clean_queue)
    return kept


def held(job: Job) -> Retained | None:
    """What the source keeps of its log for this migration."""
    with open_source(job) as source:
        return source.retained(job)


def forget_progress(job: Job) -> None:
    """Remove what the target keeps of a migration that is deleted: position, plans, layouts. Its rows stay."""
    with open_target(job) as target:
        if target.has_ledger():
            with closing(target.ledger(job.migration)) as ledger:
                ledger.remove()


def let_go(job: Job) -> None:
    """Remove what the source keeps. Nobody can go on from the stored position then."""
    with open_source(job) as source:
        source.cleanup(job)


def _number_on(job: Job) -> None:
    """Let the target number its own rows, however the operation ended: whoever followed the changes may have been
    killed. Nothing to do where none were followed."""
    with open_target(job) as target:
        if not target.has_ledger():
            return
        with closing(target.ledger(job.migration)) as ledger:
            state = ledger.state()
    if state.position is not None and (state.data_complete or state.snapshots == 0):
        with open_pair(job) as pair:
            if (finisher := pair.target.finisher) is not None:
                finisher.sequences(pair.tables, pair.target_tables, NUMBERING_SECONDS)


def _capture_is_useless(job: Job) -> bool:
    """Whether nobody could go on by what the source keeps: no position is stored, or this operation began a load of
    which no row arrived, so that going on would begin it again all the same.

    Its slot would only make the source keep its log for nobody.
    """
    with open_target(job) as target:
        if not target.has_ledger():
            return False
        with closing(target.ledger(job.migration)) as ledger:
            state = ledger.state()
    if any(t.loaded for t in state.tables.values()):
        return False
    if state.position is None:
        return True
    return state.operation == job.operation and not state.data_complete and state.snapshots > 0


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
