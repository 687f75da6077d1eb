"""Target tables as they stand: which exist, which hold rows, how they differ from what we would make, and reset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import psycopg

from whimbrel.connectors.postgres.connection import identifier, qualified
from whimbrel.connectors.postgres.source.reflection import FIND, Connection, rows
from whimbrel.connectors.postgres.source.schema import reflect
from whimbrel.connectors.postgres.target.finish import has_rows
from whimbrel.connectors.postgres.target.ledger_layout import ensure_schema
from whimbrel.connectors.postgres.target.load import empty_table
from whimbrel.model.difference import Difference, Kind
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, ColumnType, Table


def existing(connection: Connection, names: Sequence[TableName]) -> tuple[TableName, ...]:
    """Those that are tables, in the order asked."""
    found = rows(connection, FIND, [[n.schema for n in names], [n.table for n in names]])
    return tuple(names[r["ordinal"] - 1] for r in found)


def nonempty(connection: Connection, names: Sequence[TableName]) -> tuple[TableName, ...]:
    return tuple(n for n in existing(connection, names) if has_rows(connection, n))


def differences(connection: Connection, tables: Sequence[Table]) -> tuple[Difference, ...]:
    """What differs in the tables that exist. A wider column is no difference."""
    there = set(existing(connection, [t.name for t in tables]))
    wanted = [t for t in tables if t.name in there]
    found = reflect(connection, [t.name for t in wanted])
    return tuple(d for want, have in zip(wanted, found, strict=True) for d in _differences(want, have))


def _differences(want: Table, have: Table) -> Iterator[Difference]:
    columns = {c.name: c for c in have.columns}
    for c in want.columns:
        actual = columns.pop(c.name, None)
        if actual is None:
            yield Difference(want.name, c.name, Kind.MISSING, "is missing", fatal=True)
        elif (actual.generated is None) != (c.generated is None):
            text = f"is {'not ' if c.generated else ''}a generated column"
            yield Difference(want.name, c.name, Kind.COMPUTED, text, fatal=True)
        elif not _holds(actual.type, c.type):
            text = f"is {actual.type.native}, not {c.type.native}"
            yield Difference(want.name, c.name, Kind.TYPE, text)
        elif c.nullable and not actual.nullable:
            yield Difference(want.name, c.name, Kind.NULLABILITY, "does not take NULL")
    for extra in columns.values():
        yield Difference.extra(want.name, extra.name, given=not _must_be_given(extra))


def _holds(actual: ColumnType, wanted: ColumnType) -> bool:
    """Whether the same type, at least as long; user types are compared by name."""
    if wanted.annotation in (Annotation.NATIVE, Annotation.ENUM, Annotation.ARRAY):
        return _bare(actual.native) == _bare(wanted.native)
    same = actual.arrow == wanted.arrow and actual.annotation == wanted.annotation
    return same and (actual.length is None or (wanted.length is not None and actual.length >= wanted.length))


def _bare(native: str) -> str:
    return native.replace('"', "").replace(" .", ".")


def _must_be_given(column: Column) -> bool:
    return not (column.nullable or column.default or column.identity or column.generated)


def reset(connection: Connection, names: Sequence[TableName], mode: Literal["drop", "truncate"]) -> tuple[int, int]:
    """Drop or empty those that exist, as far as nothing outside forbids it; (done, failed)."""
    ensure_schema(connection)
    there = existing(connection, names)
    if mode == "truncate" and there and _truncate_together(connection, there):
        return len(there), 0
    if mode == "drop":
        _drop_foreign_keys(connection, there)
    failed = sum(not _reset_one(connection, name, mode) for name in there)
    return len(there) - failed, failed


def _truncate_together(connection: Connection, names: Sequence[TableName]) -> bool:
    """In one statement foreign keys between the tables do not matter; False when something else forbids it."""
    try:
        connection.execute(f"truncate {', '.join(map(qualified, names))}".encode())
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.InsufficientPrivilege):
        return False
    return True


def _drop_foreign_keys(connection: Connection, names: Sequence[TableName]) -> None:
    """Foreign keys between these tables alone."""
    for table in reflect(connection, names):
        for key in table.foreign_keys:
            if key.parent in names:
                sql = f"alter table {qualified(table.name)} drop constraint if exists {identifier(key.name)}"
                connection.execute(sql.encode())


def _reset_one(connection: Connection, name: TableName, mode: Literal["drop", "truncate"]) -> bool:
    try:
        with connection.transaction():
            if mode == "truncate":
                empty_table(connection, name)
            else:
                connection.execute(f"drop table {qualified(name)}".encode())
                connection.execute(
                    "delete from whimbrel.dropped where schema_name = %s and table_name = %s", [name.schema, name.table]
                )
    except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.InsufficientPrivilege, psycopg.IntegrityError):
        return False
    return True
