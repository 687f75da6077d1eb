"""Applies segments of changes to the target, with the position in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.codecs.compaction import Compacted, compact, net
from whimbrel.codecs.text import Render, rows_text
from whimbrel.connectors.postgres.connection import connect, mapped
from whimbrel.connectors.postgres.locks import lock_holders_named
from whimbrel.connectors.postgres.refetch import raw_keys
from whimbrel.connectors.postgres.target import merge
from whimbrel.connectors.postgres.target.ledger import ledger_on
from whimbrel.connectors.postgres.target.ledger_layout import ensure_schema
from whimbrel.connectors.postgres.target.merge import Pair
from whimbrel.connectors.postgres.target.pairs import pair_tables, require_quiet_tables
from whimbrel.connectors.postgres.wire import Connection, run_script
from whimbrel.connectors.protocols import Refetch
from whimbrel.errors import LayoutChanged, TableMissing, ValueRefused, WhimbrelError
from whimbrel.model.change import Segment, TableChanges, Truncate
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table

_BINARY = pa.binary()
_HOLD_MS = 900  # below deadlock_timeout, so that of two who wait for each other it is the holder who gives up


class PostgresApplier:
    """See ``protocols.Applier``. One connection, for one thread.

    An error in ``apply`` or ``commit`` rolls the transaction back, so that the applier can be used again.
    """

    def __init__(self, connection: Connection, migration: str, pairs: Sequence[Pair]) -> None:
        self._connection = connection
        self._ledger = ledger_on(connection, migration)
        self._pairs = {p.source.name: p for p in pairs}
        self._open = False
        self._made: set[str] = set()  # staging tables of this session that are committed
        self._new: set[str] = set()  # those made in the open transaction
        self._used: set[str] = set()  # those that hold rows of the open transaction

    def apply(self, segment: Segment, refetch: Refetch) -> None:
        with lock_holders_named(self._connection):
            try:
                for step in segment.steps:
                    if isinstance(step, Truncate):
                        self._truncate(step.tables)
                    else:
                        self._apply(self._pair(step.table), step, refetch)
            except BaseException:
                self.rollback()
                raise

    def commit(self, epoch: int, position: Position) -> None:
        try:
            with mapped("target"):
                self._begin()
                self._ledger.store_position(epoch, position)
                self._connection.execute("commit")
        except BaseException:
            self.rollback()
            raise
        self._made |= self._new
        self._ended()

    def rollback(self) -> None:
        if self._open and not self._connection.closed:
            try:
                self._connection.execute("rollback")
            except psycopg.Error:
                self._connection.close()  # the server rolls back what a lost connection leaves
        self._ended()

    def hold(self) -> None:
        try:
            with mapped("target"):
                self._begin()
                self._connection.execute(f"set local lock_timeout = {_HOLD_MS}")
                self._ledger.lock()
        except BaseException:
            self.rollback()
            raise

    def release(self) -> None:
        try:
            with mapped("target"):
                self._connection.execute("commit")
        except BaseException:
            self.rollback()
            raise
        self._made |= self._new
        self._ended()

    def close(self) -> None:
        self._connection.close()

    def _ended(self) -> None:
        self._open = False
        self._new.clear()
        self._used.clear()

    def _begin(self) -> None:
        if not self._open:
            self._connection.execute("begin")
            self._open = True

    def _pair(self, table: TableName) -> Pair:
        if table not in self._pairs:
            raise TableMissing(f"{table}: changes came for a table that is not part of the migration")
        return self._pairs[table]

    def _run(self, pair: Pair, script: str, payloads: Sequence[bytes]) -> list[int]:
        """Run a script for one table inside the transaction; errors name the target table, not the staging one."""
        opening = "" if self._open else "begin;"
        self._open = True
        try:
            with mapped("target"):
                counts = run_script(self._connection, opening + script, payloads)
        except WhimbrelError as e:
            raise _about(pair, e) from e
        return counts[1:] if opening else counts

    def _prepared(self, pair: Pair, name: str, create: str, empty: str) -> str:
        """What makes a staging table ready for rows: nothing, most of the time."""
        if name not in self._made and name not in self._new:
            self._new.add(name)
            self._used.add(name)
            return create
        if name in self._used:
            return empty
        self._used.add(name)
        return ""

    def _stage(self, pair: Pair) -> str:
        return self._prepared(pair, pair.stage, merge.create_stage(pair), merge.empty_stage(pair))

    # --- one table ---------------------------------------------------------------------------------------------------

    def _apply(self, pair: Pair, changes: TableChanges, refetch: Refetch) -> None:
        changes = _in_order(pair, changes)
        if not pair.key:
            self._apply_images(pair, changes)
            return
        compacted = compact(changes, pair.key)
        staged = _staged_text(pair, compacted)
        script = self._stage(pair) + merge.copy_stage(pair)
        rows = compacted.upserts.num_rows
        if compacted.origins is not None:
            rows -= self._fill(pair, script, staged, compacted, refetch)
            script, payloads = "", []
        else:
            payloads = [staged]
        if pair.uniques:
            put = self._rewrite(pair, script, payloads)
        else:
            put = self._run(pair, script + merge.apply_keyed(pair, self._connection.info.server_version), payloads)[-1]
        if put < rows and set(pair.columns) != set(pair.key):  # a row that is all key is left as it is
            raise ValueRefused(
                f"{pair.target.name}: of {rows} rows that the source has, {put} came into the target",
                remedy="Look for rules and triggers on the target that take rows away, and drop them.",
                table=str(pair.target.name),
            )

    def _rewrite(self, pair: Pair, script: str, payloads: Sequence[bytes]) -> int:
        """Delete and insert, and how many were inserted; if a row outside the batch holds a value of the batch that the
        source allows once, move it out of the way."""
        try:
            return self._run(pair, f"{script}savepoint batch;{merge.rewrite(pair)}release batch;", payloads)[-2]
        except ValueRefused as e:
            if e.extra.get("sqlstate") != "23505" or not pair.shared:
                raise
        return self._run(pair, f"rollback to batch;release batch;{merge.rewrite(pair, displacing=True)}", ())[-1]

    def _fill(self, pair: Pair, script: str, staged: bytes, compacted: Compacted, refetch: Refetch) -> int:
        """Stage the batch and complete the values that the log left out, from the target or else from the source; how
        many rows neither has, which are left out."""
        lacking = list(compacted.unchanged)
        script += self._prepared(pair, pair.fill, merge.create_fill(pair), merge.empty_fill(pair))
        script += merge.copy_fill(pair) + merge.fill_from_target(pair, lacking)
        self._run(pair, script, [staged, _fill_text(pair, compacted)])
        with mapped("target"):
            missing = self._connection.execute(merge.not_found(pair).encode()).pgresult
        if missing is None or missing.ntuples == 0:
            return 0
        rows = refetch(pair.source.name, raw_keys(pair.source, missing)).select(list(pair.columns))
        fetched = rows_text(rows, _renders(pair))
        return self._run(pair, merge.copy_fetched(pair) + merge.fill_from_fetched(pair, lacking), [fetched])[-1]

    def _apply_images(self, pair: Pair, changes: TableChanges) -> None:
        """A table without a key: rows go and come as whole images."""
        images = net(changes)
        renders = _renders(pair)
        if images.deletes.num_rows:
            counts = images.deletes.column("#count")
            deletes = images.deletes.set_column(len(pair.columns), "#count", counts.cast(pa.string()).cast(_BINARY))
            script = self._stage(pair) + merge.copy_stage(pair) + merge.delete_images(pair)
            gone = self._run(pair, script, [rows_text(deletes, [*renders, Render.RAW])])[-1]
            wanted = pc.sum(counts).as_py()
            if gone != wanted:
                raise ValueRefused(
                    f"{pair.target.name}: of {wanted} rows that the source changed or deleted, {gone} are there as the "
                    "source had them",
                    remedy="Something else has written to the target table: load it again.",
                    table=str(pair.target.name),
                )
        if images.inserts.num_rows:
            self._run(pair, merge.copy_images(pair), [rows_text(images.inserts, renders)])

    def _truncate(self, tables: Sequence[TableName]) -> None:
        """All in one statement, because of the foreign keys between them; rows go one by one where others remain."""
        names = [self._pair(t).table for t in tables]
        with mapped("target"):
            self._begin()
            try:
                with self._connection.transaction():
                    self._connection.execute(f"truncate {', '.join(names)}".encode())
            except psycopg.errors.FeatureNotSupported:
                for name in names:
                    self._connection.execute(f"delete from {name}".encode())  # noqa: S608 - quoted


def open_applier(endpoint: Endpoint, job: Job, source: Sequence[Table], target: Sequence[Table]) -> PostgresApplier:
    """Connect and look at the target tables.

    Raises TargetPermissionDenied when the user may not silence triggers and foreign keys and there are some.
    """
    connection = connect(endpoint.parameters, job.operation, role="target")
    try:
        with mapped("target"):
            ensure_schema(connection)
            connection.execute("set synchronous_commit = on")
            connection.execute("set row_security = off")  # a policy that hides rows is an error
            connection.execute("set client_min_messages = warning")
            try:
                connection.execute("set session_replication_role = replica")
            except psycopg.errors.InsufficientPrivilege:
                require_quiet_tables(connection, target)
            return PostgresApplier(connection, job.migration, pair_tables(connection, source, target))
    except BaseException:
        connection.close()
        raise


# --- text -----------------------------------------------------------------------------------------------------------


def _in_order(pair: Pair, changes: TableChanges) -> TableChanges:
    """The changes with their columns in the pair's order."""
    names = tuple(changes.data.schema.names)
    if names == pair.columns:
        return changes
    if set(names) != set(pair.columns):
        raise LayoutChanged(
            f"{pair.source.name}: changes came for columns {', '.join(names)}, not {', '.join(pair.columns)}",
            table=str(pair.source.name),
        )
    return TableChanges(changes.table, changes.ops, changes.data.select(list(pair.columns)), changes.unchanged)


def _renders(pair: Pair) -> list[Render]:
    return [merge.render(c) for c in pair.source.loaded_columns]


def _staged_text(pair: Pair, compacted: Compacted) -> bytes:
    """Deleted keys and final rows as COPY text of the stage."""
    renders = [*_renders(pair), Render.RAW]
    deletes = compacted.deletes
    known = dict(zip(deletes.schema.names, deletes.columns, strict=True))
    nothing = pa.nulls(deletes.num_rows, _BINARY)
    columns = [known.get(name, nothing) for name in pair.columns]
    text = b""
    for arrays, rows, op in (
        (columns, deletes.num_rows, merge.DELETED),
        (compacted.upserts.columns, compacted.upserts.num_rows, merge.KEPT),
    ):
        marked = [*arrays, pa.repeat(pa.scalar(op, _BINARY), rows)]
        text += rows_text(pa.RecordBatch.from_arrays(marked, names=[*pair.columns, "#op"]), renders)
    return text


def _fill_text(pair: Pair, compacted: Compacted) -> bytes:
    """Own key, origin key and mask of the rows that lack values, as COPY text."""
    assert compacted.origins is not None
    own, origins = compacted.upserts.select(list(pair.key)), compacted.origins.select(list(pair.key))
    masks = [np.asarray(m).astype(np.bool_) for m in compacted.unchanged.values()]
    digits = [pc.if_else(pa.array(m), pa.scalar(b"1", _BINARY), pa.scalar(b"0", _BINARY)) for m in masks]
    mask = pc.binary_join_element_wise(*digits, pa.scalar(b"", _BINARY))
    arrays = [*own.columns, *origins.columns, mask]
    batch = pa.RecordBatch.from_arrays(arrays, names=[str(i) for i in range(len(arrays))])
    keys = [merge.render(pair.source.column(k)) for k in pair.key]
    return rows_text(batch.filter(pa.array(np.logical_or.reduce(masks))), [*keys, *keys, Render.RAW])


def _about(pair: Pair, error: WhimbrelError) -> WhimbrelError:
    """The same error, with the target table's name in place of a staging table's."""
    message = error.message
    for staging in (pair.stage, pair.fill, pair.fetched):
        message = message.replace(staging.removeprefix("pg_temp."), str(pair.target.name))
    details = {**error.extra, "table": str(pair.target.name)}
    return type(error)(message, remedy=error.how_to_fix, **details)
