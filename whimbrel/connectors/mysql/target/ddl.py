"""Statements from tables in the target's own terms, as conversion.py makes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from whimbrel.connectors.mysql import particulars
from whimbrel.connectors.mysql.connection import qualified, quote_identifier, quote_identifiers, quote_literal
from whimbrel.connectors.mysql.source.schema import key_parts
from whimbrel.connectors.mysql.target.conversion import Conversion
from whimbrel.connectors.mysql.types import canonical
from whimbrel.connectors.protocols import Rendered
from whimbrel.model.difference import Difference, Kind
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, ColumnType, ForeignKey, Index, Table


def render(found: Conversion) -> Rendered:
    """DDL that makes these tables, then their indexes and foreign keys, and DDL that drops them."""
    schemas = dict.fromkeys(t.name.schema for t in found.tables)
    databases = [f"CREATE DATABASE IF NOT EXISTS {quote_identifier(s)}" for s in schemas]
    drops = [f"DROP TABLE IF EXISTS {qualified(t.name)}" for t in reversed(found.tables)]
    return Rendered(
        tables=(*databases, *(create_table(t) for t in found.tables)),
        objects=tuple(s for t in found.tables for s in create_indexes(t))
        + tuple(f"ALTER TABLE {qualified(t.name)} ADD {foreign_key(k)}" for t in found.tables for k in t.foreign_keys),
        drops=("SET FOREIGN_KEY_CHECKS = 0", *drops, "SET FOREIGN_KEY_CHECKS = 1") if drops else (),
        notes=tuple(found.notes),
    )


def create_table(table: Table) -> str:
    """One CREATE TABLE with primary and unique keys, checks and defaults."""
    lines = [column_clause(c, table) for c in table.columns]
    if table.primary_key:
        lines.append(f"PRIMARY KEY ({particulars.of(table).key_parts or quote_identifiers(table.primary_key)})")
    lines += [index_clause(i) for i in table.indexes if stands_inline(i, table)]
    for check in table.checks:
        name = f"CONSTRAINT {quote_identifier(check.name)} " if check.name else ""
        lines.append(f"{name}CHECK ({check.expression}){'' if check.enforced else ' NOT ENFORCED'}")
    charset = (table.collation or "").partition("_")[0]
    tail = f"ENGINE={particulars.of(table).engine} DEFAULT CHARSET={charset} COLLATE={table.collation}"
    comment = f" COMMENT={quote_literal(table.comment)}" if table.comment else ""
    body = ",\n  ".join(lines)
    return f"CREATE TABLE IF NOT EXISTS {qualified(table.name)} (\n  {body}\n) {tail}{comment}"


def stands_inline(index: Index, table: Table) -> bool:
    """Unique keys, and the key that AUTO_INCREMENT needs, are made with the table."""
    numbered = next((c.name for c in table.columns if c.identity), None)
    return index.unique or (index.columns[:1] == (numbered,) and table.primary_key[:1] != (numbered,))


def column_clause(column: Column, table: Table) -> str:
    """A column as CREATE TABLE has it."""
    mariadb = particulars.of(table).mariadb
    words = [f"{quote_identifier(column.name)} {column.type.native}{_attributes(column.type, mariadb=mariadb)}"]
    if column.generated is not None:
        words.append(f"GENERATED ALWAYS AS ({column.generated}) {'STORED' if column.generated_stored else 'VIRTUAL'}")
        if not column.nullable and not mariadb:
            words.append("NOT NULL")  # MariaDB has no such clause on computed columns
    else:
        words.append("NULL" if column.nullable else "NOT NULL")
    if column.default is not None:
        words.append(f"DEFAULT {column.default}")
    if column.on_update:
        words.append(f"ON UPDATE {column.on_update}")
    if column.identity is not None:
        words.append("AUTO_INCREMENT")
    if column.invisible:
        words.append("INVISIBLE")
    if column.comment:
        words.append(f"COMMENT {quote_literal(column.comment)}")
    return " ".join(words)


def _attributes(type_: ColumnType, *, mariadb: bool) -> str:
    """Character set and reference system."""
    if type_.collation:
        return f" CHARACTER SET {type_.collation.partition('_')[0]} COLLATE {type_.collation}"
    if type_.srid:
        return f" REF_SYSTEM_ID={type_.srid}" if mariadb else f" SRID {type_.srid}"
    return ""


def create_indexes(table: Table) -> Iterator[str]:
    """The indexes that create_table leaves out."""
    for index in table.indexes:
        if not stands_inline(index, table):
            kind = f"{index.method.upper()} " if index.method in ("fulltext", "spatial") else ""
            name = quote_identifier(index.name)
            yield f"CREATE {kind}INDEX {name} ON {qualified(table.name)} ({_key_parts(index)})"


def index_clause(index: Index) -> str:
    """The index as it stands in CREATE TABLE, or behind ADD in ALTER TABLE."""
    kind = "UNIQUE " if index.unique else f"{index.method.upper()} " if index.method in ("fulltext", "spatial") else ""
    return f"{kind}KEY {quote_identifier(index.name)} ({_key_parts(index)})"


def _key_parts(index: Index) -> str:
    return index.expression if index.expression is not None else key_parts(index)


def foreign_key(key: ForeignKey) -> str:
    """The constraint as it stands behind ADD in ALTER TABLE."""
    return (
        f"CONSTRAINT {quote_identifier(key.name)} FOREIGN KEY ({quote_identifiers(key.columns)})"
        f" REFERENCES {qualified(key.parent)} ({quote_identifiers(key.parent_columns)})"
        f" ON DELETE {key.on_delete} ON UPDATE {key.on_update}"
    )


def differences(wanted: Sequence[Table], existing: Sequence[Table]) -> tuple[Difference, ...]:
    """How existing tables differ in columns from what we would make."""
    found: list[Difference] = []
    there = {t.name: t for t in existing}
    for table in wanted:
        if table.name not in there:
            continue
        columns = {c.name: c for c in there[table.name].columns}
        for column in table.columns:
            found += _difference(table.name, column, columns.pop(column.name, None))
        found += [_extra(table.name, column) for column in columns.values()]
    return tuple(found)


def _difference(table: TableName, wanted: Column, actual: Column | None) -> Iterator[Difference]:
    if actual is None:
        yield Difference(table, wanted.name, Kind.MISSING, "does not exist", fatal=True)
        return
    if canonical(wanted.type.native) != canonical(actual.type.native):
        text = f"is {actual.type.native}, expected {wanted.type.native}"
        yield Difference(table, wanted.name, Kind.TYPE, text)
    if wanted.nullable and not actual.nullable and wanted.generated is None:
        yield Difference(table, wanted.name, Kind.NULLABILITY, "is NOT NULL, expected NULL")
    if (wanted.generated is None) != (actual.generated is None):
        text = f"is {'not ' if actual.generated is None else ''}computed"
        yield Difference(table, wanted.name, Kind.COMPUTED, text, fatal=True)


def _extra(table: TableName, column: Column) -> Difference:
    given = column.nullable or column.default is not None or column.identity or column.generated is not None
    return Difference.extra(table, column.name, given=bool(given))
