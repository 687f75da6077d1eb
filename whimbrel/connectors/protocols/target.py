"""The writing side: definitions, progress, loading and applying."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import pyarrow as pa

from whimbrel.connectors.protocols.checks import Rehearsal
from whimbrel.connectors.staged import StagedFile
from whimbrel.model.change import Segment
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.difference import Difference
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Column, Table


@dataclass(frozen=True)
class Rendered:
    """DDL for the target, one complete statement a line item, in the order to run.

    ``notes`` lists every declared lossy mapping: 'public.t.c: timetz -> time(6): the zone is dropped'.
    """

    tables: tuple[str, ...]  # create schema/database, create table with primary and unique keys, checks, defaults
    objects: tuple[str, ...]  # secondary indexes, foreign keys, sequences, comments
    drops: tuple[str, ...]
    notes: tuple[str, ...] = ()


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


@dataclass(frozen=True)
class Claim:
    """Who may write: a migration as ``Checkpoint.claim`` took it over. Definitions that are changed under a claim are
    not changed, and Fenced is raised, once somebody else has claimed the migration. Where DDL is transactional nobody
    comes in between; where it is not, the claim is looked at right before each statement."""

    migration: str
    epoch: int


@dataclass(frozen=True)
class Pace:
    """How often a target wants to be written to, in seconds; what is billed by the statement or kept awake by it wants
    few large batches. 0: as soon as there is something.

    ``gather``: how long changes are gathered before they are applied, unless there are many; ``idle``: how seldom a
    position is stored that moved without changes.
    """

    gather: float = 0.0
    idle: float = 0.0


class Target(Protocol):
    compares_keys: bool  # a foreign key that is added is compared with the rows
    pace: Pace

    def map_schemas(self, tables: Sequence[Table], job: Job, source_type: str) -> Mapping[str, str]:
        """Source schema -> target schema: ``job.schema_rename``, else this engine's rule (docs/schemas.md)."""

    def render(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> Rendered:
        """DDL for these source tables on this target. Raises TypeRefused or IdentifierRefused listing all offenders."""

    def target_tables(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> tuple[Table, ...]:
        """The tables as this engine will hold them: target names, target-native column types, same column order."""

    def execute_script(self, sql: str) -> None:
        """Run a file of statements; all or nothing where DDL is transactional. Raises SchemaFailed."""

    def reflect(self, names: Sequence[TableName]) -> tuple[Table, ...]:
        """The definitions of target tables as they are, in the order asked; columns and keys at least. Raises
        TableMissing."""

    def existing(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        """Those of the (target) names that exist."""

    def nonempty(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        """Those of the (target) names that hold at least one row."""

    def differences(self, tables: Sequence[Table]) -> tuple[Difference, ...]:
        """For target tables as target_tables gives them: how existing ones differ in columns; empty when they fit."""

    def rehearse(
        self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str, *, changes: bool
    ) -> Rehearsal:
        """Make all that ``render`` and, with ``changes``, the applier would make for these source tables, under names
        of our own, and take it back; bounded in time. No table, row or name of the user's is touched."""

    def stricter(self, source: Sequence[Table], target: Sequence[Table]) -> tuple[str, ...]:
        """What may make two rows of the source one in existing target tables: unique keys that the source has not, and
        types and collations of keys that tell fewer values apart. Empty when there is nothing."""

    def checkpoint(self, migration: str) -> Checkpoint:
        """The migration's progress kept in the target itself (schema or database 'whimbrel'). Made when absent."""

    def open_loader(self, job: Job) -> Loader: ...

    def prepare_load(self, tables: Sequence[Table], claim: Claim | None = None) -> None:
        """Before rows of a fresh load: drop secondary indexes, keys and foreign keys that slow it. Idempotent."""

    def finish_table(self, source: Table, target: Table, stop: Callable[[], bool], claim: Claim | None = None) -> None:
        """After the rows: keys, secondary and unique indexes, identity values, statistics. Idempotent."""

    def finish_keys(self, source: Sequence[Table], target: Sequence[Table], claim: Claim | None = None) -> None:
        """After all tables: foreign keys between them. Idempotent."""

    def sync_sequences(self, source: Sequence[Table], target: Sequence[Table], patience: int | None = None) -> None:
        """Set identity and sequence values past the greatest value of each column. Idempotent.

        ``patience`` bounds the wait for a lock, in seconds; by default it is that of every session on the target.
        """

    def open_applier(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Applier: ...

    def reset(self, names: Sequence[TableName], mode: Literal["drop", "truncate"]) -> tuple[int, int]:
        """Drop or empty these target tables; (done, failed). Foreign keys between them do not stop it."""

    def at_work(self, job: Job) -> int:
        """How many sessions of the job's operation the server works for just now; those that are idle or that wait for
        us do not count. Opens a session of its own for the question."""

    def cleanup(self, job: Job) -> None:
        """End every other connection of this job's operation and drop what it staged. Called twice it is no error."""

    def close(self) -> None: ...


class Checkpoint(Protocol):
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


class Loader(Protocol):
    def load(
        self,
        epoch: int,
        source: Table,
        target: Table,
        columns: Sequence[Column],
        chunk: Chunk,
        format: Format,
        file: StagedFile,
        *,
        upsert: bool,
    ) -> int:
        """Load a staged file and record the chunk, in one transaction; return the rows. Nothing is committed unless
        the file is what was written and the target counts as many rows as the reader (StagingDamaged, DataFailed).

        A chunk already recorded is not loaded again (its rows are returned). ``upsert`` replaces rows whose key exists,
        and no others (used when a second snapshot finishes what a first one began). Raises Fenced, TargetFull,
        ValueRefused (also where the target takes a row for another one that it has), ...
        """

    def truncate(self, epoch: int, source: TableName, target: TableName) -> None:
        """Empty the target table and forget its loaded chunks, in one transaction where the engine can."""

    def close(self) -> None: ...


Refetch = Callable[[TableName, pa.RecordBatch], pa.RecordBatch]


class Applier(Protocol):
    """Applies segments. One connection, one transaction at a time."""

    def apply(self, segment: Segment, refetch: Refetch) -> None:
        """Apply all steps inside the open transaction (begun when needed). Nothing is committed.

        Raises ValueRefused, among others, where the target takes a row for another one that it has: a row is put in
        the place of the one with its key and of no other, but for one that the source cannot have beside it.
        """

    def commit(self, epoch: int, position: Position) -> None:
        """Store the position in the same transaction and commit. Raises Fenced (and rolls back)."""

    def rollback(self) -> None: ...

    def hold(self) -> None:
        """Begin the transaction and keep every other applier of the migration from committing until it ends.

        Gives up after about a second, also on each row that another one has changed: raises TargetInterrupted.
        """

    def release(self) -> None:
        """Commit what was applied since ``hold``; the stored position stays."""

    def close(self) -> None: ...
