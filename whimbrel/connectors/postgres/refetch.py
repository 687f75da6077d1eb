"""Asks the source for rows as they are now, where its log left values out."""

from __future__ import annotations

from binascii import unhexlify

import pyarrow as pa
from psycopg.pq.abc import PGresult

from whimbrel.connectors.postgres.connection import identifier, literal, mapped, qualified
from whimbrel.connectors.postgres.wire import Connection
from whimbrel.model.table import Column, Table

KEYS_AT_ONCE = 1000


def fetch_rows(connection: Connection, table: Table, keys: pa.RecordBatch) -> pa.RecordBatch:
    """The rows with these keys, in canonical text and the table's loaded columns. Keys that are gone are left out."""
    columns = table.loaded_columns
    values: list[list[bytes | None]] = [[] for _ in columns]
    for start in range(0, keys.num_rows, KEYS_AT_ONCE):
        query = _query(connection, table, keys.slice(start, KEYS_AT_ONCE))
        with mapped("source"):
            result = connection.execute(query.encode()).pgresult
        assert result is not None
        for number, column in enumerate(columns):
            values[number] += [canonical(column, result.get_value(r, number)) for r in range(result.ntuples)]
    return pa.RecordBatch.from_arrays([pa.array(v, pa.binary()) for v in values], names=[c.name for c in columns])


def _query(connection: Connection, table: Table, keys: pa.RecordBatch) -> str:
    keyed = [table.column(name) for name in keys.schema.names]
    rows = zip(*(_literals(c, keys.column(c.name)) for c in keyed), strict=True)
    listed = ", ".join(f"({', '.join(row)})" for row in rows)
    names = ", ".join(f"k{i}" for i in range(len(keyed)))
    matches = " and ".join(f"t.{identifier(c.name)} = k.k{i}" for i, c in enumerate(keyed))
    chosen = ", ".join(f"t.{identifier(c.name)}" for c in table.loaded_columns)
    return f"select {chosen} from (values {listed}) k({names}) join {_from(connection, table)} t on {matches}"  # noqa: S608


def _literals(column: Column, keys: pa.BinaryArray) -> list[str]:
    """Typed constants, so that the key's index is used."""
    texts = [f"\\x{key.hex()}" if _is_binary(column) else key.decode() for key in keys.to_pylist()]
    return [f"{literal(text)}::{column.type.native}" for text in texts]


def _from(connection: Connection, table: Table) -> str:
    """The table without those that inherit from it, unless they are its partitions."""
    with mapped("source"):
        kind = connection.execute(
            "select c.relkind::text from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname = %s and c.relname = %s",
            [table.name.schema, table.name.table],
        ).fetchone()
    return qualified(table.name) if kind == ("p",) else f"only {qualified(table.name)}"


def canonical(column: Column, value: bytes | None) -> bytes | None:
    """What the server sends as text, as canonical text."""
    return unhexlify(value[2:]) if value is not None and _is_binary(column) else value


def _is_binary(column: Column) -> bool:
    return bool(pa.types.is_binary(column.type.arrow))


def raw_keys(table: Table, result: PGresult) -> pa.RecordBatch:
    """Keys that a server has sent as text, as canonical values."""
    columns = [table.column(name) for name in table.key]
    values = [[canonical(c, result.get_value(r, i)) for r in range(result.ntuples)] for i, c in enumerate(columns)]
    return pa.RecordBatch.from_arrays([pa.array(v, pa.binary()) for v in values], names=list(table.key))
