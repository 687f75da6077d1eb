"""The publication: which tables' changes the source's log readers see, and what each table must offer for that."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence

from whimbrel.connectors.postgres.capabilities import CAPABILITIES
from whimbrel.connectors.postgres.connection import identifier, mapped, qualified
from whimbrel.connectors.postgres.source import capturing
from whimbrel.connectors.postgres.wire import Connection
from whimbrel.connectors.requirements import require
from whimbrel.errors import SlotBlocked
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

WAIT_SECONDS = 30.0  # how long the source's open transactions may keep a publication or a slot from being made


def capture_name(migration: str) -> str:
    """The name of a migration's slot and publication: only what slot names may hold, and unique all the same."""
    clean = "whimbrel_" + re.sub(r"[^a-z0-9_]", "_", migration.lower())
    if clean == f"whimbrel_{migration}" and len(clean) <= CAPABILITIES.identifier_length:
        return clean
    return f"{clean[: CAPABILITIES.identifier_length - 9]}_{hashlib.sha256(migration.encode()).hexdigest()[:8]}"


def published(connection: Connection, name: str) -> set[TableName] | None:
    """The tables of a publication; None when there is none of that name."""
    with mapped("source"):
        if connection.execute("select from pg_publication where pubname = %s", [name]).fetchone() is None:
            return None
        rows = connection.execute(
            """
            select n.nspname, c.relname from pg_publication p join pg_publication_rel r on r.prpubid = p.oid
            join pg_class c on c.oid = r.prrelid join pg_namespace n on n.oid = c.relnamespace where p.pubname = %s
            """,
            [name],
        ).fetchall()
    return {TableName(schema, table) for schema, table in rows}


def publish(connection: Connection, name: str, tables: Sequence[Table]) -> None:
    """Make the publication hold exactly these tables.

    A table that is added while a slot exists is captured only by transactions that touch it after the ALTER, so this
    waits for those that were open then; the snapshot that follows sees what they wrote. Raises SlotBlocked.
    """
    wanted = {t.name for t in tables}
    found = published(connection, name)
    if found == wanted:
        return
    listed = ", ".join(f"only {qualified(t)}" for t in sorted(wanted))
    with mapped("source"):
        if found is None:
            connection.execute(
                f"create publication {identifier(name)} for table {listed} with (publish_via_partition_root = true)"
            )
            return
        connection.execute(f"alter publication {identifier(name)} set table {listed}")
        if wanted - found:
            _wait_for_open_transactions(connection)


def _wait_for_open_transactions(connection: Connection) -> None:
    row = connection.execute("select pg_snapshot_xmax(pg_current_snapshot())::text::bigint").fetchone()
    assert row is not None
    deadline = time.monotonic() + WAIT_SECONDS
    query = "select pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= %s"
    while connection.execute(query, [row[0]]).fetchone() != (True,):
        if time.monotonic() > deadline:
            raise blocked(connection, "adding tables to the publication")
        time.sleep(0.1)


def blocked(connection: Connection, what: str) -> SlotBlocked:
    """The error that names the transactions in the way."""
    rows = connection.execute(
        """
        select pid::text, usename, extract(epoch from now() - xact_start)::int from pg_stat_activity
        where backend_xid is not null and pid <> pg_backend_pid()
        union all select 'prepared ' || quote_literal(gid), owner, extract(epoch from now() - prepared)::int
        from pg_prepared_xacts order by 3 desc nulls last limit 10
        """
    ).fetchall()
    holders = ", ".join(f"{pid} ({user}, {age} s)" for pid, user, age in rows) or "none seen any more"
    return SlotBlocked(
        f"{what} waited {WAIT_SECONDS:.0f} s for open transactions; backends: {holders}", pids=[r[0] for r in rows]
    )


# Partitions have an identity of their own, by which their rows are logged.
_TABLES = """
select wanted.schema, wanted.name, n.nspname || '.' || c.relname, c.oid = w.oid,
       c.relkind::text, c.relpersistence::text, c.relreplident::text,
       array(select a.attname::text
             from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
             where i.indrelid = c.oid and case c.relreplident when 'd' then i.indisprimary else i.indisreplident end),
       pg_has_role(c.relowner, 'usage')
from unnest(%s::text[], %s::text[]) as wanted(schema, name)
join pg_namespace wn on wn.nspname = wanted.schema
join pg_class w on w.relnamespace = wn.oid and w.relname = wanted.name
cross join lateral (select w.oid union select relid from pg_partition_tree(w.oid) where w.relkind = 'p') as tree(part)
join pg_class c on c.oid = tree.part join pg_namespace n on n.oid = c.relnamespace
"""


def check_tables(connection: Connection, tables: Sequence[Table]) -> None:
    """Raise LogDisabled, ReplicaIdentityMissing or SourcePermissionDenied, naming tables that cannot be captured, and
    partitions of them."""
    names = [t.name for t in tables]
    keys = {(t.name.schema, t.name.table): set(t.key) for t in tables}
    foreign, unlogged, unidentified, not_owned = [], [], [], []
    for schema, name, table, whole, kind, persistence, identity, columns, owned in connection.execute(
        _TABLES, [[n.schema for n in names], [n.table for n in names]]
    ):
        key = keys[schema, name]
        if kind not in "rp":
            foreign.append(table)
        if persistence != "p":
            unlogged.append(table)
        if identity != "f" and (identity == "n" or not columns or not key or not key <= set(columns)):
            unidentified.append(table)
        if whole and not owned:
            not_owned.append(table)
    require(
        (
            capturing.tables(sorted(foreign)),
            capturing.logged(sorted(unlogged)),
            capturing.identified(sorted(unidentified)),
            capturing.owned(sorted(not_owned)),
        )
    )
