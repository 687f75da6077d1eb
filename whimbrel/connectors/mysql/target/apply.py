"""Applies segments of changes to the target, with the position in the same transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pymysql

from whimbrel.codecs.compaction import Compacted, compact, net
from whimbrel.codecs.text import Render, rows_text
from whimbrel.connectors.mysql.connection import Session, connect, execute, mapped, query
from whimbrel.connectors.mysql.locks import lock_holders_named
from whimbrel.connectors.mysql.target import merge
from whimbrel.connectors.mysql.target.finish import require_no_triggers
from whimbrel.connectors.mysql.target.infile import BLOCK_BYTES, Loaded
from whimbrel.connectors.mysql.target.ledger import ledger_on
from whimbrel.connectors.mysql.target.ledger_layout import DATABASE, ensure_tables
from whimbrel.connectors.mysql.target.loading import Loading, load_refusal, load_rows
from whimbrel.connectors.mysql.target.merge import Pair
from whimbrel.connectors.mysql.target.putting import put_rows
from whimbrel.connectors.mysql.target.unique_keys import UNKNOWN, read_keys
from whimbrel.connectors.protocols import Refetch
from whimbrel.errors import LayoutChanged, TableMissing, ValueRefused
from whimbrel.model.change import Segment, TableChanges, Truncate
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Annotation, Column, Table

CREATE = {
    "upserts": merge.create_upserts,
    "deletes": merge.create_deletes,
    "images": merge.create_images,
    "totals": merge.create_totals,
}
_PLAIN = frozenset({Annotation.DURATION, Annotation.UUID, Annotation.BIT, Annotation.NUMERIC})  # nothing to escape


def staging_kinds(pair: Pair) -> tuple[str, ...]:
    """Which staging tables changes of the table go through."""
    return ("upserts", "deletes") if pair.key else ("images", "totals")


class MySQLApplier:
    """See ``protocols.Applier``. One session, for one thread. An error rolls the transaction back."""

    def __init__(
        self, parameters: Mapping[str, Any], job: Job, source: Sequence[Table], target: Sequence[Table]
    ) -> None:
        tables = zip(source, target, strict=True)
        self._pairs = {s.name: Pair(n, s, t, UNKNOWN) for n, (s, t) in enumerate(tables)}
        self._open = False
        self._made: set[tuple[int, str]] = set()  # staging tables of this session
        self._filled: set[tuple[int, str]] = set()  # those that may hold rows
        self._session: Session = connect(parameters, job.operation, role="target", local_infile=True)
        try:
            with mapped("target"):
                ensure_tables(self._session)
                require_no_triggers(self._session, target)
                # what a source has checked is not checked again; a batch is not in the order of its foreign keys
                execute(self._session, "SET SESSION foreign_key_checks = 0")
                self._session.select_db(DATABASE)  # DELETE with an alias wants some default database
        except BaseException:
            self._session.close()
            raise
        self._ledger = ledger_on(self._session, job.migration)

    def apply(self, segment: Segment, refetch: Refetch) -> None:
        with lock_holders_named(self._session):
            try:
                self._prepare(segment)
                for step in segment.steps:
                    if isinstance(step, Truncate):
                        self._truncate(step.tables)
                    else:
                        self._apply(step, refetch)
            except BaseException:
                self.rollback()
                raise

    def commit(self, epoch: int, position: Position) -> None:
        try:
            with mapped("target", "whimbrel.progress"):
                self._begin()
                self._ledger.store_position(epoch, position)
                execute(self._session, "COMMIT")
        except BaseException:
            self.rollback()
            raise
        self._open = False

    def rollback(self) -> None:
        if self._open and self._session.open:
            try:
                execute(self._session, "ROLLBACK")
            except pymysql.MySQLError:
                self._session.close()  # the server rolls back what a lost session leaves
        self._open = False

    def hold(self) -> None:
        try:
            with mapped("target", "whimbrel.progress"):
                execute(self._session, "SET SESSION innodb_lock_wait_timeout = 1")
                self._begin()
                self._ledger.lock()
        except BaseException:
            self.rollback()
            raise

    def release(self) -> None:
        try:
            with mapped("target"):
                execute(self._session, "COMMIT")
        except BaseException:
            self.rollback()
            raise
        self._open = False

    def close(self) -> None:
        self._session.close()

    # --- transaction and staging ----------------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self._open:
            execute(self._session, "START TRANSACTION")
            self._open = True

    def _prepare(self, segment: Segment) -> None:
        """Make or empty the staging tables of a segment before its transaction begins, if it is not open yet."""
        if self._open:
            return
        for step in segment.steps:
            if isinstance(step, TableChanges):
                pair = self._pair(step.table)
                with mapped("target", str(pair.target.name)):
                    self._stage(pair)

    def _stage(self, pair: Pair) -> None:
        """Make the table's staging tables, or empty those that hold rows. Only temporary tables; nothing commits but
        TRUNCATE, which is for the time between transactions."""
        empty = "DELETE FROM" if self._open else "TRUNCATE TABLE"
        for kind in staging_kinds(pair):
            name = (pair.number, kind)
            if name not in self._made:
                execute(self._session, CREATE[kind](pair))
                self._made.add(name)
            elif name in self._filled:
                execute(self._session, f"{empty} {pair.staging(kind)}")
            self._filled.discard(name)

    def _load(self, loading: Loading, text: bytes, rows: int, pair: Pair) -> None:
        if rows == 0:
            return
        table = str(pair.target.name)
        count = load_rows(self._session, loading, lambda: _blocks(text), rows, table)
        if count != rows:
            raise load_refusal(self._session, Loaded(count, 0, 0, 0), rows, table)

    def _truncate(self, tables: Sequence[TableName]) -> None:
        """TRUNCATE would commit what came before it."""
        for name in tables:
            pair = self._pair(name)
            with mapped("target", str(pair.target.name)):
                self._begin()
                execute(self._session, f"DELETE FROM {pair.table}")  # noqa: S608 - quoted

    def _pair(self, table: TableName) -> Pair:
        if table not in self._pairs:
            raise TableMissing(f"{table}: changes came for a table that is not part of the migration")
        pair = self._pairs[table]
        if pair.keys is UNKNOWN:  # asked once a session, of tables that change
            with mapped("target", str(pair.target.name)):
                pair = replace(pair, keys=read_keys(self._session, pair.source, pair.target.name))
            self._pairs[table] = pair
        return pair

    # --- one table ------------------------------------------------------------------------------------------------

    def _apply(self, changes: TableChanges, refetch: Refetch) -> None:
        pair = self._pair(changes.table)
        changes = _in_order(pair, changes)
        with mapped("target", str(pair.target.name)):
            if pair.key:
                self._apply_keyed(pair, compact(changes, pair.key), refetch)
            else:
                self._apply_images(pair, changes)

    def _apply_keyed(self, pair: Pair, compacted: Compacted, refetch: Refetch) -> None:
        filling = compacted.origins is not None
        self._stage(pair)
        self._begin()
        self._filled |= {(pair.number, "upserts"), (pair.number, "deletes")}
        upserts, deletes = compacted.upserts, compacted.deletes
        rows = int(upserts.num_rows)
        if filling:
            rows = self._fill(pair, compacted, refetch)
        else:
            whole = merge.load_upserts(pair)
            self._load(whole, _text(upserts, pair.columns), upserts.num_rows, pair)
        if deletes.num_rows:
            keys = merge.load_into(pair, pair.staging("deletes"), pair.keyed_columns)
            self._load(keys, _text(deletes, pair.keyed_columns), deletes.num_rows, pair)
            execute(self._session, merge.delete(pair))
        if rows:
            put_rows(self._session, pair, rows)

    def _fill(self, pair: Pair, compacted: Compacted, refetch: Refetch) -> int:
        """Complete rows of which the source left values out: from the target's row, or from the source as it is now.
        Returns how many there are to put.

        A row that neither has was removed later: the change that removes it follows in the log.
        """
        upserts, origins = compacted.upserts, compacted.origins
        assert origins is not None
        numbers = pa.array(np.arange(1, upserts.num_rows + 1)).cast(pa.string()).cast(pa.binary())
        mask = _mask(pair, compacted.unchanged, upserts.num_rows)
        columns = [*upserts.columns, numbers, mask, *origins.columns]
        batch = pa.RecordBatch.from_arrays(columns, names=[str(n) for n in range(len(columns))])
        renders = [*_renders(pair.columns), Render.RAW, Render.RAW, *_renders(pair.keyed_columns)]
        self._load(merge.load_filling(pair), rows_text(batch, renders), upserts.num_rows, pair)
        execute(self._session, merge.fill(pair, list(compacted.unchanged)))
        whole = ~np.asarray(_any(compacted.unchanged))
        missing = [int(row[0]) - 1 for row in query(self._session, merge.not_found(pair))]
        missing = [row for row in missing if not whole[row]]
        if not missing:
            return int(upserts.num_rows)
        execute(self._session, merge.drop_rows(pair, [row + 1 for row in missing]))
        keys = upserts.select(list(pair.key)).take(pa.array(missing))
        found = refetch(pair.source.name, keys).select(list(pair.names))
        self._load(merge.load_upserts(pair), _text(found, pair.columns), found.num_rows, pair)
        return int(upserts.num_rows - len(missing) + found.num_rows)

    def _apply_images(self, pair: Pair, changes: TableChanges) -> None:
        result = net(changes)
        inserts, deletes = result.inserts, result.deletes
        self._stage(pair)
        self._begin()
        self._filled |= {(pair.number, "images"), (pair.number, "totals")}
        if deletes.num_rows:
            self._delete_images(pair, deletes)
        whole = merge.load_into(pair, pair.table, pair.columns)
        self._load(whole, _text(inserts, pair.columns), inserts.num_rows, pair)

    def _delete_images(self, pair: Pair, deletes: pa.RecordBatch) -> None:
        counts = deletes.column("#count").cast(pa.string()).cast(pa.binary())
        rows = deletes.select(list(pair.names)).append_column("#count", counts)
        text = rows_text(rows, [*_renders(pair.columns), Render.RAW])
        images = merge.load_into(pair, pair.staging("images"), pair.columns, [merge.COUNT])
        self._load(images, text, rows.num_rows, pair)
        for sql in (merge.hash_images, merge.count_images, merge.note_totals, merge.delete_images):
            execute(self._session, sql(pair))
        self._require_found(pair)
        for row, count in query(self._session, merge.partly_deleted(pair)):
            execute(self._session, merge.recall(pair, int(row)))
            execute(self._session, merge.delete_recalled(pair, int(count)))

    def _require_found(self, pair: Pair) -> None:
        wanted, found = (int(n) for n in query(self._session, merge.found(pair))[0])
        if found < wanted:
            raise ValueRefused(
                f"{pair.target.name}: of {wanted} rows that the source changed or deleted, {found} are there as the "
                "source had them",
                remedy="Something else has written to the target table: load it again.",
                table=str(pair.target.name),
            )


def _in_order(pair: Pair, changes: TableChanges) -> TableChanges:
    """The columns that are written, in the target's order. Raises LayoutChanged when one is missing."""
    missing = [name for name in pair.names if name not in changes.data.schema.names]
    if missing:
        raise LayoutChanged(f"{changes.table}: changes came without {', '.join(missing)}", table=str(changes.table))
    unchanged = {name: mask for name, mask in changes.unchanged.items() if name in pair.names}
    return TableChanges(changes.table, changes.ops, changes.data.select(list(pair.names)), unchanged)


def _any(masks: Mapping[str, pa.BooleanArray]) -> pa.BooleanArray:
    arrays = list(masks.values())
    found = arrays[0]
    for array in arrays[1:]:
        found = pc.or_(found, array)
    return found


def _mask(pair: Pair, unchanged: Mapping[str, pa.BooleanArray], rows: int) -> pa.BinaryArray:
    """For each row a digit per column: 1 where the target is to fill it."""
    digits = [
        pc.if_else(unchanged[name], pa.scalar(b"1", pa.binary()), pa.scalar(b"0", pa.binary()))
        if name in unchanged
        else pa.array([b"0"] * 1, pa.binary()).take(pa.array(np.zeros(rows, dtype=np.int64)))
        for name in pair.names
    ]
    return pc.binary_join_element_wise(*digits, pa.scalar(b"", pa.binary()))


def _text(batch: pa.RecordBatch, columns: Sequence[Column]) -> bytes:
    return rows_text(batch, _renders(columns))


def _renders(columns: Sequence[Column]) -> list[Render]:
    return [_render(c) for c in columns]


def _render(column: Column) -> Render:
    """How canonical text becomes tab text (docs/formats.md)."""
    arrow, annotation = column.type.arrow, column.type.annotation
    if annotation is Annotation.ARRAY:
        return _array_render(arrow.value_type)
    if pa.types.is_binary(arrow):
        return Render.HEX
    if pa.types.is_boolean(arrow):
        return Render.BOOL_DIGIT
    if pa.types.is_timestamp(arrow):
        return Render.UTC if arrow.tz else Render.RAW
    return Render.TEXT if pa.types.is_string(arrow) and annotation not in _PLAIN else Render.RAW


def _array_render(element: pa.DataType) -> Render:
    if pa.types.is_boolean(element):
        return Render.ARRAY_BOOL
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return Render.ARRAY_NUMBER if any(is_(element) for is_ in numbers) else Render.ARRAY_TEXT


def _blocks(text: bytes) -> Iterator[memoryview]:
    view = memoryview(text)
    for start in range(0, len(text), BLOCK_BYTES):
        yield view[start : start + BLOCK_BYTES]
