"""The reading side of a PostgreSQL server."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pyarrow as pa

from whimbrel.connectors.postgres.compare import open_comparison
from whimbrel.connectors.postgres.connection import at_work, connect, mapped
from whimbrel.connectors.postgres.locks import bound_waits, locks_named
from whimbrel.connectors.postgres.refetch import fetch_rows
from whimbrel.connectors.postgres.source import changes, retention, schema, slots, snapshot, watch
from whimbrel.connectors.postgres.source.filled import filled
from whimbrel.connectors.postgres.source.objects import objects
from whimbrel.connectors.postgres.source.publication import capture_name
from whimbrel.connectors.postgres.source.reflection import Connection
from whimbrel.connectors.protocols import ChangeStream, Filled, Rehearsal, Retained, Snapshot, SnapshotReader
from whimbrel.model.chunk import Chunk
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.normal import Columns
from whimbrel.model.objects import SchemaObject
from whimbrel.model.position import Position
from whimbrel.model.table import Table


class PostgresSource:
    """See protocols.Source. Short questions share one connection, one thread at a time."""

    def __init__(self, endpoint: Endpoint, operation: str) -> None:
        self._endpoint = endpoint
        self._operation = operation
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._last_position: Position | None = None

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        with self._lock, mapped("source"):
            if self._connection is None or self._connection.closed:
                self._connection = connect(self._endpoint.parameters, self._operation)
                bound_waits(self._connection)
            with locks_named(self._connection):
                yield self._connection

    def resolve(self, patterns: Sequence[TableName]) -> tuple[TableName, ...]:
        with self._session() as connection:
            return schema.resolve(connection, patterns)

    def reflect(self, tables: Sequence[TableName]) -> tuple[Table, ...]:
        with self._session() as connection:
            return schema.reflect(connection, tables, readable=True)

    def objects(self, tables: Sequence[TableName]) -> tuple[SchemaObject, ...]:
        with self._session() as connection:
            return objects(connection, tables)

    def plan(self, table: Table, rows_per_file: int, chunk_bytes: int) -> tuple[Chunk, ...]:
        with self._session() as connection:
            return snapshot.plan(connection, table, rows_per_file, chunk_bytes)

    def plan_holds(self, table: Table, chunks: Sequence[Chunk]) -> bool:
        with self._session() as connection:
            return snapshot.plan_holds(connection, table, chunks)

    def open_snapshot(self, job: Job, tables: Sequence[Table], *, capture: bool, lanes: int) -> Snapshot:
        return snapshot.open_snapshot(self._endpoint, job, tables, capture=capture, lanes=lanes)

    def open_reader(self, job: Job, token: Any) -> SnapshotReader:
        return snapshot.open_reader(self._endpoint, job, token)

    def prepare_changes(self, job: Job, tables: Sequence[Table]) -> Position:
        return slots.prepare_changes(self._endpoint, job, tables)

    def check_capture(self, tables: Sequence[Table]) -> None:
        with self._session() as connection:
            slots.check_capture(connection, tables)

    def require_unchanged(self, job: Job, tables: Sequence[Table]) -> None:
        with self._session() as connection:
            watch.require_unchanged(connection, capture_name(job.migration), tables)

    def accept_columns(self, job: Job, tables: Sequence[Table]) -> tuple[TableName, ...]:
        with self._session() as connection:
            return watch.accept_columns(connection, capture_name(job.migration), tables)

    def filled(self, job: Job, table: Table, columns: Columns) -> Sequence[Filled]:
        with self._session() as connection:
            added = watch.added(connection, capture_name(job.migration), table)
        if added is None:
            return ()
        with closing(open_comparison(self._endpoint, self._operation)) as comparison:
            return filled(comparison, table, columns, added)

    def open_changes(self, job: Job, tables: Sequence[Table], start: Position) -> ChangeStream:
        return changes.open_changes(self._endpoint, job, tables, start)

    def holds(self, job: Job, position: Position) -> bool:
        with self._session() as connection:
            return slots.holds(connection, job.migration, position)

    def parse_position(self, text: str) -> Position:
        with self._session() as connection:
            return slots.parse_position(connection, text)

    def require_point(self, position: Position) -> None:
        with self._session() as connection:
            changes.require_reached(connection, position)

    def current_position(self) -> Position:
        with self._session() as connection:
            position = slots.current_position(connection)
            if position == self._last_position:
                slots.flush_log(connection)
            self._last_position = position
            return position

    def sent_position(self) -> Position:
        with self._session() as connection:
            slots.flush_log(connection)
            return slots.current_position(connection)

    def retained(self, job: Job) -> Retained | None:
        with self._session() as connection:
            return retention.retained(connection, job.migration)

    def expires_in(self, position: Position) -> float | None:
        """A slot keeps the log by what it holds, not by age."""
        return None

    def fetch_rows(self, table: Table, keys: pa.RecordBatch) -> pa.RecordBatch:
        with self._session() as connection:
            return fetch_rows(connection, table, keys)

    def end_sessions(self, job: Job) -> None:
        slots.end_sessions(self._endpoint, job)

    def at_work(self, job: Job) -> int:
        return at_work(self._endpoint.parameters, job.operation, "source")

    def look_at_rows(self, tables: Sequence[Table], *, keys: bool) -> Rehearsal:
        """PostgreSQL compares byte by byte, and has validated its foreign keys: nothing to suspect."""
        return Rehearsal()

    def cleanup(self, job: Job) -> None:
        self.close()
        slots.cleanup(self._endpoint, job)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
