"""What tables of the database are made of, as its own catalogue says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from whimbrel.connectors.spanner.config import DEFAULT_SCHEMA
from whimbrel.connectors.spanner.connection import SpannerSession
from whimbrel.connectors.spanner.dialect import ROW, SpannerDialect
from whimbrel.connectors.spanner.mutations import Shape
from whimbrel.errors import TableMissing
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, ForeignKey, Index, Table

_CATALOGUE = "information_schema"
_COLUMNS = (
    "SELECT table_schema, table_name, column_name, spanner_type, is_nullable, column_default, generation_expression "  # noqa: S608
    f"FROM {_CATALOGUE}.columns WHERE {{0}} ORDER BY table_schema, table_name, ordinal_position"
)
_INDEXES = (
    "SELECT i.table_schema, i.table_name, i.index_name, i.index_type, i.is_unique, i.is_null_filtered, "  # noqa: S608
    "i.spanner_is_managed, c.column_name, c.ordinal_position, c.column_ordering "
    f"FROM {_CATALOGUE}.indexes i JOIN {_CATALOGUE}.index_columns c ON c.table_schema = i.table_schema "
    "AND c.table_name = i.table_name AND c.index_name = i.index_name AND c.index_type = i.index_type WHERE {0} "
    "ORDER BY i.index_name, c.ordinal_position"
)
_FOREIGN_KEYS = (
    "SELECT k.table_schema, k.table_name, r.constraint_name, k.column_name, u.table_schema, u.table_name, "  # noqa: S608
    f"u.column_name, r.delete_rule FROM {_CATALOGUE}.referential_constraints r "
    f"JOIN {_CATALOGUE}.key_column_usage k ON k.constraint_schema = r.constraint_schema "
    "AND k.constraint_name = r.constraint_name "
    f"JOIN {_CATALOGUE}.key_column_usage u ON u.constraint_schema = r.unique_constraint_schema "
    "AND u.constraint_name = r.unique_constraint_name AND u.ordinal_position = k.position_in_unique_constraint "
    "WHERE {0} ORDER BY r.constraint_name, k.ordinal_position"
)


@dataclass(frozen=True)
class Found:
    """A table as it is there. ``entries`` has the columns of an entry of each index, those of keys that Spanner makes
    for foreign keys too; ``null_filtered`` the names of those that leave rows with NULL out."""

    table: Table
    key: tuple[str, ...]
    entries: tuple[int, ...]
    null_filtered: frozenset[str]


def reflect(session: SpannerSession, dialect: SpannerDialect, names: Sequence[TableName]) -> Mapping[TableName, Found]:
    """Those of the names that exist. The key that is made for tables without one is no column of theirs."""
    wanted = [n for n in dict.fromkeys(names) if not (dialect.refused_name(n.table) or dialect.refused_name(n.schema))]
    if not wanted:
        return {}
    columns: dict[TableName, list[Column]] = defaultdict(list)
    for schema, name, column, native, nullable, default, generated in session.query(_COLUMNS.format(_are(wanted))):
        made = Column(
            column, dialect.types.read(native), nullable=nullable == "YES", default=default, generated=generated
        )
        columns[_named(schema, name)].append(made)
    keys, indexes = _indexes(session, wanted)
    foreign = _foreign_keys(session, wanted)
    found = {}
    for name in wanted:
        if name not in columns:
            continue
        key = keys.get(name, ())
        own = tuple(c for c in columns[name] if c.name != ROW)
        plain = tuple(index for index, managed, _ in indexes[name] if not managed)
        entries = tuple(len({*i.columns, *i.include, *key}) for i, _, _ in indexes[name])
        filtered = frozenset(i.name for i, _, is_filtered in indexes[name] if is_filtered)
        primary = () if key == (ROW,) else key
        table = Table(name, own, primary, indexes=plain, foreign_keys=tuple(foreign.get(name, ())))
        found[name] = Found(table, key, entries, filtered)
    return found


def shape_of(session: SpannerSession, dialect: SpannerDialect, name: TableName) -> Shape:
    """What mutations of a table need to know. Raises TableMissing."""
    found = reflect(session, dialect, [name]).get(name)
    if found is None:
        raise TableMissing(f"the target has no table {name}", tables=[str(name)])
    plain = name.table if name.schema == DEFAULT_SCHEMA else f"{name.schema}.{name.table}"
    documents = frozenset(c.name for c in found.table.columns if c.type.native == "JSON")
    return Shape(plain, found.key, found.entries, documents)


def _indexes(
    session: SpannerSession, names: Sequence[TableName]
) -> tuple[dict[TableName, tuple[str, ...]], dict[TableName, list[tuple[Index, bool, bool]]]]:
    """Primary keys, and of each other index whether Spanner made it, and whether it leaves rows with NULL out."""
    keys: dict[TableName, tuple[str, ...]] = {}
    parts: dict[tuple[TableName, str], list[tuple[str, int | None, str | None]]] = defaultdict(list)
    facts: dict[tuple[TableName, str], tuple[bool, bool, bool]] = {}
    for row in session.query(_INDEXES.format(_are(names, "i."))):
        schema, name, index, kind, unique, filtered, managed, column, place, order = row
        table = _named(schema, name)
        if kind == "PRIMARY_KEY":
            keys[table] = (*keys.get(table, ()), column)
            continue
        parts[table, index].append((column, place, order))
        facts[table, index] = (bool(unique), bool(managed), bool(filtered))
    found: dict[TableName, list[tuple[Index, bool, bool]]] = defaultdict(list)
    for (table, name), columns in parts.items():
        unique, managed, filtered = facts[table, name]
        ordered = [(c, order) for c, place, order in columns if place is not None]
        stored = tuple(c for c, place, _ in columns if place is None)
        down = tuple((order or "").upper().startswith("DESC") for _, order in ordered)
        index = Index(name, tuple(c for c, _ in ordered), unique, descending=down, include=stored)
        found[table].append((index, managed, filtered))
    return keys, found


def _foreign_keys(session: SpannerSession, names: Sequence[TableName]) -> dict[TableName, list[ForeignKey]]:
    return _keys(session.query(_FOREIGN_KEYS.format(_are(names, "k."))))


def referring(session: SpannerSession, names: Sequence[TableName]) -> dict[TableName, list[ForeignKey]]:
    """Foreign keys of any table that refer to these."""
    return _keys(session.query(_FOREIGN_KEYS.format(_are(names, "u."))))


def _keys(rows: Sequence[tuple[str, ...]]) -> dict[TableName, list[ForeignKey]]:
    found: dict[tuple[TableName, str], ForeignKey] = {}
    for schema, name, key, column, parent_schema, parent, parent_column, rule in rows:
        table = _named(schema, name)
        before = found.get((table, key))
        columns = (*(before.columns if before else ()), column)
        parents = (*(before.parent_columns if before else ()), parent_column)
        found[table, key] = ForeignKey(key, columns, _named(parent_schema, parent), parents, on_delete=rule)
    sorted_out: dict[TableName, list[ForeignKey]] = defaultdict(list)
    for (table, _), foreign_key in found.items():
        sorted_out[table].append(foreign_key)
    return sorted_out


def _named(schema: str, name: str) -> TableName:
    return TableName(schema or DEFAULT_SCHEMA, name)


def _are(names: Sequence[TableName], alias: str = "") -> str:
    return " OR ".join(_conditions(names, alias))


def _conditions(names: Sequence[TableName], alias: str) -> Iterator[str]:
    by_schema: dict[str, list[str]] = defaultdict(list)
    for name in names:
        by_schema["" if name.schema == DEFAULT_SCHEMA else name.schema].append(name.table)
    for schema, tables in by_schema.items():
        listed = ", ".join(f"'{table}'" for table in tables)
        yield f"({alias}table_schema = '{schema}' AND {alias}table_name IN ({listed}))"
