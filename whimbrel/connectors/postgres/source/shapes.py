"""What the catalog says of captured tables, and what differs between two looks at it that the log does not show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from whimbrel.connectors.postgres.connection import mapped, qualified
from whimbrel.connectors.postgres.wire import Connection
from whimbrel.errors import LayoutChanged, PositionLost
from whimbrel.model.names import TableName

SCAN_SECONDS = 5  # how long a partition is searched for a row that proves that it was not emptied
ROWS_REMEDY = (
    "Validate the named table and repair it. Then start replication with resume=false at the position that the "
    "migration's status shows; or load again."
)
COLUMNS_REMEDY = (
    "Load the named table again. Or make the same change on the target and start replication with resume=false at the "
    "position that the migration's status shows; for columns that were added, dropped or renamed, resume=true will do."
)

_HORIZON = "select pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_PUBLICATION = """
select pubinsert and pubupdate and pubdelete and pubtruncate and pubviaroot from pg_publication where pubname = %s
"""
_TABLES = """
select c.oid, n.nspname, c.relname,
       array(select concat_ws(' ', a.attnum, a.atttypid, a.atttypmod, a.attname) from pg_attribute a
             where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
             order by a.attnum),
       array(select concat_ws(' ', i.indkey::text, i.indisprimary, i.indexprs is null, i.indpred is null)
             from pg_index i where i.indrelid = c.oid and i.indisunique and i.indislive),
       case when c.relkind = 'p' then array(
         select array[t.relid::oid::bigint, coalesce(pg_relation_filenode(t.relid), 0)::bigint,
                      (t.isleaf and coalesce(pg_relation_size(t.relid), 0) > 0)::int, p.reltoastrelid::bigint]
         from pg_partition_tree(c.oid) t join pg_class p on p.oid = t.relid where t.level > 0) end,
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
_REWRITTEN = """
select n.nspname, c.relname, c.reltuples < <known>, age((%s::bigint % (1::bigint << 32))::text::xid)
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = %s
"""


@dataclass(frozen=True)
class Part:
    """A partition. ``file`` is the number of the file that holds its rows, another one once it was truncated or
    rewritten; 0 for one that has partitions of its own. ``filled``: the file had any block. ``toast`` is the oid of the
    table of its long values, 0 without one: ALTER TABLE makes another one where it rewrites the rows."""

    file: int
    filled: bool
    toast: int = 0


@dataclass(frozen=True)
class Shape:
    """A table as the catalog has it. ``keys`` are its unique indexes, ``parts`` all partitions below it, by oid."""

    oid: int
    name: TableName
    columns: tuple[str, ...]
    keys: frozenset[str]
    parts: Mapping[int, Part]
    published: bool = True


@dataclass(frozen=True)
class Look:
    """The captured tables at one moment. Transactions with numbers below ``horizon`` had ended by then."""

    horizon: int
    shapes: Mapping[int, Shape]

    def to_json(self) -> str:
        tables = [
            [
                s.oid,
                s.name.schema,
                s.name.table,
                list(s.columns),
                sorted(s.keys),
                [[o, p.file, int(p.filled), p.toast] for o, p in s.parts.items()],
            ]
            for s in self.shapes.values()
        ]
        return json.dumps({"horizon": self.horizon, "tables": tables}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Look | None:
        """None for what ``to_json`` did not write."""
        try:
            content = json.loads(text)
            shapes = [
                Shape(int(oid), TableName(schema, table), tuple(columns), frozenset(keys), _parts(parts))
                for oid, schema, table, columns, keys, parts in content["tables"]
            ]
            return cls(int(content["horizon"]), {s.oid: s for s in shapes})
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True)
class Differences:
    """What lies between two looks. ``changed`` stops the replication, ``doubts`` are for the log.

    ``emptied`` and ``doubted`` are the same for tables all of whose partitions were emptied, by oid: nothing, if the
    log holds a TRUNCATE of the whole table.
    """

    changed: LayoutChanged | None = None
    doubts: Sequence[str] = ()
    emptied: Mapping[int, LayoutChanged] = field(default_factory=dict)
    doubted: Mapping[int, str] = field(default_factory=dict)


# --- looking --------------------------------------------------------------------------------------------------------


def look(connection: Connection, publication: str, oids: Sequence[int]) -> Look:
    """The tables as they are. Raises PositionLost when the publication is not the one that we made."""
    whole = "prqual is null and prattrs is null" if connection.info.server_version >= 150000 else "true"
    with mapped("source"):
        horizon = connection.execute(_HORIZON).fetchone()
        options = connection.execute(_PUBLICATION, [publication]).fetchone()
        rows = connection.execute(_TABLES.replace("<whole>", whole).encode(), [publication, list(oids)]).fetchall()
    if options != (True,):
        raise PositionLost(f"publication {publication} is gone, or leaves out changes now: what it left out is lost")
    assert horizon is not None
    shapes = [
        Shape(int(oid), TableName(schema, name), tuple(columns), frozenset(keys), _parts(parts or ()), bool(whole))
        for oid, schema, name, columns, keys, parts, whole in rows
    ]
    return Look(int(horizon[0]), {s.oid: s for s in shapes})


def _parts(rows: Any) -> dict[int, Part]:
    return {int(oid): Part(int(file), bool(filled), int(toast)) for oid, file, filled, toast in rows}


def require_published(seen: Look, publication: str) -> None:
    """Raise PositionLost naming tables that the publication does not hold whole."""
    left_out = sorted(str(s.name) for s in seen.shapes.values() if not s.published)
    if left_out:
        raise PositionLost(
            f"publication {publication} does not hold {', '.join(left_out[:20])} whole: their changes were not kept",
            tables=left_out[:100],
        )


# --- comparing ------------------------------------------------------------------------------------------------------


def compare(connection: Connection, before: Look, now: Look) -> Differences:
    """What happened to the tables of ``before`` that matters and that the log does not show, or shows late."""
    doubts: list[str] = []
    emptied: dict[int, LayoutChanged] = {}
    doubted: dict[int, str] = {}
    for oid, old in before.shapes.items():
        new = now.shapes.get(oid)
        what, remedy = _changed(connection, old, new)
        if what:
            return Differences(LayoutChanged(f"{old.name}: {what}", remedy=remedy, table=str(old.name)))
        assert new is not None
        if old.parts == new.parts:
            continue
        gone, maybe, whole = _emptied(connection, old, new, before.horizon)
        if gone:
            named = ", ".join(sorted(map(str, gone))[:20])
            error = LayoutChanged(
                f"{old.name}: its partition {named} was truncated by itself, or rewritten by ALTER TABLE: neither is "
                "in the log",
                remedy=ROWS_REMEDY,
                table=str(old.name),
            )
            if not whole:
                return Differences(error)
            emptied[oid] = error
        elif maybe:
            named = ", ".join(sorted(map(str, maybe))[:20])
            line = (
                f"{old.name}: its partition {named} is empty, in another file. After DELETE and VACUUM FULL all is "
                "well; if it was truncated by itself and analysed, the target still has its rows, as the log does not "
                "show that: validate the table"
            )
            if whole:
                doubted[oid] = line
            else:
                doubts.append(line)
    return Differences(None, doubts, emptied, doubted)


def _changed(connection: Connection, before: Shape, now: Shape | None) -> tuple[str, str]:
    """What happened to a table and what to do about it; '' if nothing did that matters."""
    if now is None:
        return "it was dropped on the source", ROWS_REMEDY
    if now.name != before.name:
        return f"it was renamed on the source, to {now.name}", ROWS_REMEDY
    if now.columns != before.columns:
        names = {c.split(" ", 3)[3] for c in set(before.columns) ^ set(now.columns)}
        return f"its columns were changed on the source: {', '.join(sorted(names))}", COLUMNS_REMEDY
    if before.keys - now.keys:
        return "a unique key of it was dropped on the source, and the target still has it", COLUMNS_REMEDY
    if before.parts.keys() - now.parts.keys():
        return "a partition of it was detached or dropped on the source, and its rows with it", ROWS_REMEDY
    for part in sorted(now.parts.keys() - before.parts.keys()):
        name = _filled_before(connection, part)
        if name:
            return f"partition {name} was attached on the source, with rows that it had before", ROWS_REMEDY
    return "", ""


def columns_followed(before: Shape, now: Shape) -> bool:
    """Whether columns were only added, dropped and renamed: a target that has the same columns has the same values.

    One of another type may hold other values, and so does one that has the name that another one had.
    """
    old, new = dict(_columns(before)), dict(_columns(now))
    names = {name for _, name in old.values()}
    retyped = any(old[n][0] != new[n][0] for n in old.keys() & new.keys())
    reused = any(name in names and (n not in old or old[n][1] != name) for n, (_, name) in new.items())
    return not retyped and not reused


def columns_added(before: Shape, now: Shape) -> tuple[str, ...]:
    old = dict(_columns(before))
    return tuple(name for number, (_, name) in _columns(now) if number not in old)


def _columns(shape: Shape) -> Iterator[tuple[int, tuple[str, str]]]:
    """Number -> (type, name)."""
    for column in shape.columns:
        number, type, modifier, name = column.split(" ", 3)
        yield int(number), (f"{type} {modifier}", name)


def _filled_before(connection: Connection, part: int) -> str:
    """The name of a new partition if it has rows older than its place in the table; the log never shows those."""
    with mapped("source"):
        found = connection.execute(_LEAF, [part]).fetchone()
        if found is None:
            return ""
        name, attached, command = TableName(found[0], found[1]), found[2], found[3]
        query = _OLDER_ROWS.replace("<table>", qualified(name).replace("%", "%%"))
        row = connection.execute(query.encode(), [attached, attached, command]).fetchone()
    return str(name) if row == (True,) else ""


def _emptied(
    connection: Connection, before: Shape, now: Shape, horizon: int
) -> tuple[list[TableName], list[TableName], bool]:
    """Partitions that lost their rows, those that may have, and whether these are all that had any.

    TRUNCATE of one leaves no trace in a log that is published by the root, but another file. So do VACUUM FULL and
    CLUSTER, which keep the rows and the numbers of the transactions that wrote them: a single row from before the last
    look proves that nothing was truncated. Without one it is taken to be. Only an empty partition whose number of rows
    is known may have been deleted from and rewritten: TRUNCATE leaves the number unknown, until somebody asks for it.
    """
    gone: list[TableName] = []
    maybe: list[TableName] = []
    filled = 0
    known = 0 if connection.info.server_version >= 140000 else 1  # before, an unknown number of rows was 0 too
    query = _REWRITTEN.replace("<known>", str(known)).replace(" % ", " %% ")
    for oid, old in before.parts.items():
        filled += old.filled
        if not old.filled or now.parts[oid].file == old.file:
            continue
        with mapped("source"):
            row = connection.execute(query.encode(), [horizon, oid]).fetchone()
            if row is None:
                continue  # dropped since: the next look tells
            name, unknown, age = TableName(row[0], row[1]), row[2], row[3]
            if _has_row(connection, name, f"age(xmin) > {int(age)}"):
                continue
            altered = now.parts[oid].toast != old.toast
            vacuumed = not altered and not unknown and not _has_row(connection, name, "true")
            (maybe if vacuumed else gone).append(name)
    return gone, maybe, len(gone) + len(maybe) == filled


def _has_row(connection: Connection, name: TableName, condition: str) -> bool:
    """Whether there is such a row. One that is not found soon is taken not to be: rows that were kept come first."""
    query = f"select exists (select from only {qualified(name)} where {condition})"  # noqa: S608 - quoted
    with connection.transaction():
        connection.execute(f"set local statement_timeout = '{SCAN_SECONDS}s'".encode())
        try:
            with connection.transaction():
                return connection.execute(query.encode()).fetchone() == (True,)
        except psycopg.errors.QueryCanceled:
            return False
