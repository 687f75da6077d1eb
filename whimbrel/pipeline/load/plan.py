"""What a load still has to do: from nothing, or from where an earlier attempt ended.

A second snapshot sees a later moment than the first. Its rows may join the first one's only where replaying the
changes from the first position makes them equal again: in tables whose one unique constraint is their key. Any other
table that is not complete yet makes the whole load start again; such tables are copied first, so that this is rare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from whimbrel.connectors.protocols import Claim, Ledger, LoadState, TableLoad
from whimbrel.errors import LayoutChanged, PositionLost, SourceInterrupted, TableNotLoaded, TargetNotEmpty
from whimbrel.model.chunk import Chunk
from whimbrel.model.names import TableName
from whimbrel.model.table import Table
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.packet import remove_packet
from whimbrel.pipeline.pair import Pair
from whimbrel.pipeline.scope import goes_on, replayable

CHUNK_BYTES = 64 << 20
_NO_LOAD = (
    "What is stored is the position of a replication that began without a load: go on from it with POST replication "
    'and resume=true, or empty the tables with POST reset {"mode": "truncate"} and load them.'
)
_AFRESH = "Reset the target with mode drop, run schema/extract and schema/apply, and load again."


@dataclass
class TableWork:
    """One table's share of the load. ``chunks`` are all planned ones, ``loaded`` those done: number -> rows."""

    number: int
    source: Table
    target: Table
    chunks: tuple[Chunk, ...]
    loaded: dict[int, int] = field(default_factory=dict)
    finished: bool = False
    upsert: bool = False
    started: bool = False  # rows of the plan may be there, or may still come

    @property
    def waiting(self) -> list[Chunk]:
        return [c for c in self.chunks if c.number not in self.loaded]

    @property
    def replayable(self) -> bool:
        """Whether rows of two snapshots may be mixed."""
        return replayable(self.source)


def plan_load(
    pair: Pair, control: Control, ledger: Ledger, epoch: int, *, capture: bool, resume: bool
) -> list[TableWork]:
    """The work left, with the target and the ledger made ready for it.

    Raises TargetNotEmpty when a fresh load finds foreign rows, LayoutChanged when a table no longer fits its plan,
    TableNotLoaded when what a load that has ended lacks cannot be brought by a second snapshot.
    """
    state = ledger.state()
    continued = goes_on(state, pair.job, resume=resume)
    if continued and state.snapshots and not _can_mix(pair, control, state, capture=capture):
        if state.data_complete:
            raise _cannot_join(pair, state)
        control.log(
            "orchestrator", "the first snapshot is gone and its rows cannot be completed: loading again from the start"
        )
        continued = False
    if not continued:
        _start_over(pair, ledger, epoch, state)
        state = ledger.state()
    elif capture and not state.snapshots:
        # A slot that was made for a snapshot of which nothing was read begins before the next one: changes in between
        # would come twice to tables without a key.
        pair.source.cleanup(pair.job)
    names = [t.name for t in pair.tables]
    if continued and (added := set(state.unknown(names))):
        _clear_the_way(pair, epoch, [t for s, t in pair.both if s.name in added])
    work = [_table_work(pair, ledger, epoch, number, state.tables) for number in range(len(pair.tables))]
    if gone := [n for n in state.layouts if n not in names]:
        ledger.forget(epoch, gone)
    if continued and state.snapshots:
        _prepare_mixing(pair, control, epoch, work)
    return work


def _can_mix(pair: Pair, control: Control, state: LoadState, *, capture: bool) -> bool:
    """Whether a second snapshot may complete the first."""
    if capture and state.position is not None:
        new = state.unknown([t.name for t in pair.tables])
        try:
            pair.source.require_unchanged(pair.job, pair.without(new).tables)
        except (LayoutChanged, PositionLost) as e:
            control.log("orchestrator", e.message)
            return False
    work = [
        TableWork(n, s, t, state.tables[s.name].chunks, dict(state.tables[s.name].loaded))
        for n, (s, t) in enumerate(pair.both)
        if s.name in state.tables
    ]
    incomplete = [w.source for w in work if w.waiting]
    incomplete += [t for t in pair.tables if t.name not in state.tables]
    if not incomplete:
        return True  # only indexes are left: no second snapshot is needed
    if not capture or state.position is None or not pair.source.holds(pair.job, state.position):
        return False
    return all(replayable(t) for t in incomplete)


def _cannot_join(pair: Pair, state: LoadState) -> TableNotLoaded:
    names = [t.name for t in pair.tables]
    missing = [str(n) for n in (*state.unfinished(names), *state.unknown(names))]
    return TableNotLoaded(
        f"{', '.join(missing[:20])}: new since the load has ended, and a second snapshot cannot add them: changes "
        "since the first are not all there, or tables have changed",
        remedy="Reset, and load all tables again.",
        tables=missing[:100],
    )


def _start_over(pair: Pair, ledger: Ledger, epoch: int, state: LoadState) -> None:
    """Empty what an unfinished load of ours left or may still bring, refuse rows of anybody else's, forget the rest."""
    filled = set(pair.target.nonempty([t.name for t in pair.target_tables]))
    begun = state.snapshots > 0 and not state.data_complete
    ours = {t.name for s, t in pair.both if begun and s.name in state.tables}
    foreign = sorted(filled - ours)
    if foreign:
        replicates = state.position is not None and not state.snapshots
        raise TargetNotEmpty(
            f"the target table {', '.join(str(n) for n in foreign[:20])} already has rows",
            remedy=_NO_LOAD if replicates else None,
            tables=[str(n) for n in foreign[:100]],
        )
    with closing(pair.target.open_loader(pair.job)) as loader:
        for source, target in pair.both:
            load = state.tables.get(source.name)
            if target.name in filled or (target.name in ours and load is not None and load.started):
                loader.truncate(epoch, source.name, target.name)
    ledger.clear(epoch, pair.job.operation)
    remove_packet(pair.job.workdir)
    pair.source.cleanup(pair.job)
    _clear_the_way(pair, epoch, pair.target_tables)


def _clear_the_way(pair: Pair, epoch: int, targets: Sequence[Table]) -> None:
    if (finisher := pair.target.finisher) is not None:
        finisher.prepare(targets, Claim(pair.job.migration, epoch))


def _table_work(
    pair: Pair, ledger: Ledger, epoch: int, number: int, planned: Mapping[TableName, TableLoad]
) -> TableWork:
    source, target = pair.tables[number], pair.target_tables[number]
    load = planned.get(source.name)
    if load is not None and load.fingerprint != source.fingerprint:
        raise LayoutChanged(
            f"{source.name} changed its columns since its load began",
            remedy=_AFRESH,
        )
    work = load and TableWork(number, source, target, load.chunks, dict(load.loaded), load.finished)
    if work and load:
        work.started = load.started
    if work and (not work.waiting or pair.source.plan_holds(source, work.chunks)):
        return work
    if work and work.started:  # its rows lie elsewhere by now: what is left of the plan would miss some
        with closing(pair.target.open_loader(pair.job)) as loader:
            loader.truncate(epoch, source.name, target.name)
    chunks = pair.source.plan(source, pair.job.rows_per_file, CHUNK_BYTES)
    ledger.save_plan(epoch, source, chunks)
    return TableWork(number, source, target, chunks)


def require_planned(pair: Pair, work: Sequence[TableWork]) -> None:
    """Asked once the snapshot is open: whether what it will be read by is what there is. What happens to a table from
    here on, the change phase is told of by the source, or reading it fails.

    Raises SourceInterrupted (retryable: it is planned again) when rows lie elsewhere by now, in a new partition or
    another file; LayoutChanged when a table has other columns or keys than it was planned with.
    """
    waiting = [w for w in work if w.waiting]
    now = pair.source.reflect([w.source.name for w in waiting])
    both = [(w.source, t) for w, t in zip(waiting, now, strict=True)]
    changed = sorted(str(s.name) for s, t in both if s.fingerprint != t.fingerprint or _unique(s) - _unique(t))
    if changed:
        raise LayoutChanged(
            f"{', '.join(changed[:20])}: changed columns or keys while the load was prepared",
            remedy=_AFRESH,
            tables=changed[:100],
        )
    moved = sorted(str(w.source.name) for w in waiting if not pair.source.plan_holds(w.source, w.chunks))
    if moved:
        raise SourceInterrupted(
            f"{', '.join(moved[:20])}: changed between the plan of the load and its snapshot (a partition that came or "
            "went, TRUNCATE, VACUUM FULL, another table of that name): planning again",
            tables=moved[:100],
        )


def _unique(table: Table) -> set[tuple[str, ...]]:
    return {(*i.columns, i.expression or "") for i in table.indexes if i.unique}


def _prepare_mixing(pair: Pair, control: Control, epoch: int, work: list[TableWork]) -> None:
    """Give half-loaded tables their key now, so that the second snapshot's rows can replace the first one's."""
    for table in work:
        if table.waiting and table.started:
            control.log("loader", f"{table.source.name}: {len(table.waiting)} of {len(table.chunks)} chunks are left")
            if (finisher := pair.target.finisher) is not None:
                finisher.indexes(table.source, table.target, lambda: False, Claim(pair.job.migration, epoch))
            table.upsert = True
