"""The reading side of an Oracle database."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any

import pyarrow as pa

from whimbrel.connectors.oracle.connection import connect, mapped, query
from whimbrel.connectors.oracle.source import catalogue, objects, snapshot
from whimbrel.connectors.protocols import ChangeStream, Filled, Rehearsal, Retained, Snapshot, SnapshotReader
from whimbrel.connectors.verdicts import unfollowed
from whimbrel.errors import ExtractorFailed, InvalidRequest, WhimbrelError
from whimbrel.model.chunk import Chunk
from whimbrel.model.job import Endpoint, Job, session_name
from whimbrel.model.names import TableName
from whimbrel.model.normal import Columns
from whimbrel.model.objects import SchemaObject
from whimbrel.model.position import Position
from whimbrel.model.table import Table

_SESSIONS = "SELECT SID, SERIAL#, STATUS FROM V$SESSION WHERE CLIENT_IDENTIFIER = :name"
_OWN = "SELECT SYS_CONTEXT('USERENV', 'SID') AS SID FROM DUAL"


class OracleSource:
    """See protocols.Source. Short questions share one connection, one thread at a time. Its changes are not read."""

    def __init__(self, endpoint: Endpoint, operation: str) -> None:
        self._endpoint = endpoint
        self._name = session_name(operation, "source")
        self._lock = threading.Lock()
        self._connection: Any = None

    @contextmanager
    def _session(self) -> Iterator[Any]:
        with self._lock:
            if self._connection is None or not self._connection.is_healthy():
                self._connection = connect(self._endpoint.parameters, self._name, bounded=True)
            yield self._connection

    def resolve(self, patterns: Sequence[TableName]) -> tuple[TableName, ...]:
        with self._session() as connection:
            return catalogue.resolve(connection, patterns)

    def reflect(self, tables: Sequence[TableName]) -> tuple[Table, ...]:
        with self._session() as connection:
            return catalogue.reflect(connection, tables)

    def objects(self, tables: Sequence[TableName]) -> tuple[SchemaObject, ...]:
        with self._session() as connection:
            return objects.objects(connection, tables)

    def plan(self, table: Table, rows_per_file: int, chunk_bytes: int) -> tuple[Chunk, ...]:
        with self._session() as connection:
            return snapshot.plan(connection, table, rows_per_file, chunk_bytes)

    def plan_holds(self, table: Table, chunks: Sequence[Chunk]) -> bool:
        with self._session() as connection:
            return snapshot.plan_holds(connection, table, chunks)

    def open_snapshot(self, job: Job, tables: Sequence[Table], *, capture: bool, lanes: int) -> Snapshot:
        if capture:
            raise unfollowed(self._endpoint.type)
        with self._session() as connection:
            return snapshot.OracleSnapshot(snapshot.position(connection))

    def open_reader(self, job: Job, token: Any) -> SnapshotReader:
        return snapshot.OracleReader(self._endpoint.parameters, self._name, token)

    def current_position(self) -> Position:
        with self._session() as connection:
            return snapshot.position(connection)

    def sent_position(self) -> Position:
        return self.current_position()

    # --- changes, which are not read yet ------------------------------------------------------------------------------

    def prepare_changes(self, job: Job, tables: Sequence[Table]) -> Position:
        raise unfollowed(self._endpoint.type)

    def check_capture(self, tables: Sequence[Table]) -> None:
        raise unfollowed(self._endpoint.type)

    def require_unchanged(self, job: Job, tables: Sequence[Table]) -> None:
        raise unfollowed(self._endpoint.type)

    def accept_columns(self, job: Job, tables: Sequence[Table]) -> tuple[TableName, ...]:
        raise unfollowed(self._endpoint.type)

    def filled(self, job: Job, table: Table, columns: Columns) -> Sequence[Filled]:
        raise unfollowed(self._endpoint.type)

    def open_changes(self, job: Job, tables: Sequence[Table], start: Position) -> ChangeStream:
        raise unfollowed(self._endpoint.type)

    def holds(self, job: Job, position: Position) -> bool:
        return False

    def parse_position(self, text: str) -> Position:
        raise InvalidRequest("position: changes of Oracle are not followed yet: move data only", field="position")

    def require_point(self, position: Position) -> None:
        raise unfollowed(self._endpoint.type)

    def retained(self, job: Job) -> Retained | None:
        return None

    def expires_in(self, position: Position) -> float | None:
        return None

    def fetch_rows(self, table: Table, keys: pa.RecordBatch) -> pa.RecordBatch:
        raise unfollowed(self._endpoint.type)

    # --- sessions -----------------------------------------------------------------------------------------------------

    def end_sessions(self, job: Job) -> None:
        """By ALTER SYSTEM, where the user may. Else they end with their processes: sessions that read hold nothing."""
        with self._session() as connection, suppress(ExtractorFailed):
            own = str(query(connection, _OWN)[0]["SID"])
            for row in query(connection, _SESSIONS, {"name": self._name}):
                if str(row["SID"]) != own:
                    with mapped(), closing(connection.cursor()) as cursor:
                        cursor.execute(f"ALTER SYSTEM KILL SESSION '{int(row['SID'])},{int(row['SERIAL#'])}' IMMEDIATE")

    def at_work(self, job: Job) -> int:
        """One where the user may not look: then nobody can tell that none is."""
        with closing(connect(self._endpoint.parameters, "sessions", bounded=True)) as connection:
            try:
                found = query(connection, _SESSIONS, {"name": session_name(job.operation, "source")})
            except WhimbrelError:
                return 1
        return sum(row["STATUS"] == "ACTIVE" for row in found)

    def look_at_rows(self, tables: Sequence[Table], *, keys: bool) -> Rehearsal:
        """Oracle compares byte by byte (NLS_COMP = BINARY), and validates its foreign keys: nothing to suspect."""
        return Rehearsal()

    def cleanup(self, job: Job) -> None:
        self.end_sessions(job)

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                with suppress(Exception):
                    self._connection.close()
                self._connection = None
