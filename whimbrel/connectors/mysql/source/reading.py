"""The reading side of one MySQL or MariaDB server."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pyarrow as pa

from whimbrel.connectors.mysql.checks import suspects
from whimbrel.connectors.mysql.connection import Session, at_work, connect, execute, mapped
from whimbrel.connectors.mysql.locks import bound_waits
from whimbrel.connectors.mysql.server import server_identity
from whimbrel.connectors.mysql.source import changes, chunks, log, points, schema, snapshot
from whimbrel.connectors.mysql.source.objects import objects
from whimbrel.connectors.mysql.source.readable import require_readable
from whimbrel.connectors.mysql.source.retention import Expiry
from whimbrel.connectors.protocols import ChangeStream, Filled, Rehearsal, Retained, Snapshot, SnapshotReader
from whimbrel.errors import LogFormatRefused, PositionForeign, PositionLost
from whimbrel.model.chunk import Chunk
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.normal import Columns
from whimbrel.model.objects import SchemaObject
from whimbrel.model.position import Position
from whimbrel.model.table import Table


class MySQLSource:
    """See ``protocols.Source``. Short questions share one session, one thread at a time."""

    def __init__(self, endpoint: Endpoint, operation: str) -> None:
        self._endpoint, self._operation = endpoint, operation
        self._lock = threading.Lock()
        self._opened: Session | None = None
        self._expiry: Expiry | None = None

    @contextmanager
    def _session(self) -> Iterator[Session]:
        with self._lock, mapped("source"):
            if self._opened is None or not self._opened.open:
                self._opened = connect(self._endpoint.parameters, self._operation)
                bound_waits(self._opened)
            yield self._opened

    def resolve(self, patterns: Sequence[TableName]) -> tuple[TableName, ...]:
        with self._session() as session:
            return schema.resolve(session, patterns)

    def reflect(self, tables: Sequence[TableName]) -> tuple[Table, ...]:
        with self._session() as session:
            execute(session, "START TRANSACTION READ ONLY")
            try:
                # Having been read in a transaction, no table can be truncated or altered while its definition is read
                # view by view; MariaDB's information_schema leaves out one that just is.
                require_readable(session, tables)
                return schema.reflect(session, tables)
            finally:
                session.rollback()

    def objects(self, tables: Sequence[TableName]) -> tuple[SchemaObject, ...]:
        with self._session() as session:
            return objects(session, tables)

    def plan(self, table: Table, rows_per_file: int, chunk_bytes: int) -> tuple[Chunk, ...]:
        with self._session() as session:
            return chunks.plan(session, table, rows_per_file, chunk_bytes)

    def plan_holds(self, table: Table, chunks: Sequence[Chunk]) -> bool:
        return True  # rows keep their keys

    def open_snapshot(self, job: Job, tables: Sequence[Table], *, capture: bool, lanes: int) -> Snapshot:
        return snapshot.open_snapshot(job, tables, capture=capture, lanes=lanes)

    def open_reader(self, job: Job, token: Any) -> SnapshotReader:
        return snapshot.open_reader(job, token)

    def prepare_changes(self, job: Job, tables: Sequence[Table]) -> Position:
        return log.prepare_changes(self._endpoint.parameters, job.operation, tables)

    def check_capture(self, tables: Sequence[Table]) -> None:
        log.check_capture(self._endpoint.parameters, self._operation, tables)

    def require_unchanged(self, job: Job, tables: Sequence[Table]) -> None:
        """Whatever is done to a table is in the log."""

    def accept_columns(self, job: Job, tables: Sequence[Table]) -> tuple[TableName, ...]:
        """Rows in the log are read by the columns that the tables had when replication began, and by no others."""
        return ()

    def filled(self, job: Job, table: Table, columns: Columns) -> Sequence[Filled]:
        """No columns are accepted that came since."""
        return ()

    def open_changes(self, job: Job, tables: Sequence[Table], start: Position) -> ChangeStream:
        return changes.open_changes(job, tables, start)

    def holds(self, job: Job, position: Position) -> bool:
        """The server keeps its log for everybody; the question is only whether it has been purged."""
        with self._session() as session:
            try:
                position.require_same_server(log.current_position(session))
                changes.require_kept(session, position)
            except (PositionLost, PositionForeign):
                return False
            return True

    def parse_position(self, text: str) -> Position:
        with self._session() as session:
            return log.parse_position(session, text)

    def require_point(self, position: Position) -> None:
        with self._session() as session:
            position.require_same_server(log.no_position(server_identity(session)))
            points.require_point(session, position)

    def current_position(self) -> Position:
        with self._session() as session:
            return log.current_position(session)

    def sent_position(self) -> Position:
        return self.current_position()

    def retained(self, job: Job) -> Retained | None:
        """The server purges its log by its own rules, whoever still reads it."""
        return None

    def expires_in(self, position: Position) -> float | None:
        with self._lock:
            self._expiry = self._expiry or Expiry(self._endpoint.parameters, self._operation)
            return self._expiry.left(position)

    def fetch_rows(self, table: Table, keys: pa.RecordBatch) -> pa.RecordBatch:
        """Never needed: the change stream refuses row images that are not full."""
        raise LogFormatRefused(f"{table.name}: the binary log left values out (binlog_row_image is not FULL)")

    def end_sessions(self, job: Job) -> None:
        log.cleanup(self._endpoint.parameters, job.operation)

    def at_work(self, job: Job) -> int:
        return at_work(self._endpoint.parameters, job.operation, "source")

    def look_at_rows(self, tables: Sequence[Table], *, keys: bool) -> Rehearsal:
        with closing(connect(self._endpoint.parameters, self._operation)) as session, mapped("source"):
            return suspects.look_at_rows(session, tables, keys=keys)

    def cleanup(self, job: Job) -> None:
        """The server keeps its log for everybody, so there is nothing but sessions."""
        self.close()
        log.cleanup(self._endpoint.parameters, job.operation)

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None
