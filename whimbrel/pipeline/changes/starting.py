"""Where a change phase begins: at a position that is stored, given, or the source's newest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from whimbrel.connectors.protocols import Ledger, QueueState, QueueWriter, Source
from whimbrel.connectors.registry import engine
from whimbrel.errors import DataFailed, LayoutChanged, PositionLost, ReplicationFailed, WhimbrelError
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table
from whimbrel.pipeline.changes.added import require_filled
from whimbrel.pipeline.changes.layouts import read_layouts, write_layouts
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.packet import read_queue
from whimbrel.pipeline.pair import Pair


def start_of_database(
    pair: Pair,
    ledger: Ledger,
    epoch: int,
    control: Control,
    *,
    resume: bool,
    position: str | None,
    handoff: bool,
) -> Position:
    """Where the database goes on. Only a fresh start changes anything: it forgets the stored position and stores its
    own. A retry by the same operation always goes on from what the target has committed."""
    state, job = ledger.state(), pair.job
    if handoff and not state.data_complete:
        raise DataFailed(f"migration {job.migration}: the data phase is not complete", remedy="Run it again.")
    if handoff or resume or state.operation == job.operation:
        if state.position is None:
            raise _nothing_stored(job)
        changed = _changed_layouts(pair.job, pair.tables, state.layouts)
        _follow_layouts(pair, ledger, epoch, control, changed)
        if not state.layouts:  # an older version kept none
            ledger.save_layouts(epoch, pair.tables)
        names = {t.name for t in pair.tables}
        if gone := [n for n in state.layouts if n not in names]:
            ledger.forget(epoch, gone)  # should they come back, their rows are not what they were
        return state.position
    start = _fresh(pair.source, job, pair.tables, position, state.position)
    ledger.restart(epoch, job.operation, start, pair.tables)
    return start


def _changed_layouts(job: Job, tables: Sequence[Table], known: Mapping[TableName, str]) -> tuple[Table, ...]:
    """The tables whose columns or key are not what they were when they were loaded, or when replication began.

    Raises LayoutChanged where the log does not say what its rows looked like: they are read by what the tables look
    like now, and those that were written before a change of which we are still behind would be read wrongly.
    """
    changed = tuple(t for t in tables if known.get(t.name, t.fingerprint) != t.fingerprint)
    if changed and not engine(job.source.type).capabilities.layouts_in_log:
        names = sorted(str(t.name) for t in changed)
        raise LayoutChanged(
            f"{', '.join(names[:20])}: not the columns and key any more that replication began with; their changes "
            "cannot be read by the new ones",
            tables=names[:100],
        )
    return changed


def _follow_layouts(pair: Pair, ledger: Ledger, epoch: int, control: Control, changed: Sequence[Table]) -> None:
    """Go on by the new columns where the target has got them too; the source refuses to where it has not."""
    if not changed:
        return
    targets = {source.name: target for source, target in pair.both}
    differences = pair.target.differences([targets[t.name] for t in changed])
    differing = {d.table for d in differences if d.touches_rows}
    followed = [t for t in changed if targets[t.name].name not in differing]
    require_filled(pair, control, followed)
    accepted = set(pair.source.accept_columns(pair.job, followed))
    if accepted:
        ledger.save_layouts(epoch, [t for t in followed if t.name in accepted])
        named = ", ".join(sorted(map(str, accepted))[:20])
        control.log("orchestrator", f"{named}: going on with the new columns, which the target has too")


def start_of_queue_beside(job: Job, writer: QueueWriter, owner: str, database: Position) -> Position:
    """Where the queue goes on beside a database, whose present state ``owner`` began.

    A queue that knows of another beginning, or of none, begins where the database stands. It is asked before the first
    change is applied, so that at a fresh start that is the beginning of both. Raises PositionLost when it knew of this
    one: the database may be ahead of it.
    """
    stored = writer.recover()
    if stored is not None and stored.operation == owner:
        return stored.position
    if stored is None:
        _require_never_begun(job, writer, owner)
    writer.restart(QueueState(owner, database))
    return database


def start_of_queue(
    source: Source,
    job: Job,
    tables: Sequence[Table],
    writer: QueueWriter,
    control: Control,
    *,
    resume: bool,
    position: str | None,
) -> Position:
    """Where a queue without a database goes on."""
    stored = writer.recover()
    if stored is None:
        _require_never_begun(job, writer, None if resume else job.operation)
    if resume and stored is None:
        raise _nothing_stored(job)
    if stored is not None and (resume or stored.operation == job.operation):
        known = read_layouts(job.workdir, stored.operation)
        _changed_layouts(job, tables, known)
        if any(t.name not in known for t in tables):
            write_layouts(job.workdir, stored.operation, tables)
        accepted = source.accept_columns(job, tables)
        if accepted:  # no message ever says what an ALTER TABLE did to the rows that were there
            named = ", ".join(sorted(map(str, accepted))[:20])
            control.log(
                "orchestrator",
                f"{named}: other columns on the source; messages have them from here on, and none says what they are "
                "in rows that were there before",
            )
        return stored.position
    start = _fresh(source, job, tables, position, stored.position if stored else None)
    try:
        writer.restart(QueueState(job.operation, start))
    except WhimbrelError as e:
        if position is None and not e.retryable:
            with suppress(WhimbrelError):
                source.cleanup(job)  # nobody could go on from the slot, and it makes the source keep its log
        raise
    write_layouts(job.workdir, job.operation, tables)
    return start


def _require_never_begun(job: Job, writer: QueueWriter, operation: str | None) -> None:
    """Raise PositionLost if the queue had a position of ``operation`` (None: of any), as an earlier attempt saw it.

    Somebody has deleted it, or let it expire. To begin anew would leave out what was changed since, and tell nobody.
    """
    seen = read_queue(job.workdir)
    if seen is None or seen.kept_in != writer.keeps_position_in or operation not in (None, seen.begun_by):
        return
    raise PositionLost(
        f"{seen.kept_in} no longer holds the position of migration {job.migration}, which was {seen.position.text}",
        remedy="Start with that position, if the source still has its log from there on; otherwise start afresh with "
        "resume=false, and know that the changes in between are not in the queue. Keep that topic from expiring.",
        position=seen.position.text,
    )


def _fresh(
    source: Source, job: Job, tables: Sequence[Table], position: str | None, stored: Position | None
) -> Position:
    """From ``position`` (as users write it) or from now, with everything made that capturing needs."""
    if position is None:
        source.cleanup(job)
        try:
            return source.prepare_changes(job, tables)
        except WhimbrelError:
            with suppress(WhimbrelError):
                source.cleanup(job)  # no half of it, publication without slot, stays
            raise
    start = source.parse_position(position)
    source.require_point(start)
    _require_held(source, job, start)
    kept = stored is not None and source.holds(job, stored)
    source.prepare_changes(job, tables)
    try:
        _require_held(source, job, start)  # what held it may have been of no use, and was made anew
    except PositionLost:
        if not kept:
            source.cleanup(job)
        raise
    return start


def _require_held(source: Source, job: Job, start: Position) -> None:
    if not source.holds(job, start):
        raise PositionLost(f"the source no longer has the changes since {start.text}", position=start.text)


def _nothing_stored(job: Job) -> ReplicationFailed:
    return ReplicationFailed(
        f"migration {job.migration} has no stored position to go on from",
        remedy="Start with resume=false, or give a position.",
    )
