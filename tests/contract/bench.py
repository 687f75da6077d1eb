"""One claimed migration into a target, fed by hand: tables, staged files and segments made in the process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.engines import Side
from tests.staged import staged
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.protocols import Applier, Holder, Ledger, Loader, Target
from whimbrel.connectors.registry import engine
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import ReplicaIdentityMissing
from whimbrel.model.change import INSERT, Segment
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Column, ColumnType, Index, Table

SCHEMA = "contract"
MISSING = object()  # a value that the log left out
WHOLE, TEXT = ColumnType(pa.int64(), "bigint"), ColumnType(pa.string(), "text")
SHORT = ColumnType(pa.string(), "character varying(40)", length=40)
KEYLESS = pytest.mark.differs(
    ("databricks", "spanner"), ReplicaIdentityMissing, "changes may be written twice: those without a key are refused"
)
Value = str | None | object
Row = tuple[Value, ...]


def table(name: str, *, key: Sequence[str] = ("id",), unique: bool = False) -> Table:
    """``id`` whole, ``note`` text, ``n`` whole; ``note`` is unique if told so."""
    columns = (Column("id", WHOLE, nullable=not key), Column("note", SHORT if unique else TEXT), Column("n", WHOLE))
    uniques = (Index(f"{name}_note", ("note",), unique=True, constraint=True),) if unique else ()
    return Table(TableName(SCHEMA, name), columns, tuple(key), indexes=uniques)


def position(number: int) -> Position:
    return Position("postgres", "synthetic", f"0/{number}", (number,))


def noted(builder: SegmentBuilder, of: Table, changes: Sequence[tuple[int, Row]]) -> None:
    """Changes of a table as a log brings them."""
    for op, row in changes:
        buffer = builder.buffer(of.name, tuple(c.name for c in of.columns))
        for column, value in zip(buffer.columns, row, strict=True):
            if value is MISSING:
                column.unchanged()
            elif value is None:
                column.null()
            else:
                column.put(str(value).encode())
        buffer.row(op)


class Bench:
    """``tables`` as the synthetic source has them, ``targets`` as the target holds them; the first is the usual one."""

    def __init__(self, side: Side, tables: Sequence[Table], folder: Path, migration: str) -> None:
        self.side, self.tables, self.folder = side, tuple(tables), folder
        self.engine = engine(side.type)
        here = Endpoint("synthetic", "postgres", {})
        names = tuple(t.name for t in tables)
        self.job = Job(migration, f"{migration}-op", here, side.endpoint("target"), names, folder)
        self.target: Target = self.engine.target(self.job.target, self.job.operation)
        self.schemas = {SCHEMA: side.schema}
        for statement in self.target.render(self.tables, self.schemas, "postgres").tables:
            self.target.execute_script(statement)
        self.targets = self.target.target_tables(self.tables, self.schemas, "postgres")
        self.ledger: Ledger = self.target.ledger(migration)
        self.epoch = self.ledger.claim()
        self.ledger.clear(self.epoch, "op")
        self.refetched: list[list[bytes | None]] = []
        self.at_source: dict[bytes, tuple[bytes | None, ...]] = {}  # by key, for ``refetch``
        self._opened: list[Loader | Applier] = []
        self.loader = self.another_loader()

    @property
    def name(self) -> TableName:
        return self.tables[0].name

    def another_loader(self) -> Loader:
        self._opened.append(loader := self.target.open_loader(self.job))
        return loader

    def applier(self) -> Applier:
        self._opened.append(applier := self.target.open_applier(self.job, self.tables, self.targets))
        return applier

    def holder(self) -> Holder:
        self._opened.append(holder := self.target.open_holder(self.job, self.tables, self.targets))
        return holder

    def rows(self, number: int = 0) -> list[str]:
        """The table's rows as the target's own client tells them, sorted: ``1|a|NULL``."""
        of = self.targets[number]
        return self.side.lines(of.name.table, [c.name for c in of.columns])

    def put(self, *rows: Row) -> None:
        """Rows that stand in the first table before."""
        values = ", ".join("(" + ", ".join("null" if v is None else f"'{v}'" for v in row) + ")" for row in rows)
        self.side.change(f"insert into {self.targets[0].name.table} values {values}")

    def plan(self, chunks: int = 1) -> list[Chunk]:
        made = [Chunk(self.name, n, {"n": n}, 10, 100) for n in range(chunks)]
        self.ledger.save_plan(self.epoch, self.tables[0], made)
        return made

    # --- files --------------------------------------------------------------------------------------------------------

    @property
    def format(self) -> Format:
        """What the target loads and we can write by hand."""
        by_hand = (Format.COPY_TEXT, Format.TAB_TEXT, Format.PARQUET)
        return next(f for f in self.engine.capabilities.loads if f in by_hand)

    def staged(self, *rows: Row, name: str = "rows") -> StagedFile:
        """A file of these rows."""
        path = self.folder / f"{name}.{self.format.value}"
        if self.format is Format.PARQUET:
            columns = {
                c.name: pa.array([row[n] for row in rows], pa.string()).cast(c.type.arrow)
                for n, c in enumerate(self.targets[0].columns)
            }
            pq.write_table(pa.table(columns), path)
        else:
            lines = ("\t".join(r"\N" if v is None else str(v) for v in row) + "\n" for row in rows)
            path.write_text("".join(lines))
        return staged(path, len(rows))

    def load(self, chunk: Chunk, file: StagedFile, *, upsert: bool = False, loader: Loader | None = None) -> int:
        source, target = self.tables[0], self.targets[0]
        with_whom = loader or self.loader
        return with_whom.load(
            self.epoch, source, target, source.loaded_columns, chunk, self.format, file, upsert=upsert
        )

    # --- changes ------------------------------------------------------------------------------------------------------

    def segment(self, *changes: tuple[int, Row], number: int = 0, at: int = 2) -> Segment:
        """One transaction of these changes to one table; ``at`` is the position behind it."""
        of = self.tables[number]
        builder = SegmentBuilder(position(at - 1))
        builder.begin()
        noted(builder, of, changes)
        builder.commit(position(at), 1)
        return builder.cut()

    def apply(self, applier: Applier, *segments: Segment) -> None:
        for segment in segments:
            applier.apply(segment, self.refetch)
            applier.commit(self.epoch, segment.position)

    def refetch(self, name: TableName, keys: pa.RecordBatch) -> pa.RecordBatch:
        asked = keys.column(0).to_pylist()
        self.refetched.append(asked)
        columns = [c.name for c in self.tables[0].columns]
        found = [self.at_source[key] for key in asked if key in self.at_source]
        values = [pa.array([row[n] for row in found], pa.binary()) for n in range(len(columns))]
        return pa.RecordBatch.from_arrays(values, names=columns)

    def apply_one(self, line: str) -> None:
        """Put a row, given as ``rows`` tells it, and see it there."""
        self.apply(self.applier(), self.segment((INSERT, tuple(line.split("|")))))
        assert self.rows() == [line]

    def drop_tables(self) -> None:
        self.target.reset([t.name for t in self.targets], "drop")

    def close(self) -> None:
        for one in self._opened:
            one.close()
        self.ledger.close()
        self.target.close()
