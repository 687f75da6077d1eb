"""What an engine may implement.

An engine is one module-level object of type ``Engine`` in ``connectors/<folder>/__init__.py``, found by entry point.
Everything else hangs on it, one Protocol per capability; ``Capabilities`` says as plain data which of them the engine
has, and a test keeps that true. All methods are synchronous and blocking: they run in worker threads and lane
processes. Each raises only errors of ``whimbrel.errors`` (drivers' exceptions are mapped in the connector's one
``connection.py``), and each says what happens when it is called twice.

Connections: each opened one names itself ``whimbrel:<operation>`` (application_name, program_name) so that cleanup can
find it. What has ``close()`` is used with ``contextlib.closing``; closing twice is no error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

from whimbrel.model.change import Segment, Transaction
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Column, Table

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do, as data. Suites and matrix are driven by it."""

    source: bool
    target: bool
    reads: tuple[Format, ...] = ()  # what its snapshot readers can write, best first
    loads: tuple[Format, ...] = ()  # what its loaders take, best first
    changes: bool = False  # can be captured
    apply: bool = False  # changes can be applied to it, with the position in the same transaction
    compare: bool = False  # checksums can be made inside it
    queue: bool = False  # changes can be written to it as messages, see connectors/queues.py
    transactional_ddl: bool = False
    identifier_bytes: int = 63
    parallel_snapshot: bool = True


@dataclass(frozen=True)
class ServerInfo:
    """``identity`` is stable across restarts; ``version`` comparable; ``title`` is for people: 'PostgreSQL 15.18'."""

    title: str
    version: tuple[int, ...]
    identity: str
    flavor: str = ""  # 'mariadb' or 'mysql' where one folder serves both


@dataclass(frozen=True)
class CheckResult:
    """One prerequisite. ``id`` is stable. ``remedy`` is SQL or a sentence; empty when ok."""

    id: str
    status: Literal["ok", "warn", "fail"]
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class Statement:
    """SQL that a person runs before the migration. ``restart``: takes effect only after a restart of the server."""

    sql: str
    why: str
    restart: bool = False


class Engine(Protocol):
    """The front door of a connector. Cheap to import: drivers are imported by the methods that need them."""

    types: tuple[str, ...]  # the endpoint types it serves: ("mysql", "mariadb")
    capabilities: Capabilities
    secret_parameters: frozenset[str]

    def parse(self, type: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """Check and normalise parameters (aliases, defaults, ports as text). Raises InvalidRequest naming the field."""

    def test(self, endpoint: Endpoint) -> ServerInfo:
        """Connect, read version and identity, disconnect. Raises a ConnectionRefused leaf."""

    def source(self, endpoint: Endpoint, operation: str) -> Source:
        """The reading side. Opens nothing yet."""

    def target(self, endpoint: Endpoint, operation: str) -> Target:
        """The writing side. Opens nothing yet."""


# --- source ---------------------------------------------------------------------------------------------------------


class Source(Protocol):
    """The reading side of one server. Thread-safe as long as each thread uses its own readers and streams."""

    def resolve(self, patterns: Sequence[TableName]) -> tuple[TableName, ...]:
        """Expand ``schema.*`` and check that every table exists. Raises TableMissing naming all that do not."""

    def reflect(self, tables: Sequence[TableName]) -> tuple[Table, ...]:
        """Read the definitions, in the order asked. Raises TableMissing or SourcePermissionDenied."""

    def plan(self, table: Table, rows_per_file: int, chunk_bytes: int) -> tuple[Chunk, ...]:
        """Cut a table into chunks of about that many bytes and at most about that many rows. At least one chunk."""

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

        Called twice it keeps what exists. Raises LogDisabled, LogFormatRefused, ReplicaIdentityMissing,
        SlotsExhausted.
        """

    def check_capture(self, tables: Sequence[Table]) -> None:
        """Raise what would stop capturing these tables (LogDisabled, LogFormatRefused, ReplicaIdentityMissing,
        SourcePermissionDenied), having changed nothing. Called before a data-replication or replication starts."""

    def open_changes(self, job: Job, tables: Sequence[Table], start: Position) -> ChangeStream:
        """Read changes from ``start`` on. Raises PositionLost, PositionForeign."""

    def holds(self, job: Job, position: Position) -> bool:
        """Whether the source still has everything from ``position`` on for this job (slot alive, log not purged)."""

    def parse_position(self, text: str) -> Position:
        """A position as users write it, on this server. Raises InvalidRequest."""

    def current_position(self) -> Position:
        """The newest point of the log that a change could stand at. Cheap; asked every second while replicating."""

    def fetch_rows(self, table: Table, keys: pa.RecordBatch) -> pa.RecordBatch:
        """The rows with these keys as they are now, in the columns and canonical text of TableChanges.data.

        Used for images the log left incomplete. Keys that no longer exist are left out.
        """

    def cleanup(self, job: Job) -> None:
        """Remove slot, publication and every connection of this job's migration. Called twice it is no error."""

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

        COPY_BINARY includes header and trailer, so that the file is one complete COPY stream.
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

    def confirm(self, position: Position) -> None:
        """The target has committed everything up to here; the source may forget it. Also keeps the link alive."""

    def close(self) -> None: ...


# --- target ---------------------------------------------------------------------------------------------------------


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
    """What the target says was planned and loaded, by source table."""

    epoch: int
    operation: str  # the operation that began this load; '' when none did
    position: Position | None  # where change replay must start; None when this was a plain data load
    data_complete: bool
    snapshots: int  # how many snapshots were opened so far for this load
    tables: Mapping[TableName, TableLoad] = field(default_factory=dict)


@dataclass(frozen=True)
class TableLoad:
    fingerprint: str
    chunks: tuple[Chunk, ...]
    loaded: Mapping[int, int]  # chunk number -> rows
    finished: bool  # indexes and keys are built


class Target(Protocol):
    def map_schemas(self, tables: Sequence[Table], job: Job, source_type: str) -> Mapping[str, str]:
        """Source schema -> target schema: ``job.schema_rename``, else this engine's rule (docs/schemas.md)."""

    def render(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> Rendered:
        """DDL for these source tables on this target. Raises TypeRefused or IdentifierRefused listing all offenders."""

    def target_tables(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> tuple[Table, ...]:
        """The tables as this engine will hold them: target names, target-native column types, same column order."""

    def execute_script(self, sql: str) -> None:
        """Run a file of statements; all or nothing where DDL is transactional. Raises SchemaFailed."""

    def existing(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        """Those of the (target) names that exist."""

    def nonempty(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        """Those of the (target) names that hold at least one row."""

    def differences(self, tables: Sequence[Table]) -> tuple[str, ...]:
        """For target tables as target_tables gives them: how existing ones differ in columns; empty when they fit."""

    def checkpoint(self, migration: str) -> Checkpoint:
        """The migration's progress kept in the target itself (schema or database 'whimbrel'). Made when absent."""

    def open_loader(self, job: Job) -> Loader: ...

    def prepare_load(self, tables: Sequence[Table]) -> None:
        """Before rows of a fresh load: drop secondary indexes, keys and foreign keys that slow it. Idempotent."""

    def finish_table(self, source: Table, target: Table, stop: Callable[[], bool]) -> None:
        """After the rows: keys, secondary and unique indexes, identity values, statistics. Idempotent."""

    def finish_keys(self, source: Sequence[Table], target: Sequence[Table]) -> None:
        """After all tables: foreign keys between them. Idempotent."""

    def sync_sequences(self, source: Sequence[Table], target: Sequence[Table]) -> None:
        """Set identity and sequence values past the greatest value of each column. Idempotent."""

    def open_applier(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Applier: ...

    def reset(self, names: Sequence[TableName], mode: Literal["drop", "truncate"]) -> tuple[int, int]:
        """Drop or empty these target tables; (done, failed). Foreign keys between them do not stop it."""

    def cleanup(self, job: Job) -> None:
        """End every other connection of this job's operation and drop what it staged. Called twice it is no error."""

    def close(self) -> None: ...


class Checkpoint(Protocol):
    """The progress tables in the target: ``whimbrel.progress`` and ``whimbrel.chunks``. Every write is fenced."""

    def claim(self) -> int:
        """Take the migration over: raise the epoch and return it. All writes with an older epoch fail with Fenced."""

    def state(self) -> LoadState: ...

    def clear(self, epoch: int, operation: str) -> None:
        """Forget everything about this migration but the epoch, and note the operation that begins anew."""

    def save_plan(self, epoch: int, table: Table, chunks: Sequence[Chunk]) -> None:
        """Replace the table's plan; marks none of it loaded."""

    def snapshot_opened(self, epoch: int, position: Position, *, keep_older: bool) -> None:
        """Count a snapshot. Its position is stored unless ``keep_older`` and one is stored already."""

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
        file: Path,
        *,
        upsert: bool,
    ) -> int:
        """Load a staged file and record the chunk, in one transaction; return the rows.

        A chunk already recorded is not loaded again (its rows are returned). ``upsert`` replaces rows whose key exists
        (used when a second snapshot finishes what a first one began). Raises Fenced, ValueRefused, TargetFull, ...
        """

    def truncate(self, epoch: int, source: TableName, target: TableName) -> None:
        """Empty the target table and forget its loaded chunks, in one transaction where the engine can."""

    def close(self) -> None: ...


Refetch = Callable[[TableName, pa.RecordBatch], pa.RecordBatch]


class Applier(Protocol):
    """Applies segments. One connection, one transaction at a time."""

    def apply(self, segment: Segment, refetch: Refetch) -> None:
        """Apply all steps inside the open transaction (begun when needed). Nothing is committed."""

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


# --- comparison, prerequisites --------------------------------------------------------------------------------------


class Comparable(Protocol):
    """In-database checksums over normalised values; implemented by sources and targets alike in ``compare.py``."""

    def open_comparison(self, endpoint: Endpoint, operation: str) -> Comparison: ...


class Comparison(Protocol):
    """One connection for comparing. Both sides of a pair normalise to the same text; see docs/validation.md.

    ``columns`` pairs every column's name with the normal form both sides agreed on (``model/normal.py``), ``key`` the
    same for the key's columns; a table without a key has an empty one, and its rows are compared as multisets.

    A table's rows are cut into segments along one order: the key, where ``normal.ordered`` says that both engines
    order it alike, else the 60-bit hash of the key, or of the whole row if there is no key. ``low``/``high`` are
    points in that order (inclusive, exclusive; None is open): a tuple of the key's values as text, or a tuple of one
    hash. ``sample`` keeps rows whose key hash modulo 100 is below that percent.
    """

    def checksum(
        self,
        table: TableName,
        columns: Sequence[tuple[str, str]],
        key: Sequence[tuple[str, str]],
        low: Sequence[str] | None,
        high: Sequence[str] | None,
        sample: int,
    ) -> tuple[int, int]:
        """(rows, order-independent sum of row hashes). Without ``columns`` rows are only counted."""

    def checksums(
        self,
        table: TableName,
        columns: Sequence[tuple[str, str]],
        key: Sequence[tuple[str, str]],
        low: Sequence[str] | None,
        high: Sequence[str] | None,
        sample: int,
        cuts: Sequence[Sequence[str]],
    ) -> list[tuple[int, int]]:
        """The same for each segment between ``low``, the ascending ``cuts`` and ``high``, in one pass.

        Cuts of the hash order must lie equally far apart, ``low`` included.
        """

    def cuts(
        self,
        table: TableName,
        key: Sequence[tuple[str, str]],
        low: Sequence[str] | None,
        high: Sequence[str] | None,
        rows: int,
        parts: int,
    ) -> list[tuple[str, ...]]:
        """Ascending keys that cut a range of about ``rows`` rows into about equal ``parts``; maybe none."""

    def hashes(
        self,
        table: TableName,
        columns: Sequence[tuple[str, str]],
        key: Sequence[tuple[str, str]],
        low: Sequence[str] | None,
        high: Sequence[str] | None,
        sample: int,
        limit: int,
    ) -> pa.RecordBatch:
        """Per row, in no order, at most ``limit``: the key as text in ``k0``, ``k1`` … and ``hash`` (int64).

        Without a key: each ``hash`` once, and in ``rows`` (int64) how many rows have it. With a key ``rows`` is 1.
        """

    def lookup(
        self,
        table: TableName,
        columns: Sequence[tuple[str, str]],
        key: Sequence[tuple[str, str]],
        keys: pa.RecordBatch,
    ) -> pa.RecordBatch:
        """The rows with these keys (columns ``k0``, ``k1`` …; or ``hash`` without a key), as ``hashes`` gives them.

        Rows whose key merely equals one of ``keys`` in the column's collation may be among them.
        """

    def images(
        self, table: Table, columns: Sequence[tuple[str, str]], key: Sequence[tuple[str, str]], keys: pa.RecordBatch
    ) -> pa.RecordBatch:
        """The whole rows with these keys, as they are now: ``lookup``'s columns, one line a row, and behind them the
        table's loaded columns in the canonical text of ``TableChanges.data``.

        Raises ValidateFailed where rows without a key cannot be found by their hash inside the database.
        """

    def cancel(self) -> None:
        """End the statement in hand; callable from another thread. The call that waits for it raises."""

    def close(self) -> None: ...


class Checks(Protocol):
    """``checks.py``: what must be true before a migration works. Modes: data, replication, data+replication."""

    def statements(
        self, endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
    ) -> tuple[Statement, ...]: ...

    def run(
        self, endpoint: Endpoint, role: Literal["source", "target"], mode: str, tables: Sequence[TableName]
    ) -> tuple[CheckResult, ...]: ...


def negotiate(reads: Iterable[Format], loads: Iterable[Format]) -> Format | None:
    """The first format a loader likes that the reader can write."""
    offered = set(reads)
    return next((f for f in loads if f in offered), None)
