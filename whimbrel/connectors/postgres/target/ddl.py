"""DDL for tables that are already PostgreSQL's (see convert.py). Every statement may run twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from whimbrel.connectors.postgres import particulars, usertypes
from whimbrel.connectors.postgres.connection import identifier, identifiers, literal, qualified
from whimbrel.connectors.postgres.source import sequences
from whimbrel.connectors.postgres.target.convert import Converted
from whimbrel.connectors.postgres.target.names import fitting
from whimbrel.connectors.postgres.usertypes import unless_exists
from whimbrel.connectors.protocols import Rendered
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, ForeignKey, Index, Table

_NAME = r'(?:"(?:[^"]|"")+"|[^\s".(]+)'
_INDEX_HEAD = re.compile(rf"CREATE (?:UNIQUE )?INDEX {_NAME} ON (?:ONLY )?{_NAME}(?:\.{_NAME})? (?=USING )")
_LIST = r'\((?:[^")]|"(?:[^"]|"")*")*\)'
_KEY_HEAD = re.compile(rf"FOREIGN KEY {_LIST} REFERENCES {_NAME}(?:\.{_NAME})?{_LIST}")
_NOT_VALID = " NOT VALID"


def render(converted: Converted, *, virtual_columns: bool) -> Rendered:
    """The scripts of a whole migration. ``virtual_columns``: the target can compute columns when they are read (18)."""
    tables = converted.tables
    types = list(dict.fromkeys(t for table in tables for t in particulars.of(table).types))
    schemas = sorted({t.name.schema for t in tables} | {t.schema for t in types})
    uses = [use for table in tables for use in particulars.of(table).sequences.values() if not use.identity]
    notes = list(converted.notes)
    if not virtual_columns:
        notes += [f"{t.name}.{c.name}: computed when written, not when read" for t in tables for c in _virtual(t)]
    return Rendered(
        tables=(
            *map(create_schema, schemas),
            *map(usertypes.create, types),
            *dict.fromkeys(sequences.create(use) for use in uses),
            *(create_table(t, virtual_columns=virtual_columns) for t in tables),
            *(
                sequences.own(use, table.name)
                for table in tables
                for use in particulars.of(table).sequences.values()
                if use.owned and not use.identity
            ),
        ),
        objects=(
            *(statement for t in tables for statement in late_checks(t)),
            *(create_index(t.name, i) for t in tables for i in t.indexes if not i.constraint),
            *(add_foreign_key(t, k) for t in tables for k in t.foreign_keys),
            *(statement for t in tables for statement in _comments(t)),
        ),
        drops=tuple(drops(tables)),
        notes=tuple(notes),
    )


def _virtual(table: Table) -> list[Column]:
    return [c for c in table.columns if c.generated is not None and not c.generated_stored]


def create_schema(name: str) -> str:
    """Asks the catalog first: CREATE SCHEMA IF NOT EXISTS needs the right to create one even if it exists."""
    exists = f"EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {literal(name)})"
    return unless_exists(exists, f"CREATE SCHEMA {identifier(name)}")


def create_table(table: Table, *, virtual_columns: bool = True) -> str:
    """With primary key, unique and exclusion constraints, checks, defaults, identity and generated columns."""
    lines = [_column(table, c, virtual_columns=virtual_columns) for c in table.columns]
    lines += [f"CONSTRAINT {identifier(name)} {text}" for name, text in key_constraints(table)]
    lines += [f"CONSTRAINT {identifier(name)} {text}" for name, text in _checks(table) if not text.endswith(_NOT_VALID)]
    return f"CREATE TABLE IF NOT EXISTS {qualified(table.name)} (\n  " + ",\n  ".join(lines) + "\n)"


def _column(table: Table, column: Column, *, virtual_columns: bool) -> str:
    parts = [identifier(column.name), column.type.native]
    if column.type.collation:
        parts.append(f"COLLATE {column.type.collation}")
    if column.generated is not None:
        kept = "VIRTUAL" if virtual_columns and not column.generated_stored else "STORED"
        parts.append(f"GENERATED ALWAYS AS ({column.generated}) {kept}")
    elif column.default is not None:
        parts.append(f"DEFAULT {column.default}")
    elif column.identity is not None:
        parts.append(_identity(table, column))
    if not column.nullable:
        parts.append("NOT NULL")
    return " ".join(parts)


def _identity(table: Table, column: Column) -> str:
    assert column.identity is not None
    when = "ALWAYS" if column.identity.always else "BY DEFAULT"
    use = particulars.of(table).sequences.get(column.name)
    if use is not None:
        options = f"SEQUENCE NAME {use.qualified} {use.options()}"
    else:
        options = f"START WITH {column.identity.start} INCREMENT BY {column.identity.increment}"
    return f"GENERATED {when} AS IDENTITY ({options})"


def _definition(table: Table, name: str | None) -> str | None:
    """A constraint as pg_get_constraintdef gave it, when the table came from PostgreSQL."""
    return particulars.of(table).definitions.get(name) if name else None


def key_constraints(table: Table) -> list[tuple[str, str]]:
    """(name, definition) of the primary key and of the unique and exclusion constraints."""
    keys: list[tuple[str, str]] = []
    if table.primary_key:
        name = table.primary_key_name or fitting(f"{table.name.table}_pkey")
        keys.append((name, _definition(table, name) or f"PRIMARY KEY ({identifiers(table.primary_key)})"))
    for index in table.indexes:
        if index.constraint:
            included = f" INCLUDE ({identifiers(index.include)})" if index.include else ""
            keys.append((index.name, index.expression or f"UNIQUE ({identifiers(index.columns)}){included}"))
    return keys


def _checks(table: Table) -> list[tuple[str, str]]:
    return [(c.name, _definition(table, c.name) or f"CHECK ({c.expression})") for c in table.checks]


def late_checks(table: Table) -> list[str]:
    """Checks that old rows of the source may break: added behind the rows, for new ones."""
    return [add_constraint(table.name, n, text) for n, text in _checks(table) if text.endswith(_NOT_VALID)]


def add_constraint(table: TableName, name: str, definition: str) -> str:
    """ALTER TABLE ADD CONSTRAINT, unless one of that name is there."""
    exists = (
        f"EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE conname = {literal(name)}"
        f" AND conrelid = to_regclass({literal(qualified(table))}))"
    )
    return unless_exists(exists, f"ALTER TABLE {qualified(table)} ADD CONSTRAINT {identifier(name)} {definition}")


def add_foreign_key(table: Table, key: ForeignKey) -> str:
    definition = _definition(table, key.name)
    head = _KEY_HEAD.match(definition) if definition else None
    tail = definition[head.end() :] if definition and head else _actions(key)
    return add_constraint(
        table.name,
        key.name,
        f"FOREIGN KEY ({identifiers(key.columns)}) "
        f"REFERENCES {qualified(key.parent)} ({identifiers(key.parent_columns)}){tail}",
    )


def _actions(key: ForeignKey) -> str:
    deferred = " DEFERRABLE" + (" INITIALLY DEFERRED" if key.initially_deferred else "") if key.deferrable else ""
    return f" ON UPDATE {key.on_update} ON DELETE {key.on_delete}{deferred}"


def create_index(table: TableName, index: Index) -> str:
    """CREATE INDEX IF NOT EXISTS, from the source's own definition where it is more than columns."""
    unique = "UNIQUE " if index.unique else ""
    head = f"CREATE {unique}INDEX IF NOT EXISTS {identifier(index.name)} ON {qualified(table)}"
    if index.expression is not None:
        found = _INDEX_HEAD.match(index.expression)
        assert found, f"not an index definition: {index.expression}"
        return f"{head} {index.expression[found.end() :]}"
    included = f" INCLUDE ({identifiers(index.include)})" if index.include else ""
    return f"{head} USING {index.method} ({', '.join(_index_parts(index))}){included}"


def _index_parts(index: Index) -> Iterable[str]:
    for place, name in enumerate(index.columns):
        prefix = index.prefixes[place] if index.prefixes else None
        down = index.descending and index.descending[place]
        part = f"substring({identifier(name)} from 1 for {prefix})" if prefix else identifier(name)
        yield (f"({part})" if prefix else part) + (" DESC" if down else "")


def _comments(table: Table) -> Iterable[str]:
    if table.comment:
        yield f"COMMENT ON TABLE {qualified(table.name)} IS {literal(table.comment).strip()}"
    for c in table.columns:
        if c.comment:
            where = f"{qualified(table.name)}.{identifier(c.name)}"
            yield f"COMMENT ON COLUMN {where} IS {literal(c.comment).strip()}"


def drops(tables: Sequence[Table]) -> Iterable[str]:
    """Foreign keys first, so that the order of the tables does not matter."""
    for table in tables:
        for key in table.foreign_keys:
            yield f"ALTER TABLE IF EXISTS {qualified(table.name)} DROP CONSTRAINT IF EXISTS {identifier(key.name)}"
    for table in tables:
        yield f"DROP TABLE IF EXISTS {qualified(table.name)}"
