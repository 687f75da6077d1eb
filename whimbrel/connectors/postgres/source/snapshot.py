"""Reading all tables as of one moment: cutting them into block ranges, and copying those inside one snapshot."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import pyarrow as pa

from whimbrel.connectors.postgres import locks
from whimbrel.connectors.postgres.connection import connect, identifier, literal, mapped, qualified
from whimbrel.connectors.postgres.source.publication import capture_name
from whimbrel.connectors.postgres.source.slots import (
    create_slot,
    current_lsn,
    position_at,
    prepare,
    server_identity,
    timeline,
)
from whimbrel.connectors.postgres.source.watch import keep_present
from whimbrel.connectors.postgres.wire import Connection, copy_out
from whimbrel.connectors.protocols import Buffer
from whimbrel.errors import SourceInterrupted, TableMissing
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Annotation, Column, Table

TID_RANGE_SCAN = 140000  # the first server version that reads a ctid range without reading the whole table
SAMPLE_BLOCKS = 16


# --- plan -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """A table or one leaf of a partitioned one. ``name`` is None for the table itself. Sizes include TOAST.

    ``file`` is the number of the file that holds it, another one once the table was truncated or rewritten.
    """

    name: TableName | None
    blocks: int
    bytes: int
    rows: float
    file: int | None


_PARTS = """
select n.nspname, c.relname, c.relkind::text,
       pg_relation_size(c.oid) / current_setting('block_size')::int, pg_table_size(c.oid),
       case when c.relpages > 0 and c.reltuples > 0 then c.reltuples / c.relpages else 0 end,
       case when c.relkind in ('r', 'm') then pg_relation_filenode(c.oid)::bigint end
from pg_class root join pg_namespace rn on rn.oid = root.relnamespace
cross join lateral (
    select root.oid where root.relkind <> 'p'
    union all select t.relid from pg_partition_tree(root.oid) t where root.relkind = 'p' and t.isleaf) leaf(oid)
join pg_class c on c.oid = leaf.oid join pg_namespace n on n.oid = c.relnamespace
where rn.nspname = %s and root.relname = %s order by n.nspname, c.relname
"""


def plan(connection: Connection, table: Table, rows_per_file: int, chunk_bytes: int) -> tuple[Chunk, ...]:
    """Cut a table into ranges of blocks (CTIDs), each of about that many bytes and at most about that many rows.

    Bounds are ``{"ctid": [low, high]}`` in block numbers, the last range of a table open-ended (high null), because a
    snapshot opened later may see rows beyond the blocks there are now. Leaves of partitioned tables are named in
    ``"leaf"``; ``"file"`` tells whether the blocks still hold what they held. Raises TableMissing.
    """
    with mapped("source"):
        parts = _parts(connection, table.name)
    ranges = [(part, *cut) for part in parts for cut in _cuts(part, rows_per_file, chunk_bytes)]
    if not ranges:  # a partitioned table without partitions
        return (Chunk(table.name, 0, None, 0),)
    return tuple(
        Chunk(
            table.name,
            number,
            _bounds(part, low, high),
            round(part.rows * blocks / max(part.blocks, 1)),
            part.bytes * blocks // max(part.blocks, 1),
        )
        for number, (part, low, high, blocks) in enumerate(ranges)
    )


def _parts(connection: Connection, table: TableName) -> list[_Part]:
    found = connection.execute(_PARTS, [table.schema, table.table]).fetchall()
    if not found:
        exists = connection.execute("select to_regclass(%s)", [qualified(table)]).fetchone()
        if exists is None or exists[0] is None:
            raise TableMissing(f"{table}: no such table on the source")
    parts = []
    for schema, name, kind, blocks, size, density, file in found:
        leaf = TableName(schema, name)
        divisible = kind in "rm" and connection.info.server_version >= TID_RANGE_SCAN
        if divisible and blocks and not density:
            density = _sampled_density(connection, leaf, blocks)
        parts.append(
            _Part(None if leaf == table else leaf, int(blocks) if divisible else 0, int(size), density * blocks, file)
        )
    return parts


def _sampled_density(connection: Connection, table: TableName, blocks: int) -> float:
    """Rows per block of a table that was never analysed, counted in its first blocks."""
    sample = min(blocks, SAMPLE_BLOCKS)
    row = connection.execute(
        f"select count(*) from only {qualified(table)} where ctid < '({sample},0)'"  # noqa: S608 - quoted
    ).fetchone()
    assert row is not None
    return float(row[0]) / sample


def _cuts(part: _Part, rows_per_file: int, chunk_bytes: int) -> list[tuple[int, int | None, int]]:
    """(first block, block behind the last or None, blocks) of each chunk."""
    if part.blocks == 0:
        return [(0, None, 0)]
    by_bytes = chunk_bytes * part.blocks // max(part.bytes, 1)
    by_rows = int(rows_per_file * part.blocks / part.rows) if part.rows else part.blocks
    step = max(1, min(by_bytes, by_rows))
    starts = list(range(0, part.blocks, step))
    ends: list[int | None] = [*starts[1:], None]
    return [(low, high, (high or part.blocks) - low) for low, high in zip(starts, ends, strict=True)]


def _bounds(part: _Part, low: int, high: int | None) -> dict[str, Any]:
    bounds: dict[str, Any] = {"ctid": [low, high]}
    if part.file is not None:
        bounds["file"] = part.file
    if part.name is not None:
        bounds["leaf"] = [part.name.schema, part.name.table]
    return bounds


def plan_holds(connection: Connection, table: Table, chunks: Sequence[Chunk]) -> bool:
    """Whether the chunks' block ranges are still what they were: VACUUM FULL and the like move rows between blocks."""
    planned = {_place(c.bounds): c.bounds.get("file") for c in chunks if c.bounds}
    with mapped("source"):
        return planned == {p.name: p.file for p in _parts(connection, table.name)}


def _place(bounds: Any) -> TableName | None:
    return TableName(*bounds["leaf"]) if bounds and "leaf" in bounds else None


# --- snapshot -------------------------------------------------------------------------------------------------------


class PostgresSnapshot:
    """A transaction that exports its snapshot under the name in ``token``; see ``protocols.Snapshot``.

    Nothing on the source is frozen, so there is nothing to release.
    """

    def __init__(self, holder: Connection, position: Position) -> None:
        self._holder = holder
        self.position = position
        with mapped("source"):
            row = holder.execute("select pg_export_snapshot()").fetchone()
        assert row is not None
        self.token: Any = {"snapshot": row[0]}

    def lane_opened(self) -> None:
        return

    def release(self) -> None:
        return

    def keepalive(self) -> None:
        with mapped("source"):
            self._holder.execute("select 1")

    def close(self) -> None:
        self._holder.close()


def open_snapshot(
    endpoint: Endpoint, job: Job, tables: Sequence[Table], *, capture: bool, lanes: int
) -> PostgresSnapshot:
    """Open one consistent view of all tables; with ``capture`` exactly where the migration's slot starts.

    A slot that an earlier attempt left is kept, and its start is the position: transactions that this view shows are
    then replayed over it. The log's end would not do, because a commit is logged a moment before it is visible.
    Any number of ``lanes`` can join later.
    """
    with closing(connect(endpoint.parameters, job.operation)) as connection:
        server = server_identity(connection)
        slot = prepare(connection, capture_name(job.migration), tables) if capture else None
        if capture and slot is None:
            return _open_at_slot(endpoint, job, server, connection, tables)
        start = current_lsn(connection) if slot is None or slot.confirmed is None else slot.confirmed
        written = timeline(connection)
    holder = connect(endpoint.parameters, job.operation)
    try:
        with mapped("source"):
            holder.execute("begin isolation level repeatable read, read only")
        return PostgresSnapshot(holder, position_at(server, start, written))
    except BaseException:
        holder.close()
        raise


def _open_at_slot(
    endpoint: Endpoint, job: Job, server: str, connection: Connection, tables: Sequence[Table]
) -> PostgresSnapshot:
    """Make the slot and take its snapshot over into an ordinary session, which can be kept alive and asked things.

    What the tables look like now is kept: whoever compares a plan with the catalog after this and finds it equal may
    be sure that what happens to them later is noticed once their changes are followed.
    """
    session, lsn, snapshot = create_slot(endpoint, job.operation, capture_name(job.migration), export=True)
    with closing(session):
        holder = connect(endpoint.parameters, job.operation)
        try:
            _join(holder, snapshot)
            keep_present(connection, capture_name(job.migration), tables)
            return PostgresSnapshot(holder, position_at(server, lsn, timeline(connection)))
        except BaseException:
            holder.close()
            raise


def _join(connection: Connection, snapshot: str) -> None:
    with mapped("source"):
        connection.execute("begin isolation level repeatable read, read only")
        try:
            connection.execute(f"set transaction snapshot {literal(snapshot)}")
        except psycopg.Error as e:
            if e.sqlstate in ("42704", "22023", "55000"):
                raise SourceInterrupted(f"snapshot {snapshot} is gone: whoever held it has ended") from e
            raise


# --- reader ---------------------------------------------------------------------------------------------------------


class PostgresReader:
    """Copies chunks inside a snapshot; see ``protocols.SnapshotReader``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def extract(
        self, table: Table, columns: Sequence[Column], chunk: Chunk, format: Format, write: Callable[[Buffer], object]
    ) -> int:
        """Write one chunk's rows in ``format``, in blocks of about 256 KiB that hold whole rows; return the rows."""
        statement = copy_statement(table, columns, chunk, format)
        sink: Callable[[bytes], object] = write
        if format is Format.TAB_TEXT:

            def sink(block: bytes) -> object:
                return write(tab_text(block))

        with mapped("source"):
            try:
                rows = copy_out(self._connection, statement, sink)
            except psycopg.errors.LockNotAvailable as e:
                name = _place(chunk.bounds) or table.name
                raise SourceInterrupted(
                    f"{name} stayed locked by others for {locks.LOCK_SECONDS} s (ALTER TABLE, LOCK TABLE, VACUUM FULL)",
                    remedy="Wait until they have ended, or end them; it is tried again by itself.",
                    table=str(name),
                ) from e
            self._require_same_file(table, chunk.bounds)
            return rows

    def _require_same_file(self, table: Table, bounds: Any) -> None:
        """A table that was truncated or rewritten since it was planned looks empty to this snapshot, or has its rows in
        other blocks. From here on it cannot be: having been read, it is locked until the transaction ends."""
        if not bounds or "file" not in bounds:
            return
        name = _place(bounds) or table.name
        sql = "select pg_relation_filenode(to_regclass(%s))::bigint"
        row = self._connection.execute(sql, [qualified(name)]).fetchone()
        if row != (bounds["file"],):
            raise SourceInterrupted(
                f"{name} was truncated or rewritten (TRUNCATE, ALTER TABLE, VACUUM FULL) after the load had begun: its "
                "rows of the snapshot cannot be read any more; a new snapshot is needed",
                table=str(name),
            )

    def close(self) -> None:
        self._connection.close()


def open_reader(endpoint: Endpoint, job: Job, token: Any) -> PostgresReader:
    """Join the snapshot that ``token`` names, from whatever process. Raises SourceInterrupted when it is gone."""
    connection = connect(endpoint.parameters, job.operation)
    try:
        with mapped("source"):
            connection.execute("set row_security = off")  # rows that a policy hides are an error, not left out
            # Behind an ALTER TABLE that waits for another reader of this load there is nothing to wait for.
            locks.bound_waits(connection)
        _join(connection, token["snapshot"])
        return PostgresReader(connection)
    except BaseException:
        connection.close()
        raise


def copy_statement(table: Table, columns: Sequence[Column], chunk: Chunk, format: Format) -> str:
    """The COPY that reads one chunk. ONLY, because what inherits from a table is a table of its own."""
    if format is Format.TAB_TEXT:
        values = ", ".join(_tab_expression(c) for c in columns)
    else:
        values = ", ".join(identifier(c.name) for c in columns)
    form = "binary" if format is Format.COPY_BINARY else "text"
    return f"copy (select {values} from {_from(table.name, chunk.bounds)}) to stdout (format {form})"  # noqa: S608


def _from(table: TableName, bounds: Any) -> str:
    if bounds is None:
        return qualified(table)
    low, high = bounds["ctid"]
    name = _place(bounds) or table
    conditions = [f"ctid >= '({int(low)},0)'::tid"] if low else []
    if high is not None:
        conditions.append(f"ctid < '({int(high)},0)'::tid")
    where = f" where {' and '.join(conditions)}" if conditions else ""
    return f"only {qualified(name)}{where}"


def _tab_expression(column: Column) -> str:
    """The column as docs/formats.md writes it in tab-text; what COPY text already writes so is left alone."""
    name, arrow = identifier(column.name), column.type.arrow
    if column.type.annotation is Annotation.ARRAY:
        return f"to_json({name})" if _json_elements(arrow.value_type) else f"to_json({name}::text[])"
    if pa.types.is_boolean(arrow):
        return f"{name}::int"
    if pa.types.is_float32(arrow):
        return f"{name}::float8"  # the shortest text of a real is rounded twice where it is read as a double first
    if pa.types.is_binary(arrow):
        return f"upper(encode({name}, 'hex'))"
    if pa.types.is_timestamp(arrow) and arrow.tz is not None:
        return f"{name} at time zone 'UTC'"
    return name


def _json_elements(element: pa.DataType) -> bool:
    """Whether JSON writes an array's elements as their text stands; the others become JSON strings of it."""
    kinds = (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(is_kind(element) for is_kind in kinds)


_COPY_ONLY_ESCAPES = {b"\\b": b"\b", b"\\f": b"\f", b"\\v": b"\v"}
_ESCAPE = re.compile(rb"\\[bfv\\]")


def tab_text(block: bytes) -> bytes:
    """Undo the escapes that COPY text has and tab-text has not. Blocks hold whole rows, so no escape is cut."""
    if not any(escape in block for escape in _COPY_ONLY_ESCAPES):
        return block
    return _ESCAPE.sub(lambda match: _COPY_ONLY_ESCAPES.get(match[0], match[0]), block)
