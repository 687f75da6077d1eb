"""The tables of the progress: schema ``whimbrel``. Made where they are absent, and brought up to date.

The version before had other names for some columns, and kept in ``chunks`` how many rows of each were loaded. An
upgrade is one transaction, and waits for who is writing: a worker of that version is refused where it loads or plans
from there on, and may write no more than a position, for which it must be the owner as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from whimbrel.connectors.postgres.source.reflection import Connection

_LOCK = 0x776869_6D6272  # 'whimbr': serialises the making of the schema
# The order of the columns is that of ``sql.ledger.TABLES``.
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
  migration text, source_schema text, source_table text,
  fingerprint text not null,
  finished boolean not null default false,
  primary key (migration, source_schema, source_table));
create table if not exists whimbrel.chunks (
  migration text, source_schema text, source_table text, number integer,
  bounds text not null, planned_rows bigint not null, planned_bytes bigint not null,
  primary key (migration, source_schema, source_table, number));
create table if not exists whimbrel.loaded (
  migration text, source_schema text, source_table text, number integer, loaded_rows bigint not null,
  primary key (migration, source_schema, source_table, number));
create table if not exists whimbrel.dropped (
  schema_name text, table_name text, name text, position integer not null,
  definition text not null,
  primary key (schema_name, table_name, name));
create table if not exists whimbrel.owned (
  migration text, target_schema text, target_table text,
  primary key (migration, target_schema, target_table));
"""
_NAMES: Final = ["progress", "tables", "chunks", "loaded", "dropped", "owned"]
_OLD: Final = "select count(*) from pg_attribute where attrelid = to_regclass('whimbrel.chunks') and attname = 'bytes'"
# ``owned`` came later than the others: where it is not there yet, it is made as it is now
_UPGRADE_OWNED = """
alter table if exists whimbrel.owned rename column schema_name to target_schema;
alter table if exists whimbrel.owned rename column table_name to target_table;
"""
_UPGRADE = """
alter table whimbrel.chunks rename column schema_name to source_schema;
alter table whimbrel.chunks rename column table_name to source_table;
alter table whimbrel.chunks rename column bytes to planned_bytes;
alter table whimbrel.tables rename column schema_name to source_schema;
alter table whimbrel.tables rename column table_name to source_table;
insert into whimbrel.loaded select migration, source_schema, source_table, number, loaded_rows
  from whimbrel.chunks where loaded_rows is not null;
alter table whimbrel.chunks drop column loaded_rows;
"""


def ensure_schema(connection: Connection, before_upgrade: Callable[[], None] = lambda: None) -> None:
    """Make our tables when they are absent, and upgrade those of the version before; ``before_upgrade`` is called then.
    Two at once do not collide. Needs no right when all is there."""
    present = connection.execute(
        "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
        " where n.nspname = 'whimbrel' and c.relname = any(%s)",
        [_NAMES],
    ).fetchone()
    if present == (len(_NAMES),):  # the old ones have no table of that number, and change in one transaction
        return
    if _is_old(connection):
        before_upgrade()
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        old = _is_old(connection)
        if old:
            connection.execute(_UPGRADE_OWNED.encode())
        connection.execute(_SCHEMA.encode())
        if old:
            connection.execute(_UPGRADE.encode())


def _is_old(connection: Connection) -> bool:
    return connection.execute(_OLD.encode()).fetchone() != (0,)
