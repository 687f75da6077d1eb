"""Loads staged files: their rows by commits of bounded size, and the record of the chunk with the last of them.

A chunk that fits into one commit comes whole or not at all. Of a larger one the first commit notes that it has begun;
whoever loads it again puts each of its rows in the place of the one with its key. A table without a key gets one of the
chunk's number and the row's, so that this holds for it too, as long as the rows come in the same order: a snapshot that
is gone makes the pipeline empty such a table and load it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from whimbrel.connectors.spanner.connection import SpannerSession, Transaction
from whimbrel.connectors.spanner.dialect import ROW, SpannerDialect
from whimbrel.connectors.spanner.ledger import FOREIGN_KEY, SpannerLedger
from whimbrel.connectors.spanner.mutations import (
    LOAD_COMMIT,
    Limits,
    Part,
    Shape,
    delete_all,
    delete_before,
    halves,
    parts,
    put,
)
from whimbrel.connectors.spanner.reflection import referring
from whimbrel.connectors.staged import StagedFile
from whimbrel.errors import InternalError, LoaderFailed, SchemaMismatch, ValueRefused, WhimbrelError
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table

_BLOCK: Final = 1 << 20
_AT_ONCE: Final = 16_384  # rows that are encoded in one go
ShapeOf = Callable[[SpannerSession, TableName], Shape]


class SpannerLoader:
    """See ``protocols.Loader``. One session, for one thread."""

    def __init__(self, session: SpannerSession, dialect: SpannerDialect, migration: str, shape_of: ShapeOf) -> None:
        self._session, self._dialect, self._shape_of = session, dialect, shape_of
        self._ledger = SpannerLedger(session, dialect, migration)
        self._shapes: dict[TableName, Shape] = {}
        self._limits = Limits(bytes=LOAD_COMMIT)

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
        if format is not Format.PARQUET:
            raise InternalError(f"{self._dialect.title} does not load {format.value}")
        recorded, begun = self._ledger.standing_of(chunk)
        if recorded is not None:
            return recorded
        for _ in file.blocks(_BLOCK, str(target.name)):
            pass  # whole, and what was written
        rows = int(pq.read_metadata(file.path).num_rows)
        file.require_all(rows, str(target.name))  # of a large chunk the first commit cannot be undone
        shape = self._shape(source, target)
        kind = "insert_or_update" if begun or upsert else "insert"
        note = True
        held: Part = ()
        for part in self._parts(shape, target, chunk, file):
            if held:
                kind = self._write(epoch, chunk, held, kind, note=note)
                note = False
            held = part
        self._write(epoch, chunk, held, kind, note=note, rows=rows)
        return rows

    def _parts(self, shape: Shape, target: Table, chunk: Chunk, file: StagedFile) -> Iterator[Part]:
        """The file's rows in commits that are as large as they may be, whatever they are read by."""
        kept: Part = ()
        names = [c.name for c in target.loaded_columns]
        done = 0
        with pq.ParquetFile(file.path) as opened:
            for batch in opened.iter_batches(_AT_ONCE, columns=names):
                batch = batch.select(names)
                if shape.key == (ROW,):
                    batch = batch.append_column(ROW, made_keys(chunk.number, done, batch.num_rows))
                done += batch.num_rows
                for part in parts([put(shape, batch)], self._limits):
                    if kept and not self._fits(kept, part):
                        yield kept
                        kept = ()
                    kept = (*kept, *part)
        if kept:
            yield kept

    def _fits(self, part: Part, more: Part) -> bool:
        pieces = (*part, *more)
        mutations = sum(p.rows * p.write.cost for p in pieces)
        size = sum(int(p.write.rows.ends[p.last] - p.write.rows.ends[p.first]) for p in pieces)
        return mutations <= self._limits.mutations and size <= self._limits.bytes

    def _write(self, epoch: int, chunk: Chunk, part: Part, kind: str, *, note: bool, rows: int | None = None) -> str:
        """One commit of a chunk's: the last one has its ``rows``, and the first of several must ``note`` that it has
        begun. Returns by which kind of mutation the next ones come."""
        statement = [self._ledger.loaded(chunk, rows)] if rows is not None or note else []

        def work(transaction: Transaction) -> Iterable[bytes]:
            self._ledger.require_epoch(transaction, epoch)
            transaction.run(statement)
            return [piece.message(kind) for piece in part]

        try:
            self._session.transact(work)
        except WhimbrelError as e:
            if e.details.get("too_large"):
                several, self._limits = halves(part, self._limits)
                *before, last = several
                for one in before:
                    kind = self._write(epoch, chunk, one, kind, note=note)
                    note = False
                return self._write(epoch, chunk, last, kind, note=note, rows=rows)
            if kind == "insert" and e.details.get("exists") and e.details.get("unsure"):
                # its answer was lost, and it has come through
                return self._write(epoch, chunk, part, "insert_or_update", note=note, rows=rows)
            if e.details.get("exists"):
                raise ValueRefused(e.message, remedy=e.how_to_fix, table=str(chunk.table)) from None
            raise
        return kind

    def _shape(self, source: Table, target: Table) -> Shape:
        if target.name not in self._shapes:
            self._shapes[target.name] = required_shape(self._session, self._shape_of, source, target)
        return self._shapes[target.name]

    def truncate(self, epoch: int, source: TableName, target: TableName) -> None:
        """Foreign keys of the migration's other tables are set aside where they stand in the way, as before a load."""
        try:
            self._empty(epoch, source, target)
        except WhimbrelError as e:
            if not e.details.get("constraint") or not self._set_aside(target):
                raise
            self._empty(epoch, source, target)

    def _set_aside(self, target: TableName) -> bool:
        keys = referring(self._session, [target])
        if not keys or not keys.keys() <= self._ledger.owned():
            return False
        for name, found in keys.items():
            definitions = {k.name: self._dialect.add_foreign_key(Table(name, ()), k) for k in found}
            self._ledger.drop_noted(name, FOREIGN_KEY, definitions)
            table = self._dialect.qualified(name)
            self._session.define([f"ALTER TABLE {table} DROP CONSTRAINT `{key}`" for key in definitions])
        return True

    def _empty(self, epoch: int, source: TableName, target: TableName) -> None:
        """All but the last rows go by commits of their own, so that none becomes too large."""
        shape = self._shape_of(self._session, target)
        remove_rows(self._session, shape, target, self._dialect, lambda t: self._ledger.require_epoch(t, epoch))
        with self._session.transaction():
            self._session.add(delete_all(shape.name))
            self._ledger.forget_loaded(source)
            self._ledger.fence(epoch)

    def close(self) -> None:
        self._session.close()


def required_shape(session: SpannerSession, shape_of: ShapeOf, source: Table, target: Table) -> Shape:
    """The table as it is there. Raises SchemaMismatch unless its key is the source's: rows are put by their key, so
    that any other would make one row of two."""
    shape = shape_of(session, target.name)
    names = dict(zip((c.name for c in source.columns), (c.name for c in target.columns), strict=True))
    wanted = {names[name] for name in source.key} or {ROW}
    if set(shape.key) != wanted:
        raise SchemaMismatch(
            f"{target.name}: its primary key is ({', '.join(shape.key)}), and not that of the source's rows, "
            f"({', '.join(sorted(wanted))})",
            remedy="Drop the table on the target and run schema/apply, or rename it.",
            tables=[str(target.name)],
        )
    return shape


def remove_rows(
    session: SpannerSession,
    shape: Shape,
    table: TableName,
    dialect: SpannerDialect,
    fence: Callable[[Transaction], object],
) -> None:
    """Rows by their thousands until few are left, each under the fence."""
    keys = dialect.identifiers(shape.key)
    found = [True]

    def work(transaction: Transaction) -> Iterable[bytes]:
        fence(transaction)
        sql = f"SELECT {keys} FROM {dialect.qualified(table)} ORDER BY {keys} LIMIT 1 OFFSET {shape.gone_at_once}"  # noqa: S608
        rows = transaction.values(sql)
        found[0] = bool(rows)
        return [delete_before(shape.name, rows[0])] if rows else []

    while found[0]:
        session.transact(work)


_GAMMA, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def made_keys(chunk: int, first: int, rows: int) -> pa.Array:
    """For each row of a chunk a key of its own, the same whenever it is made, and far from the one before it: rows that
    lie side by side in a table's order would all be one server's work."""
    if first + rows >= 1 << 40 or chunk >= 1 << 24:
        raise LoaderFailed("a table without a key has too many rows for keys to be made of their numbers")
    with np.errstate(over="ignore"):
        mixed = (np.arange(first, first + rows, dtype=np.uint64) | np.uint64(chunk << 40)) * _GAMMA
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
        mixed ^= mixed >> np.uint64(31)
    text = mixed.astype(">u8").tobytes().hex().encode()
    offsets = np.arange(rows + 1, dtype=np.int32) * 16
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text))
