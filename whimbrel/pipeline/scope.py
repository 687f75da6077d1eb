"""Which tables an operation that goes on is about: those that what is stored knows of, and those that came since.

A table comes into a migration when somebody names it, or when it is made on the source under a pattern that the
migration has. The first is somebody's wish, and what cannot be done about it is refused; the second may happen to any
operation at any time, so it is told of, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Final

from whimbrel.connectors.protocols import LoadState, Source
from whimbrel.errors import TableNotLoaded, TargetNotEmpty, WhimbrelError
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Table
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.pair import Pair

EVERY: Final = 60.0  # seconds
_BEGIN = "Move its rows, then start with resume=false; changes in between must have come by other means."
_ALONE = "Give it a migration of its own, or reset and load all tables again."
_JOIN = "extract and apply the schema, then run data-replication with resume=true to take it in"


def goes_on(state: LoadState, job: Job, *, resume: bool) -> bool:
    """Whether a load takes up what is stored: its own, or with ``resume`` one of which a snapshot was opened. A mere
    position, of a replication that began without a load, says nothing about rows."""
    return state.operation != "" and (state.operation == job.operation or (resume and state.snapshots > 0))


def replayable(table: Table) -> bool:
    """Whether rows of two snapshots may be mixed, because replayed changes make them equal again."""
    others = [i for i in table.indexes if i.unique and i.columns != table.key]
    return bool(table.key) and not others


def followed(pair: Pair, state: LoadState, control: Control) -> Pair:
    """The tables that changes can go on for. Raises TableNotLoaded for those that somebody named and nobody loaded, and
    when a load has not ended."""
    names = [t.name for t in pair.tables]
    if state.snapshots and not state.data_complete:
        left = state.unfinished(names)
        raise TableNotLoaded(
            f"the load of migration {pair.job.migration} has not ended: {_listed(left) or 'keys'} are not all there",
            tables=[str(n) for n in left[:100]],
        )
    unknown = state.unknown(names)
    missing = sorted({*state.unfinished(names), *(n for n in unknown if not _by_pattern(pair.job, n))})
    if missing:
        raise TableNotLoaded(
            f"{_listed(missing)}: not in the migration when its changes were followed last, so rows are missing",
            remedy=None if state.snapshots else _BEGIN,
            tables=[str(n) for n in missing[:100]],
        )
    if len(unknown) == len(names):
        raise TableNotLoaded(f"{_listed(unknown)}: made since, and none of the tables that were followed is there")
    _tell(control, unknown, "it is not replicated")
    return pair.without(unknown)


def joined(pair: Pair, state: LoadState, control: Control, *, capture: bool) -> Pair:
    """The tables of a load that goes on: all that were planned, and those of the new ones that can be added to it.

    Raises TableNotLoaded, TargetNotEmpty for new ones that somebody named and that cannot.
    """
    unknown = set(state.unknown([t.name for t in pair.tables]))
    new = [(s, t) for s, t in pair.both if s.name in unknown]
    if not new:
        return pair
    there = set(pair.target.existing([t.name for _, t in new]))
    filled = set(pair.target.nonempty([t.name for _, t in new if t.name in there]))
    left: list[TableName] = []
    for source, target in new:
        why: WhimbrelError | None = None
        if target.name in filled:
            why = TargetNotEmpty(
                f"{source.name} is new in the migration, and the target table {target.name} already has rows",
                tables=[str(target.name)],
            )
        elif state.data_complete and not (capture and replayable(source)):
            what = "no key, or more unique keys than one" if capture else "changes are not followed"
            why = TableNotLoaded(
                f"{source.name}: cannot be added to a load that has ended ({what})",
                remedy=_ALONE,
                tables=[str(source.name)],
            )
        if not _by_pattern(pair.job, source.name):
            if why is not None:
                raise why
        elif why is not None or target.name not in there:
            left.append(source.name)
            _tell(
                control, [source.name], "it is not loaded: " + (why.message if why else "the target has no such table")
            )
        else:
            control.log("orchestrator", f"{source.name}: new in the migration, it is loaded beside the others")
    return pair.without(left)


def made_later(pair: Pair) -> tuple[TableName, ...]:
    """The tables that nobody named and that the target does not have."""
    new = [(s.name, t.name) for s, t in pair.both if _by_pattern(pair.job, s.name)]
    there = set(pair.target.existing([t for _, t in new]))
    return tuple(s for s, t in new if t not in there)


class Newcomers:
    """Looks now and then for tables that were made on the source under a pattern of the migration, and tells of each
    once. Nothing fails because it could not be asked."""

    def __init__(
        self, source: Source, job: Job, tables: Sequence[Table], control: Control, every: float = EVERY
    ) -> None:
        self._source, self._control, self._every = source, control, every
        self._patterns = [n for n in job.tables if n.is_pattern]
        self._known = {t.name for t in tables}
        self._looked = time.monotonic()

    def look(self) -> None:
        """Cheap between two looks."""
        now = time.monotonic()
        if not self._patterns or now - self._looked < self._every:
            return
        self._looked = now
        try:
            found = self._source.resolve(self._patterns)
        except WhimbrelError:
            return
        new = [n for n in found if n not in self._known]
        self._known.update(new)
        _tell(self._control, new, "it is not replicated")


def _by_pattern(job: Job, name: TableName) -> bool:
    """Whether nobody named this table. Servers that fold names may have it in other letters than its user."""
    folded = TableName(name.schema.casefold(), name.table.casefold())
    named = {TableName(n.schema.casefold(), n.table.casefold()) for n in job.tables}
    return folded not in named and TableName(folded.schema, "*") in named


def _tell(control: Control, tables: Iterable[TableName], what: str) -> None:
    for name in tables:
        control.log("orchestrator", f"warning: {name} was made on the source since; {what} ({_JOIN})")


def _listed(names: Sequence[TableName]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(str(n) for n in names[:20]) + more
