"""What the target's catalog says about the tables that changes are applied to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from whimbrel.connectors.postgres.connection import identifier
from whimbrel.connectors.postgres.source.schema import unqualified_names_off
from whimbrel.connectors.postgres.target.merge import Pair
from whimbrel.connectors.postgres.wire import Connection
from whimbrel.errors import TableMissing, TargetPermissionDenied
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, Table

_WANTED = """
wanted as (
    select c.oid, n.nspname as schema, c.relname as name
    from unnest(%s::text[], %s::text[]) as w(schema, name)
    join pg_namespace n on n.nspname = w.schema join pg_class c on c.relnamespace = n.oid and c.relname = w.name)
"""

_UNIQUES = f"""
with {_WANTED}
select w.schema, w.name, i.indisexclusion or i.indexprs is not null or i.indpred is not null as special,
       array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality u(attnum, place)
             join pg_attribute a on a.attrelid = w.oid and a.attnum = u.attnum where u.place <= i.indnkeyatts),
       x.relname::text,
       substring(pg_get_indexdef(i.indexrelid) from ' USING (.*)$')
from wanted w join pg_index i on i.indrelid = w.oid join pg_class x on x.oid = i.indexrelid
where i.indisunique or i.indisexclusion
"""  # noqa: S608

_COLUMNS = f"""
with recursive {_WANTED}, typed as (
    select w.schema, w.name, a.attname, a.attidentity = 'a' as always, t.typtype = 'd' as domain,
           t.typbasetype as base, t.typtypmod as modifier,
           case when not c.collisdeterministic then quote_ident(n.nspname) || '.' || quote_ident(c.collname)
                when t.typname = 'citext' then 'citext' end as folds
    from wanted w join pg_attribute a on a.attrelid = w.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid left join pg_collation c on c.oid = a.attcollation
    left join pg_namespace n on n.oid = c.collnamespace
    union all
    select y.schema, y.name, y.attname, y.always, true, t.typbasetype, t.typtypmod,
           coalesce(y.folds, case when t.typname = 'citext' then 'citext' end)
    from typed y join pg_type t on t.oid = y.base where y.domain and t.typtype = 'd')
select y.schema, y.name, y.attname, y.always,
       case when y.domain then format_type(y.base, y.modifier) end,
       coalesce(y.folds, case when b.typname = 'citext' then 'citext' end)
from typed y left join pg_type b on b.oid = y.base where b.typtype is distinct from 'd'
"""  # noqa: S608

_LOUD = f"""
with {_WANTED}
select distinct w.schema || '.' || w.name from wanted w join pg_trigger g on g.tgrelid = w.oid
where g.tgenabled in ('O', 'A') order by 1
"""  # noqa: S608


def pair_tables(connection: Connection, source: Sequence[Table], target: Sequence[Table]) -> list[Pair]:
    """Every source table with its target table and how rows can be brought into that. Raises TableMissing."""
    with unqualified_names_off(connection):
        return pair_seen(connection, source, target)


def pair_seen(connection: Connection, source: Sequence[Table], target: Sequence[Table]) -> list[Pair]:
    """The same inside the caller's transaction, in which unqualified names are off."""
    uniques = connection.execute(_UNIQUES.encode(), _names(target)).fetchall()
    columns = connection.execute(_COLUMNS.encode(), _names(target)).fetchall()
    always: dict[TableName, set[str]] = {t.name: set() for t in target}
    bases: dict[TableName, dict[str, str]] = {t.name: {} for t in target}
    special: dict[TableName, bool] = {}
    plain: dict[TableName, list[tuple[str, ...]]] = {t.name: [] for t in target}
    folding: dict[TableName, dict[str, str]] = {t.name: {} for t in target}
    for schema, name, column, numbered, base, folds in columns:
        table = TableName(schema, name)
        special.setdefault(table, False)
        if numbered:
            always[table].add(column)
        if base is not None:
            bases[table][column] = base
        if folds:
            folding[table][column] = folds
    missing = sorted(str(t.name) for t in target if t.name not in special)
    if missing:
        raise TableMissing(f"no such table on the target: {', '.join(missing[:20])}", tables=missing[:100])
    for schema, name, is_special, unique, _, _ in uniques:
        table = TableName(schema, name)
        special[table] = special[table] or is_special
        if not is_special:
            plain[table].append(tuple(unique))
    pairs = []
    for number, (from_table, to_table) in enumerate(zip(source, target, strict=True)):
        key, name = set(from_table.key), to_table.name
        others = tuple(u for u in plain[name] if not key or not key <= set(u))
        exact = not key & folding[name].keys() and all(_one_spelling(from_table.column(k)) for k in from_table.key)
        mergeable = exact and not others and not special[name] and always[name] <= key
        shared = tuple(u for u in others if any(set(own) <= set(u) for own in from_table.uniques))
        coarser = frozenset(c for c, how in folding[name].items() if not _folds_alike(from_table, c, how))
        pairs.append(Pair(number, from_table, to_table, others, shared, coarser, mergeable, bases[name]))
    return pairs


def stricter(connection: Connection, source: Sequence[Table], wanted: Sequence[Table]) -> Iterator[str]:
    """``schema.table: what`` may make two rows of the source one in tables that exist, though not in those that we
    would make, which are ``wanted``."""
    with unqualified_names_off(connection):
        uniques = connection.execute(_UNIQUES.encode(), _names(wanted)).fetchall()
    pairs = {p.target.name: p for p in pair_tables(connection, source, wanted)}
    keyed = set()
    for schema, name, special, columns, index, definition in uniques:
        pair = pairs[TableName(schema, name)]
        keyed |= {pair.target.name} if not special and set(columns) <= set(pair.key) else set()
        shared = not special and any(set(own) <= set(columns) for own in pair.source.uniques)
        if not shared and not any(i.name == index for i in pair.target.indexes):
            yield f"{pair.target.name}: unique key {index} ({definition}) is none of the source's"
        for column in sorted(set(columns) & pair.folding):
            yield f"{pair.target.name}.{column}: folds texts, in unique key {index}, that the source may tell apart"
    for pair in pairs.values():
        if pair.key and pair.target.name not in keyed:
            yield f"{pair.target.name}: has no unique key on {', '.join(pair.key)}"


def _folds_alike(source: Table, column: str, how: str) -> bool:
    """Whether the source has the column under the same collation, or as the same type."""
    found = next((c.type for c in source.columns if c.name == column), None)
    return found is not None and (found.collation == how or found.native.rpartition(".")[2] == how)


def _one_spelling(column: Column) -> bool:
    """Whether equal values of the column always have the same text; numeric's 1.0 and 1.00, for one, have not."""
    arrow, annotation = column.type.arrow, column.type.annotation
    if annotation is Annotation.NONE:
        return not pa.types.is_floating(arrow)
    return annotation in (Annotation.CHAR, Annotation.UUID, Annotation.ENUM, Annotation.BIT, Annotation.YEAR)


def require_quiet_tables(connection: Connection, target: Sequence[Table]) -> None:
    """Raise TargetPermissionDenied naming tables whose triggers or foreign keys would fire, and the remedy."""
    loud = [row[0] for row in connection.execute(_LOUD.encode(), _names(target)).fetchall()]
    if not loud:
        return
    user = identifier(connection.info.user)
    raise TargetPermissionDenied(
        f"the target's user {connection.info.user!r} may not set session_replication_role, and these tables have "
        f"triggers or foreign keys that replicated rows must not fire: {', '.join(loud[:20])}",
        remedy=f"Run GRANT SET ON PARAMETER session_replication_role TO {user} on the target (PostgreSQL 15 or newer), "
        "or connect as a superuser.",
        tables=loud[:100],
    )


def _names(tables: Sequence[Table]) -> list[list[str]]:
    return [[t.name.schema for t in tables], [t.name.table for t in tables]]
