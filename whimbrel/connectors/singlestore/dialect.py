"""How SingleStore writes things."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from whimbrel.connectors.singlestore.capabilities import CAPABILITIES
from whimbrel.connectors.singlestore.types import LONGEST_KEY_TEXT, TYPES
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.connectors.sql.typemap import Mapped
from whimbrel.errors import IdentifierRefused
from whimbrel.model.table import Annotation, Column, Table

PREFIX: Final = "whimbrel_"  # of our own tables, which stand in the endpoint's database beside the user's
# The server's default may fold case, or have no characters of four bytes.
_TEXT: Final = " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
_TEXTS: Final = ("VARCHAR", "TEXT", "LONGTEXT", "MEDIUMTEXT")
_PLAIN: Final = {"VARCHAR": "VARCHAR(4096)"}  # of our own columns: an operation, a digit for each column


class SingleStoreDialect(SqlDialect):
    """``database`` is the one that a migration goes to, with our own tables, as no transaction writes to two. Without
    it there is quoting, and no ``own``. ``rowstore``: tables are made to live in memory; else on disk, by columns, as
    the server does by default."""

    title = "SingleStore"
    types = TYPES
    own_schema = ""
    capabilities = CAPABILITIES
    touched = "turn = turn + 1"
    no_table = " FROM DUAL"

    def __init__(self, database: str = "", *, rowstore: bool = False) -> None:
        self.database = database
        self.table_verb = "CREATE ROWSTORE TABLE" if rowstore else "CREATE TABLE"

    def identifier(self, name: str) -> str:
        if not name or "\0" in name or name.endswith(" ") or any(ord(c) > 0xFFFF for c in name):
            raise IdentifierRefused(f"{name!r} cannot be a name in SingleStore")
        return "`" + name.replace("`", "``") + "`"

    def literal(self, text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"

    def own(self, name: str) -> str:
        return f"{self.identifier(self.database)}.{self.identifier(PREFIX + name)}"

    def refused_name(self, name: str) -> str:
        """Upper case is no difference on clusters whose tables' names are told to fold it."""
        return f"{name!r} is a name of our own tables" if _OURS.fullmatch(name.lower()) else ""

    def same(self, left: str, right: str) -> str:
        return f"{left} <=> {right}"

    def key_clause(self, columns: Iterable[str], kind: str) -> str:
        return f"{'UNIQUE KEY' if kind == 'UNIQUE' else kind} ({self.identifiers(columns)})"

    # --- columns ------------------------------------------------------------------------------------------------------

    def make(self, table: Table, column: Column) -> Mapped | None:
        """A column of the key needs a length."""
        made = self.types.make(column.type)
        if made is None or column.name not in table.key or made.type.native not in ("LONGTEXT", "LONGBLOB"):
            return made
        base = "VARCHAR" if made.type.native == "LONGTEXT" else "VARBINARY"
        note = f"up to {LONGEST_KEY_TEXT} long, as it is part of a key"
        bound = replace(made.type, native=f"{base}({LONGEST_KEY_TEXT})", length=LONGEST_KEY_TEXT)
        return Mapped(bound, f"{made.note}; {note}" if made.note else note)

    def column_line(self, column: Column) -> str:
        comment = f" COMMENT {self.literal(column.comment)}" if column.comment else ""
        null = " NULL" if column.nullable else " NOT NULL"
        return f"{self.identifier(column.name)} {_declared(column.type.native)}{null}{comment}"

    def comments(self, table: Table) -> Iterator[str]:
        yield from ()  # they stand in CREATE TABLE

    def table_options(self, table: Table) -> str:
        return f" COMMENT = {self.literal(table.comment)}" if table.comment else ""

    def staged_type(self, column: Column) -> str:
        return column.type.native

    def from_staged(self, column: Column, value: str) -> str:
        return value

    def to_staged(self, column: Column, value: str) -> str:
        return value

    def comparable(self, column: Column, value: str) -> str:
        """Texts by their bytes: a collation may fold case, and take blanks at the end away."""
        if column.type.annotation is Annotation.JSON:
            return f"HEX(CAST({value} AS CHAR))"
        return f"HEX({value})" if pa.types.is_string(column.type.arrow) else value

    def matches(self, column: Column, left: str, right: str) -> str:
        """The key's index finds it, and then it must be the same to the byte."""
        equal = f"{left} = {right}"
        return f"{equal} AND HEX({left}) = HEX({right})" if pa.types.is_string(column.type.arrow) else equal

    # --- tables -------------------------------------------------------------------------------------------------------

    def create_schema(self, name: str) -> str:
        """What is committed is on the disks of all partitions then: else a failure might keep the position, which is
        in one of them, and lose rows of another."""
        return f"CREATE DATABASE IF NOT EXISTS {self.identifier(name)} WITH SYNC DURABILITY"

    def own_objects(self) -> Iterator[str]:
        """What makes the database and our tables, where they are absent."""
        yield self.create_schema(self.database)
        for name, lines in TABLES.items():
            yield f"CREATE ROWSTORE TABLE IF NOT EXISTS {self.own(name)} ({lines})"

    def keys(self, table: Table) -> Iterator[str]:
        """One key, by whose columns the rows are also spread over the partitions."""
        if table.primary_key:
            yield self.key_clause(table.primary_key, "PRIMARY KEY")
        else:
            yield from (self.key_clause(i.columns, "UNIQUE") for i in table.indexes)
        shard = table.primary_key or next((i.columns for i in table.indexes), ())
        if shard:
            yield f"SHARD KEY ({self.identifiers(shard)})"

    def notes(self, table: Table) -> Iterator[str]:
        shard = table.key
        if shard:
            yield f"rows are spread over the partitions by {', '.join(shard)}, which no UPDATE can change"
        else:
            yield "rows are spread over the partitions at random, as there is no key"

    def create_staging(self, name: str, columns: Iterable[tuple[str, str]]) -> str:
        listed = ", ".join(f"{self.identifier(c)} {_declared(_PLAIN.get(t, t))} NULL" for c, t in columns)
        return f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({listed})"

    # --- statements ---------------------------------------------------------------------------------------------------

    def claim(self, table: str, migration: str, first: int) -> str:
        """The table has one key, so that no other row can be meant."""
        return (
            f"INSERT INTO {table} (migration, epoch, operation, data_complete, snapshots, turn) "  # noqa: S608
            f"VALUES ({migration}, {first}, '', FALSE, 0, 0) ON DUPLICATE KEY UPDATE epoch = epoch + 1"
        )

    def update_by(self, table: str, sets: Mapping[str, str], other: str, on: str) -> str:
        alias = table.rpartition(" ")[2]
        assignments = ", ".join(f"{alias}.{column} = {value}" for column, value in sets.items())
        return f"UPDATE {table} JOIN {other} ON {on} SET {assignments}"  # noqa: S608

    def delete_by(self, table: str, other: str, on: str) -> str:
        return f"DELETE {table.rpartition(' ')[2]} FROM {table} JOIN {other} ON {on}"


def _declared(native: str) -> str:
    if native == "JSON":
        return "JSON COLLATE utf8mb4_bin"
    return native + (_TEXT if native.partition("(")[0] in _TEXTS else "")


def dialect_of(parameters: Mapping[str, Any]) -> SingleStoreDialect:
    """An endpoint's."""
    return SingleStoreDialect(parameters.get("database", ""), rowstore=parameters.get("table_type") == "rowstore")


DIALECT: Final = SingleStoreDialect()  # for quoting
_NAME, _LONG = f"VARCHAR(255){_TEXT} NOT NULL", f"LONGTEXT{_TEXT}"
_OF_TABLE = f"migration {_NAME}, source_schema {_NAME}, source_table {_NAME}"
# Rows of ours are few and are locked one by one, which a row store is for. The columns' order is ``ledger.TABLES``'s.
TABLES: Final = {
    "progress": (
        f"migration {_NAME}, epoch BIGINT NOT NULL, operation {_NAME}, position {_LONG} NULL, "
        "data_complete TINYINT(1) NOT NULL, snapshots BIGINT NOT NULL, turn BIGINT NOT NULL, "
        "PRIMARY KEY (migration), SHARD KEY (migration)"
    ),
    "tables": f"{_OF_TABLE}, fingerprint {_NAME}, finished TINYINT(1) NOT NULL, SHARD KEY (migration)",
    "chunks": (
        f"{_OF_TABLE}, number BIGINT NOT NULL, bounds {_LONG} NOT NULL, planned_rows BIGINT NOT NULL, "
        "planned_bytes BIGINT NOT NULL, SHARD KEY (migration)"
    ),
    "loaded": f"{_OF_TABLE}, number BIGINT NOT NULL, loaded_rows BIGINT NOT NULL, SHARD KEY (migration)",
    "owned": f"migration {_NAME}, target_schema {_NAME}, target_table {_NAME}, SHARD KEY (migration)",
    # of each open transaction a row that nobody else sees: it is gone when the transaction is
    "open": f"token {_NAME}, PRIMARY KEY (token), SHARD KEY (token)",
    # which connection is whose, as the server has no name for them
    "sessions": (
        f"node BIGINT NOT NULL, process_id BIGINT NOT NULL, operation {_NAME}, side {_NAME}, address {_NAME}, "
        "PRIMARY KEY (node, process_id), SHARD KEY (node, process_id)"
    ),
}
# these, staging tables, and what checks try
_OURS: Final = re.compile(rf"{PREFIX}(?:{'|'.join(TABLES)}|changes_\d+|rows_\d+|trial_\w+)")
