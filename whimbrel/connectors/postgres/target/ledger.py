"""Progress kept in the target: what was planned, what is loaded, and where replay must go on.

Every write happens in a transaction that also makes sure that nobody has taken the migration over. The check comes
last and locks the row only until the commit, so that a new owner never waits for an old one's long load.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from psycopg.rows import dict_row

from whimbrel.connectors.postgres.connection import mapped
from whimbrel.connectors.postgres.source.reflection import Connection
from whimbrel.connectors.protocols import LoadState, TableLoad
from whimbrel.errors import Fenced
from whimbrel.model.chunk import Chunk
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table

_LOCK = 0x776869_6D6272  # 'whimbr': serialises the making of the schema
_SCHEMA = """
create schema if not exists whimbrel;
create table if not exists whimbrel.progress (
  migration text primary key,
  epoch bigint not null,
  operation text not null default '',
  position text,
  data_complete boolean not null default false,
  snapshots integer not null default 0,
  updated_at timestamptz not null default now());
create table if not exists whimbrel.tables (
  migration text, schema_name text, table_name text,
  fingerprint text not null,
  finished boolean not null default false,
  primary key (migration, schema_name, table_name));
create table if not exists whimbrel.chunks (
  migration text, schema_name text, table_name text, number integer,
  bounds text not null, planned_rows bigint not null, bytes bigint not null,
  loaded_rows bigint,
  primary key (migration, schema_name, table_name, number));
create table if not exists whimbrel.dropped (
  schema_name text, table_name text, name text, position integer not null,
  definition text not null,
  primary key (schema_name, table_name, name));
create table if not exists whimbrel.owned (
  migration text, schema_name text, table_name text,
  primary key (migration, schema_name, table_name));
"""
# A migration that is deleted and made again must not come to the epochs of its namesake, whose workers may still live:
# a row is new for longer than it takes to claim it once, so the time is ahead of all that was claimed before.
_FIRST_EPOCH = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
_NAMES = ["progress", "tables", "chunks", "dropped", "owned"]


def ensure_schema(connection: Connection) -> None:
    """Make our tables when they are absent; two at once do not collide. Needs no right when they exist."""
    present = connection.execute(
        "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = 'whimbrel' and c.relname = any(%s)",
        [_NAMES],
    ).fetchone()
    if present == (len(_NAMES),):
        return
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        connection.execute(_SCHEMA.encode())


def fence(connection: Connection, migration: str, epoch: int) -> None:
    """Raise Fenced unless ``epoch`` still owns the migration, and keep it so until the transaction ends."""
    found = connection.execute(
        "select epoch from whimbrel.progress where migration = %s for share", [migration]
    ).fetchone()
    if found is None or found[0] != epoch:
        raise _fenced(migration, epoch)


def write_position(connection: Connection, migration: str, epoch: int, position: Position) -> None:
    """Store the position inside the caller's transaction. Raises Fenced."""
    done = connection.execute(
        "update whimbrel.progress set position = %s, updated_at = now() where migration = %s and epoch = %s",
        [position.to_json(), migration, epoch],
    )
    if done.rowcount != 1:
        raise _fenced(migration, epoch)


def _fenced(migration: str, epoch: int) -> Fenced:
    return Fenced(f"migration {migration} has a newer owner than epoch {epoch}", migration=migration, epoch=epoch)


class PostgresLedger:
    """See protocols.Ledger. One connection, for one thread."""

    def __init__(self, connection: Connection, migration: str) -> None:
        self._connection = connection
        self._migration = migration
        with mapped("target"):
            ensure_schema(connection)

    def claim(self) -> int:
        with mapped("target"):
            row = self._connection.execute(
                f"insert into whimbrel.progress as p (migration, epoch) values (%s, {_FIRST_EPOCH})"  # noqa: S608 - a constant
                " on conflict (migration) do update set epoch = p.epoch + 1, updated_at = now() returning epoch",
                [self._migration],
            ).fetchone()
        assert row is not None
        return int(row[0])

    def state(self) -> LoadState:
        with mapped("target"), self._connection.transaction(), self._connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute("set transaction isolation level repeatable read read only")
            progress = cursor.execute(
                "select * from whimbrel.progress where migration = %s", [self._migration]
            ).fetchone()
            tables = cursor.execute("select * from whimbrel.tables where migration = %s", [self._migration]).fetchall()
            chunks = cursor.execute(
                "select * from whimbrel.chunks where migration = %s order by number", [self._migration]
            ).fetchall()
        if progress is None:
            return LoadState(0, "", None, data_complete=False, snapshots=0)
        return LoadState(
            epoch=progress["epoch"],
            operation=progress["operation"],
            position=_position(progress["position"]),
            data_complete=progress["data_complete"],
            snapshots=progress["snapshots"],
            tables=_table_loads(tables, chunks),
            layouts={TableName(r["schema_name"], r["table_name"]): r["fingerprint"] for r in tables},
        )

    def clear(self, epoch: int, operation: str) -> None:
        with mapped("target"), self._connection.transaction():
            self._begin(epoch, operation, None)

    def restart(self, epoch: int, operation: str, position: Position, tables: Sequence[Table]) -> None:
        with mapped("target"), self._connection.transaction():
            self._begin(epoch, operation, position.to_json())
            self._save_layouts(tables)

    def _begin(self, epoch: int, operation: str, position: str | None) -> None:
        self._connection.execute("delete from whimbrel.chunks where migration = %s", [self._migration])
        self._connection.execute("delete from whimbrel.tables where migration = %s", [self._migration])
        assignments = "operation = %s, position = %s, data_complete = false, snapshots = 0"
        self._update(epoch, assignments, [operation, position])

    def forget(self, epoch: int, tables: Sequence[TableName]) -> None:
        names = [self._migration, [t.schema for t in tables], [t.table for t in tables]]
        these = "migration = %s and (schema_name, table_name) in (select * from unnest(%s::text[], %s::text[]))"
        with mapped("target"), self._connection.transaction():
            self._connection.execute(f"delete from whimbrel.chunks where {these}".encode(), names)  # noqa: S608
            self._connection.execute(f"delete from whimbrel.tables where {these}".encode(), names)  # noqa: S608
            fence(self._connection, self._migration, epoch)

    def remove(self) -> None:
        with mapped("target"), self._connection.transaction():
            for name in ("chunks", "tables", "owned", "progress"):
                sql = f"delete from whimbrel.{name} where migration = %s"  # noqa: S608 - a constant
                self._connection.execute(sql.encode(), [self._migration])

    def save_plan(self, epoch: int, table: Table, chunks: Sequence[Chunk]) -> None:
        key = [self._migration, table.name.schema, table.name.table]
        with mapped("target"), self._connection.transaction():
            self._connection.execute(
                "insert into whimbrel.tables (migration, schema_name, table_name, fingerprint) values (%s, %s, %s, %s)"
                " on conflict (migration, schema_name, table_name)"
                " do update set fingerprint = excluded.fingerprint, finished = false",
                [*key, table.fingerprint],
            )
            self._connection.execute(
                "delete from whimbrel.chunks where migration = %s and schema_name = %s and table_name = %s", key
            )
            self._connection.execute(
                "insert into whimbrel.chunks (migration, schema_name, table_name, number, bounds, planned_rows, bytes)"
                " select %s, %s, %s, * from unnest(%s::int[], %s::text[], %s::bigint[], %s::bigint[])",
                [
                    *key,
                    [c.number for c in chunks],
                    [json.dumps(c.bounds) for c in chunks],
                    [c.rows for c in chunks],
                    [c.bytes for c in chunks],
                ],
            )
            fence(self._connection, self._migration, epoch)

    def save_layouts(self, epoch: int, tables: Sequence[Table]) -> None:
        with mapped("target"), self._connection.transaction():
            self._save_layouts(tables)
            fence(self._connection, self._migration, epoch)

    def _save_layouts(self, tables: Sequence[Table]) -> None:
        self._connection.execute(
            "insert into whimbrel.tables (migration, schema_name, table_name, fingerprint)"
            " select %s, * from unnest(%s::text[], %s::text[], %s::text[])"
            " on conflict (migration, schema_name, table_name) do update set fingerprint = excluded.fingerprint",
            [
                self._migration,
                [t.name.schema for t in tables],
                [t.name.table for t in tables],
                [t.fingerprint for t in tables],
            ],
        )

    def own(self, tables: Sequence[TableName]) -> None:
        self._change_owned("insert into whimbrel.owned select %s, * from {} on conflict do nothing", tables)

    def owned(self) -> frozenset[TableName]:
        sql = "select schema_name, table_name from whimbrel.owned where migration = %s"
        with mapped("target"):
            return frozenset(TableName(*row) for row in self._connection.execute(sql, [self._migration]))

    def disown(self, tables: Sequence[TableName]) -> None:
        sql = "delete from whimbrel.owned where migration = %s and (schema_name, table_name) in (select * from {})"
        self._change_owned(sql, tables)

    def _change_owned(self, sql: str, tables: Sequence[TableName]) -> None:
        names = [[t.schema for t in tables], [t.table for t in tables]]
        with mapped("target"):
            filled = sql.format("unnest(%s::text[], %s::text[])")
            self._connection.execute(filled.encode(), [self._migration, *names])

    def snapshot_opened(self, epoch: int, position: Position, *, keep_older: bool) -> None:
        kept = "coalesce(position, %s)" if keep_older else "%s"
        known = position.to_json() if position.text else None
        with mapped("target"), self._connection.transaction():
            self._update(epoch, f"snapshots = snapshots + 1, position = {kept}", [known])

    def table_finished(self, epoch: int, table: TableName) -> None:
        with mapped("target"), self._connection.transaction():
            self._connection.execute(
                "update whimbrel.tables set finished = true"
                " where migration = %s and schema_name = %s and table_name = %s",
                [self._migration, table.schema, table.table],
            )
            fence(self._connection, self._migration, epoch)

    def data_complete(self, epoch: int) -> None:
        with mapped("target"), self._connection.transaction():
            self._update(epoch, "data_complete = true", [])

    def position(self) -> Position | None:
        with mapped("target"):
            row = self._connection.execute(
                "select position from whimbrel.progress where migration = %s", [self._migration]
            ).fetchone()
        return _position(row[0]) if row else None

    def set_position(self, epoch: int, position: Position) -> None:
        with mapped("target"), self._connection.transaction():
            write_position(self._connection, self._migration, epoch, position)

    def close(self) -> None:
        self._connection.close()

    def _update(self, epoch: int, assignments: str, values: list[Any]) -> None:
        done = self._connection.execute(
            f"update whimbrel.progress set {assignments}, updated_at = now()"  # noqa: S608 - our own constants
            " where migration = %s and epoch = %s".encode(),
            [*values, self._migration, epoch],
        )
        if done.rowcount != 1:
            raise _fenced(self._migration, epoch)


def _position(text: str | None) -> Position | None:
    return Position.from_json(text) if text else None


def _table_loads(tables: list[dict[str, Any]], chunks: list[dict[str, Any]]) -> dict[TableName, TableLoad]:
    planned: dict[TableName, list[Chunk]] = defaultdict(list)
    loaded: dict[TableName, dict[int, int]] = defaultdict(dict)
    for row in chunks:
        name = TableName(row["schema_name"], row["table_name"])
        planned[name].append(Chunk(name, row["number"], json.loads(row["bounds"]), row["planned_rows"], row["bytes"]))
        if row["loaded_rows"] is not None:
            loaded[name][row["number"]] = row["loaded_rows"]
    names = {TableName(r["schema_name"], r["table_name"]): r for r in tables}
    return {
        name: TableLoad(row["fingerprint"], tuple(planned[name]), loaded[name], row["finished"])
        for name, row in names.items()
        if name in planned  # of a replication without a load there are only layouts
    }
