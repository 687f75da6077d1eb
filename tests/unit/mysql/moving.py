"""Moves changes and rows between two databases of one server, and reads both with the server's own client."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from tests.servers.mysql import MySQL
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.codecs.text import Render, rows_text
from whimbrel.connectors.mysql.connection import connect
from whimbrel.connectors.mysql.source import changes, log, schema
from whimbrel.connectors.mysql.target.apply import MySQLApplier
from whimbrel.connectors.mysql.target.writing import MySQLTarget
from whimbrel.model.change import Segment, TableChanges
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Column, Table

SOURCE, TARGET = "move_src", "move_dst"


def make(server: MySQL, ddl: str) -> None:
    """Create both databases with the same tables."""
    for name in (SOURCE, TARGET):
        server.create_database(name)
        server.client(ddl, name)


def reflected(job: Job, database: str, *tables: str) -> tuple[Table, ...]:
    with closing(connect(job.source.parameters, "reflect")) as session:
        wanted = [TableName(database, t) for t in tables] or [TableName(database, "*")]
        return schema.reflect(session, schema.resolve(session, wanted))


def now(job: Job) -> Position:
    with closing(connect(job.source.parameters, "now")) as session:
        return log.current_position(session, gtids=True)


def captured(job: Job, tables: Sequence[Table], start: Position, limit: int = 1 << 30) -> list[Segment]:
    """All changes from ``start`` to now, cut whenever the stream returns."""
    end = now(job)
    builder = SegmentBuilder(start)
    found = []
    with closing(changes.open_changes(job, tables, start)) as stream:
        while builder.position.order < end.order or builder.in_transaction:
            if not stream.read(builder, 10.0, limit):
                raise TimeoutError(f"nothing came between {builder.position.text} and {end.text}")
            if limit < 1 << 30 and not builder.empty:
                found.append(builder.cut())
    return [*found, builder.cut()]


def nothing(_: TableName, keys: pa.RecordBatch) -> pa.RecordBatch:
    raise AssertionError("nothing was to be fetched")


class Applying:
    """Applies segments to the second database and commits."""

    def __init__(self, job: Job, target: MySQLTarget, tables: Sequence[Table]) -> None:
        self.ledger = target.ledger(job.migration)
        self.epoch = self.ledger.claim()
        targets = reflected(job, TARGET, *(t.name.table for t in tables))
        self.applier = MySQLApplier(job.target.parameters, job, tables, targets)

    def __call__(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            self.applier.apply(segment, nothing)
            if segment.ends_transaction:
                self.applier.commit(self.epoch, segment.position)

    def close(self) -> None:
        self.applier.close()
        self.ledger.close()


def contents(server: MySQL, database: str, table: str, columns: str = "*") -> list[str]:
    """Every row as the client shows it, sorted."""
    return sorted(server.client(f"SELECT {columns} FROM `{table}`", database).split("\n"))


def render(column: Column) -> Render:
    if pa.types.is_binary(column.type.arrow):
        return Render.HEX
    if pa.types.is_timestamp(column.type.arrow) and column.type.arrow.tz:
        return Render.UTC
    return Render.TEXT


def tab_text(table: Table, run: TableChanges) -> list[bytes]:
    """Change images as lines of tab text, to compare with the snapshot's."""
    return rows_text(run.data, [render(c) for c in table.loaded_columns]).splitlines()


def runs_of(segments: list[Segment], table: str = "t") -> list[TableChanges]:
    steps = [step for segment in segments for step in segment.steps]
    return [s for s in steps if isinstance(s, TableChanges) and s.table.table == table]


def rows_of(segments: list[Segment], table: str = "t") -> list[tuple[Any, ...]]:
    """(operation, values...) of every change."""
    return [
        (op, *(None if v is None else v.decode() for v in row.values()))
        for run in runs_of(segments, table)
        for op, row in zip(run.ops.to_pylist(), run.data.to_pylist(), strict=True)
    ]
