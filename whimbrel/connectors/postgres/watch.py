"""Watches what somebody may do to captured tables without a trace in the log that pgoutput makes of it.

Renames, new columns and partitions, a dropped unique key, a changed publication: the log shows some of them with the
next row of the table and some never, so the catalog is asked as well.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whimbrel.connectors.postgres.connection import mapped, qualified
from whimbrel.connectors.postgres.wire import Connection
from whimbrel.errors import LayoutChanged, PositionLost, TableMissing, WhimbrelError
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

WATCH_SECONDS = 10.0
LATE_SECONDS = 30.0  # how long the stream may take to reach the point at which a change was found

_OIDS = """
select c.oid, n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
join unnest(%s::text[], %s::text[]) as w(schema, name) on n.nspname = w.schema and c.relname = w.name
"""
_PUBLICATION = """
select pubinsert and pubupdate and pubdelete and pubtruncate and pubviaroot from pg_publication where pubname = %s
"""
_TABLES = """
select c.oid, n.nspname, c.relname,
       array(select concat_ws(' ', a.attnum, a.atttypid, a.atttypmod, a.attname) from pg_attribute a
             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
       array(select concat_ws(' ', i.indkey::text, i.indisprimary, i.indexprs is null, i.indpred is null)
             from pg_index i where i.indrelid = c.oid and i.indisunique and i.indislive),
       case when c.relkind = 'p' then array(select t.relid::oid from pg_partition_tree(c.oid) t where t.level > 0)
            else '{}'::oid[] end,
       r.oid is not null and r.whole
from pg_class c join pg_namespace n on n.oid = c.relnamespace
left join (select prrelid as oid, <whole> as whole from pg_publication_rel
           where prpubid = (select oid from pg_publication where pubname = %s)) r on r.oid = c.oid
where c.oid = any(%s::oid[])
"""
_LEAF = """
select n.nspname, c.relname, age(i.xmin), i.cmin::text::bigint
from pg_class c join pg_namespace n on n.oid = c.relnamespace, pg_partition_ancestors(c.oid) a
join pg_inherits i on i.inhrelid = a.relid where c.oid = %s and c.relkind <> 'p' order by age(i.xmin) limit 1
"""
_OLDER_ROWS = """
select exists (select from only <table> where age(xmin) > %s or age(xmin) = %s and cmin::text::bigint < %s)
"""


@dataclass(frozen=True)
class _Shape:
    """A table as the catalog has it. ``keys`` are its unique indexes, ``parts`` all partitions below it."""

    name: TableName
    columns: tuple[str, ...]
    keys: frozenset[str]
    parts: frozenset[int]
    published: bool


def oids_of(connection: Connection, tables: Sequence[Table]) -> dict[int, TableName]:
    """The captured tables by their oids. Raises TableMissing."""
    names = [t.name for t in tables]
    with mapped("source"):
        rows = connection.execute(_OIDS, [[n.schema for n in names], [n.table for n in names]]).fetchall()
    found = {int(oid): TableName(schema, name) for oid, schema, name in rows}
    missing = sorted(str(n) for n in set(names) - set(found.values()))
    if missing:
        raise TableMissing(f"the source has no table {', '.join(missing[:20])} any more", tables=missing[:100])
    return found


class Watch:
    """Compares the catalog with what it was when the stream was opened. The connection becomes its own."""

    def __init__(self, connection: Connection, publication: str, oids: Mapping[int, TableName]) -> None:
        self._connection = connection
        self._publication = publication
        self._oids = list(oids)
        self._before = self._shapes()
        self._require_published(self._before)
        self._looked = time.monotonic()
        self._found: tuple[int, float, WhimbrelError] | None = None

    def look(self, reached: int) -> None:
        """Ask now and then. Raises LayoutChanged once the stream has ``reached`` the point at which the tables were
        found changed, so that what happened before is applied; PositionLost when changes were not published."""
        now = time.monotonic()
        if self._found is None and now - self._looked >= WATCH_SECONDS:
            self._looked = now
            error = self._changed()
            if error is not None:
                self._found = (self._flushed(), now + LATE_SECONDS, error)
        if self._found is not None and (reached >= self._found[0] or now >= self._found[1]):
            raise self._found[2]

    def close(self) -> None:
        self._connection.close()

    def _shapes(self) -> dict[int, _Shape]:
        """Raises PositionLost when the publication is not the one that we made."""
        whole = "prqual is null and prattrs is null" if self._connection.info.server_version >= 150000 else "true"
        with mapped("source"):
            options = self._connection.execute(_PUBLICATION, [self._publication]).fetchone()
            rows = self._connection.execute(
                _TABLES.replace("<whole>", whole).encode(), [self._publication, self._oids]
            ).fetchall()
        if options != (True,):
            raise PositionLost(
                f"publication {self._publication} is gone, or leaves out changes now: what it left out is lost"
            )
        return {
            int(oid): _Shape(TableName(schema, name), tuple(columns), frozenset(keys), frozenset(parts), bool(whole))
            for oid, schema, name, columns, keys, parts, whole in rows
        }

    def _changed(self) -> WhimbrelError | None:
        now = self._shapes()
        for oid, before in self._before.items():
            what = self._difference(before, now.get(oid))
            if what:
                return LayoutChanged(f"{before.name}: {what}", table=str(before.name))
        self._require_published(now)
        self._before = now
        return None

    def _require_published(self, shapes: Mapping[int, _Shape]) -> None:
        left_out = sorted(str(s.name) for s in shapes.values() if not s.published)
        if left_out:
            raise PositionLost(
                f"publication {self._publication} does not hold {', '.join(left_out[:20])} whole: their changes were "
                "not kept",
                tables=left_out[:100],
            )

    def _difference(self, before: _Shape, now: _Shape | None) -> str:
        """What happened to a table, '' if nothing did that matters."""
        if now is None:
            return "it was dropped on the source"
        if now.name != before.name:
            return f"it was renamed on the source, to {now.name}"
        if now.columns != before.columns:
            names = {c.split(" ", 3)[3] for c in set(before.columns) ^ set(now.columns)}
            return f"its columns were changed on the source: {', '.join(sorted(names))}"
        if before.keys - now.keys:
            return "a unique key of it was dropped on the source, and the target still has it"
        if before.parts - now.parts:
            return "a partition of it was detached or dropped on the source, and its rows with it"
        for part in sorted(now.parts - before.parts):
            name = self._filled_before(part)
            if name:
                return f"partition {name} was attached on the source, with rows that it had before"
        return ""

    def _filled_before(self, part: int) -> str:
        """The name of a new partition if it has rows older than its place in the table; the log never shows those."""
        with mapped("source"):
            found = self._connection.execute(_LEAF, [part]).fetchone()
            if found is None:
                return ""
            name, attached, command = TableName(found[0], found[1]), found[2], found[3]
            query = _OLDER_ROWS.replace("<table>", qualified(name).replace("%", "%%"))
            row = self._connection.execute(query.encode(), [attached, attached, command]).fetchone()
        return str(name) if row == (True,) else ""

    def _flushed(self) -> int:
        with mapped("source"):
            row = self._connection.execute("select pg_current_wal_flush_lsn() - '0/0'::pg_lsn").fetchone()
        assert row is not None
        return int(row[0])
