"""The reading side: definitions, snapshots and the log of changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from whimbrel.connectors.protocols.checks import Rehearsal
from whimbrel.model.change import Transaction
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.normal import Columns
from whimbrel.model.objects import SchemaObject
from whimbrel.model.position import Position
from whimbrel.model.table import Column, Table

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Retained:
    """``bytes`` of log that only one job keeps a server from removing, by what is called ``slot`` there.

    ``state`` names how safe that is, in the connector's own words; ``warning`` is a sentence for people once it is not.
    """

    bytes: int
    state: str
    warning: str | None = None
    slot: str = ""


@dataclass(frozen=True)
class Filled:
    """What rows that were there before hold in a column that came since: all the same ``value``, as text in the normal
    form asked for (None is NULL), unless it is not ``known``."""

    table: TableName
    column: str
    known: bool
    value: str | None = None


class Source(Protocol):
    """The reading side of one server. Thread-safe as long as each thread uses its own readers and streams."""

    def resolve(self, patterns: Sequence[TableName]) -> tuple[TableName, ...]:
        """Expand ``schema.*`` and check that every table exists. Raises TableMissing naming all that do not."""

    def reflect(self, tables: Sequence[TableName]) -> tuple[Table, ...]:
        """Read the definitions, in the order asked. Raises TableMissing or SourcePermissionDenied."""

    def objects(self, tables: Sequence[TableName]) -> tuple[SchemaObject, ...]:
        """Views in the schemas of these tables, and others that are known to read them; routines and events in those
        schemas; triggers and rules on these tables. As far as the account may see them; not those of extensions."""

    def plan(self, table: Table, rows_per_file: int, chunk_bytes: int) -> tuple[Chunk, ...]:
        """Cut a table into chunks of about that many bytes and at most about that many rows. At least one chunk."""

    def plan_holds(self, table: Table, chunks: Sequence[Chunk]) -> bool:
        """Whether a plan made earlier still cuts the table in the same places, so that some of it may be read later."""

    def open_snapshot(self, job: Job, tables: Sequence[Table], *, capture: bool, lanes: int) -> Snapshot:
        """Open one consistent view of all tables.

        With ``capture``, what is needed to read changes from exactly this point on is made too (slot, publication),
        unless it exists from an earlier attempt of the same migration, which is then kept: the snapshot's
        ``position`` is then a newer one than that slot's, and replaying from the older one must converge.
        The source is frozen no longer than it takes to open the connections.
        """

    def open_reader(self, job: Job, token: Any) -> SnapshotReader:
        """Open one more reader inside the snapshot that ``token`` names; may run in another process."""

    def prepare_changes(self, job: Job, tables: Sequence[Table]) -> Position:
        """Make what capturing needs (slot, publication) without a snapshot and return the current position.

        Called twice it keeps what exists; what was done to the tables before counts as known. Raises LogDisabled,
        LogFormatRefused, ReplicaIdentityMissing, SlotsExhausted.
        """

    def check_capture(self, tables: Sequence[Table]) -> None:
        """Raise what would stop capturing these tables (LogDisabled, LogFormatRefused, ReplicaIdentityMissing,
        SourcePermissionDenied), having changed nothing. Called before a data-replication or replication starts."""

    def require_unchanged(self, job: Job, tables: Sequence[Table]) -> None:
        """Raise LayoutChanged when something was done to a table, since the job's capture began or was last followed,
        that its log does not show: so that rows of two snapshots do not fit together."""

    def accept_columns(self, job: Job, tables: Sequence[Table]) -> tuple[TableName, ...]:
        """Take the columns of these tables as known: the target has the same. Return the tables whose columns differ
        from what was known, and only by ones that were added, dropped or renamed; the others stay changed."""

    def filled(self, job: Job, table: Table, columns: Columns) -> Sequence[Filled]:
        """The columns that came to the table since its columns were taken as known, with what rows of before hold in
        them; none if it has no rows. ``columns`` are the names and normal forms of those that can be compared. Bounded
        in time."""

    def open_changes(self, job: Job, tables: Sequence[Table], start: Position) -> ChangeStream:
        """Read changes from ``start`` on. Raises PositionLost, PositionForeign, LayoutChanged for what was done to a
        table while nobody followed."""

    def holds(self, job: Job, position: Position) -> bool:
        """Whether the source still has everything from ``position`` on for this job (slot alive, log not purged)."""

    def parse_position(self, text: str) -> Position:
        """A position as users write it, on this server. Raises InvalidRequest."""

    def require_point(self, position: Position) -> None:
        """Raise PositionForeign unless the log has, or had, this point; PositionLost when it has it no more. Nothing is
        changed. Asked of a position that a user names, before anything is done."""

    def current_position(self) -> Position:
        """The newest point of the log that a change could stand at. Cheap; asked every second while replicating."""

    def sent_position(self) -> Position:
        """``current_position``, and the server sends its log up to there at once, however idle it is."""

    def retained(self, job: Job) -> Retained | None:
        """What the server keeps of its log for this job alone; None where it keeps its log for nobody in particular,
        or for this job nothing yet. Cheap; asked every few seconds."""

    def expires_in(self, position: Position) -> float | None:
        """In how many seconds the server may remove its log from ``position`` on, whoever still needs it; None where it
        will not by age, or does not know yet because it still writes that part. Asked now and then."""

    def fetch_rows(self, table: Table, keys: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with these keys as they are now, in the columns and canonical text of TableChanges.data.

        Used for images the log left incomplete. Keys that no longer exist are left out.
        """

    def end_sessions(self, job: Job) -> None:
        """End every other connection of this job's operation, whatever it is at. What a later one needs in order to go
        on (slot, publication) stays. Called twice it is no error."""

    def at_work(self, job: Job) -> int:
        """How many sessions of the job's operation the server works for just now; those that are idle, that stream the
        log or that wait for us do not count. Opens a session of its own for the question."""

    def look_at_rows(self, tables: Sequence[Table], *, keys: bool) -> Rehearsal:
        """What in the rows a stricter target refuses, each found by a query that is bounded in time. ``keys``: foreign
        keys between these tables will be compared with the rows."""

    def cleanup(self, job: Job) -> None:
        """``end_sessions``, and remove the migration's slot and publication: nobody can go on from its position then.
        Called twice it is no error."""

    def close(self) -> None: ...


class Snapshot(Protocol):
    """A consistent view, alive until closed. ``token`` is picklable and lets other processes open readers in it."""

    position: Position
    token: Any

    def lane_opened(self) -> None:
        """Told once per reader that has opened inside the snapshot."""

    def release(self) -> None:
        """All readers are open: undo whatever froze the source (UNLOCK TABLES). Called twice it is no error."""

    def keepalive(self) -> None:
        """Keep the holding connection from idle timeouts; raises SourceInterrupted if the snapshot is gone."""

    def close(self) -> None: ...


class SnapshotReader(Protocol):
    def extract(
        self, table: Table, columns: Sequence[Column], chunk: Chunk, format: Format, write: Callable[[Buffer], object]
    ) -> int:
        """Write one chunk's rows in ``format`` as blocks of 64 KiB to 1 MiB and return how many rows there were.

        COPY_BINARY includes header and trailer, so that the file is one complete COPY stream. ``write`` may wait long.
        After any error, one of ``write`` too, the reader is of no more use but to be closed.
        """

    def close(self) -> None: ...


class ChangeSink(Protocol):
    """Where a ChangeStream writes what it decodes: ``codecs.changes.SegmentBuilder``."""

    def begin(self, transaction: Transaction) -> None: ...
    def commit(self, position: Position, commit_us: int) -> None: ...
    def advance(self, position: Position) -> None: ...
    def truncate(self, tables: Sequence[TableName]) -> None: ...
    def buffer(self, table: TableName, columns: tuple[str, ...]) -> Any: ...


class ChangeStream(Protocol):
    def read(self, sink: ChangeSink, timeout: float, limit: int) -> bool:
        """Decode what the source has sent into ``sink``; wait at most ``timeout`` seconds if there is nothing.

        Returns after about ``limit`` bytes even inside a transaction, so that large ones can be cut into slices.
        False when nothing came. Raises LayoutChanged, LogFormatRefused, PositionLost, SourceInterrupted.
        """

    def notices(self) -> Sequence[str]:
        """What people should be told of the source's tables, each line once."""

    def confirm(self, position: Position) -> None:
        """The target has committed everything up to here; the source may forget it. Also keeps the link alive."""

    def close(self) -> None: ...
