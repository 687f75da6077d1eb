"""A migration's progress, kept in the target itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from whimbrel.model.chunk import Chunk
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table


@dataclass(frozen=True)
class LoadState:
    """What the target says was planned and loaded, by source table.

    ``layouts`` are the fingerprints of the tables when they were planned, or when a replication without a load began.
    """

    epoch: int
    operation: str  # the operation that began this load; '' when none did
    position: Position | None  # where change replay must start; None when this was a plain data load
    data_complete: bool
    snapshots: int  # how many snapshots were opened so far for this load
    tables: Mapping[TableName, TableLoad] = field(default_factory=dict)
    layouts: Mapping[TableName, str] = field(default_factory=dict)

    def unknown(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        """Those that what is stored says nothing about: added to the migration since, or made since under a pattern.

        Versions that kept no layouts knew all tables.
        """
        return tuple(n for n in names if n not in self.layouts) if self.layouts else ()

    def unfinished(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        """Those that were planned, and whose rows or keys are not all there."""
        planned = ((n, self.tables[n]) for n in names if n in self.tables)
        return tuple(n for n, load in planned if not load.finished or len(load.loaded) < len(load.chunks))

    def holds(self, names: Sequence[TableName]) -> bool:
        """Whether a data phase has ended whole for all of these, with a position from which changes make them new."""
        return self.data_complete and self.position is not None and not (self.unknown(names) or self.unfinished(names))


@dataclass(frozen=True)
class TableLoad:
    fingerprint: str
    chunks: tuple[Chunk, ...]
    loaded: Mapping[int, int]  # chunk number -> rows
    finished: bool  # indexes and keys are built
    announced: bool = False  # where a load and its record are two transactions: one has begun that may still come in

    @property
    def started(self) -> bool:
        """Whether rows of this plan may be in the table, or may still come into it."""
        return bool(self.loaded) or self.announced


@dataclass(frozen=True)
class Claim:
    """Who may write: a migration as ``Ledger.claim`` took it over. Definitions that are changed under a claim are
    not changed, and Fenced is raised, once somebody else has claimed the migration. Where DDL is transactional nobody
    comes in between; where it is not, the claim is looked at right before each statement."""

    migration: str
    epoch: int


class Ledger(Protocol):
    """The progress tables in the target: ``whimbrel.progress`` and ``whimbrel.chunks``. Every write is fenced."""

    def claim(self) -> int:
        """Take the migration over: raise the epoch and return it. All writes with an older epoch fail with Fenced, also
        those of a migration of the same name that was removed meanwhile."""

    def state(self) -> LoadState: ...

    def clear(self, epoch: int, operation: str) -> None:
        """Forget everything about this migration but the epoch, and note the operation that begins anew."""

    def restart(self, epoch: int, operation: str, position: Position, tables: Sequence[Table]) -> None:
        """Forget everything, and note in the same transaction the operation, position and tables that begin anew."""

    def forget(self, epoch: int, tables: Sequence[TableName]) -> None:
        """Forget layout, plan and chunks of these tables: what happens to them from here on is not followed."""

    def remove(self) -> None:
        """Remove all that is kept of this migration, which is deleted. Whoever still holds an epoch of it is fenced."""

    def save_plan(self, epoch: int, table: Table, chunks: Sequence[Chunk]) -> None:
        """Replace the table's plan; marks none of it loaded."""

    def save_layouts(self, epoch: int, tables: Sequence[Table]) -> None:
        """Store the fingerprints of tables beside those that are stored; plans and chunks stay as they are."""

    def own(self, tables: Sequence[TableName]) -> None:
        """Note that the migration made or loads these tables of the target; stays until they are disowned."""

    def owned(self) -> frozenset[TableName]:
        """Tables of the target that the migration made or loaded, and that a reset of it may thus drop or empty."""

    def disown(self, tables: Sequence[TableName]) -> None: ...

    def snapshot_opened(self, epoch: int, position: Position, *, keep_older: bool) -> None:
        """Count a snapshot. Its position is stored unless it is of no log, or ``keep_older`` and one is stored."""

    def table_finished(self, epoch: int, table: TableName) -> None: ...

    def data_complete(self, epoch: int) -> None: ...

    def position(self) -> Position | None: ...

    def set_position(self, epoch: int, position: Position) -> None: ...

    def close(self) -> None: ...
