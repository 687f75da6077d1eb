"""Two databases on one server, and the steps of a migration between them, without the pipeline."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pyarrow as pa

from tests.servers.postgres import Postgres
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.postgres.connection import connect, identifiers, qualified
from whimbrel.connectors.postgres.refetch import fetch_rows
from whimbrel.connectors.postgres.source import changes, slots, snapshot
from whimbrel.connectors.postgres.source.schema import reflect
from whimbrel.connectors.postgres.target.apply import PostgresApplier, open_applier
from whimbrel.connectors.postgres.target.ledger import open_ledger
from whimbrel.connectors.postgres.wire import Connection
from whimbrel.model.change import Segment
from whimbrel.model.chunk import Format
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table

_numbers = itertools.count(1)
SLICE = 1 << 20


class Rig:
    """``source`` and ``target`` are names of fresh databases; both get the same ``ddl``."""

    def __init__(self, server: Postgres, ddl: str, *names: str) -> None:
        number = next(_numbers)
        self.server = server
        self.source, self.target = f"source{number}", f"target{number}"
        for database in (self.source, self.target):
            server.create_database(database)
            server.psql(ddl, database)
        self.names = tuple(TableName.parse(n if "." in n else f"public.{n}") for n in names)
        self.endpoint = Endpoint("s", "postgres", server.parameters(self.source))
        self.target_endpoint = Endpoint("t", "postgres", server.parameters(self.target))
        self.job = Job(
            f"rig{number}", f"operation{number}", self.endpoint, self.target_endpoint, self.names, Path("unused")
        )
        self._stack = ExitStack()
        self.epoch = 0
        self.refetched: list[list[dict[str, bytes | None]]] = []

    def __enter__(self) -> Rig:
        self.connection = self._closing(connect(self.endpoint.parameters, "rig"))
        self.target_connection = self._closing(connect(self.target_endpoint.parameters, "rig"))
        self.tables = reflect(self.connection, self.names)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        slots.cleanup(self.endpoint, self.job)

    def _closing(self, connection: Connection) -> Connection:
        return self._stack.enter_context(closing(connection))

    def sql(self, sql: str) -> str:
        """Run on the source with psql."""
        return self.server.psql(sql, self.source)

    def target_sql(self, sql: str) -> str:
        return self.server.psql(sql, self.target)

    def rows(self, database: str, name: TableName) -> list[str]:
        """A table's rows as psql prints them, sorted."""
        return self.server.psql(f"select t::text from {qualified(name)} t order by 1", database).splitlines()

    def assert_equal(self) -> None:
        for name in self.names:
            assert self.rows(self.target, name) == self.rows(self.source, name), name

    # --- the steps ---------------------------------------------------------------------------------------------------

    def open_snapshot(self, *, capture: bool = True) -> snapshot.PostgresSnapshot:
        return snapshot.open_snapshot(self.endpoint, self.job, self.tables, capture=capture, lanes=1)

    def load(self, opened: snapshot.PostgresSnapshot, format: Format = Format.COPY_BINARY) -> None:
        """Copy every table in the snapshot into the target."""
        form = "binary" if format is Format.COPY_BINARY else "text"
        with closing(snapshot.open_reader(self.endpoint, self.job, opened.token)) as reader:
            for table in self.tables:
                columns = identifiers(c.name for c in table.loaded_columns)
                for chunk in snapshot.plan(self.connection, table, 1000, 1 << 20):
                    content = bytearray()
                    reader.extract(table, table.loaded_columns, chunk, format, content.extend)
                    statement = f"copy {qualified(table.name)} ({columns}) from stdin (format {form})"
                    with self.target_connection.cursor().copy(statement.encode()) as copy:
                        copy.write(bytes(content))

    def start(self) -> Position:
        """Snapshot, load, and where changes begin."""
        with closing(self.open_snapshot()) as opened:
            self.load(opened)
            return opened.position

    def open_changes(self, start: Position, tables: Sequence[Table] | None = None) -> changes.PostgresChanges:
        return changes.open_changes(self.endpoint, self.job, tables or self.tables, start)

    def capture(self, start: Position, *, slice_bytes: int = SLICE) -> list[Segment]:
        """Everything from ``start`` to the end of the log, as the pipeline would cut it."""
        end = slots.current_position(self.connection)
        slots.flush_log(self.connection)  # or the server may keep its last records to itself for seconds
        builder = SegmentBuilder(start)
        segments = []
        deadline = time.monotonic() + 30
        with closing(self.open_changes(start)) as stream:
            while builder.position.order < end.order or builder.in_transaction:
                assert time.monotonic() < deadline, f"at {builder.position.text}, wanted {end.text}"
                stream.read(builder, 0.2, slice_bytes)
                if builder.in_transaction and builder.bytes >= slice_bytes:
                    segments.append(builder.cut())
        segments.append(builder.cut())
        return segments

    def applier(self) -> PostgresApplier:
        """A new owner of the migration's progress, and its applier."""
        with closing(open_ledger(connect(self.target_endpoint.parameters, "rig"), "rig", self.job.migration)) as kept:
            self.epoch = kept.claim()
        applier = open_applier(self.target_endpoint, self.job, self.tables, self.tables)
        self._stack.callback(applier.close)
        return applier

    def apply(self, applier: PostgresApplier, segments: Sequence[Segment]) -> None:
        for segment in segments:
            applier.apply(segment, self.refetch)
            if segment.ends_transaction:
                applier.commit(self.epoch, segment.position)

    def refetch(self, table: TableName, keys: pa.RecordBatch) -> pa.RecordBatch:
        self.refetched.append(keys.to_pylist())
        return fetch_rows(self.connection, next(t for t in self.tables if t.name == table), keys)

    def follow(self, start: Position, **options: int) -> list[Segment]:
        """Capture and apply everything since ``start``; source and target must then be equal."""
        segments = self.capture(start, **options)
        self.apply(self.applier(), segments)
        self.assert_equal()
        return segments


def backends(server: Postgres, operation: str) -> int:
    """How many sessions an operation has, on both sides."""
    ours = f"application_name in ('whimbrel:{operation}', 'whimbrel:{operation}:target')"
    return int(server.psql(f"select count(*) from pg_stat_activity where {ours}"))


def session(server: Postgres, database: str) -> psycopg.Connection[tuple[object, ...]]:
    """A plain session, for what needs a transaction to stay open."""
    return psycopg.connect(server.dsn(database))


def read_on(stream: changes.PostgresChanges, sink: SegmentBuilder) -> None:
    """Read for some seconds, for an error to come."""
    for _ in range(50):
        stream.read(sink, 0.1, SLICE)
