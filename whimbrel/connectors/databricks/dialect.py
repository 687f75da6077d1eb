"""How Databricks SQL writes things."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from whimbrel.connectors.databricks.capabilities import CAPABILITIES
from whimbrel.connectors.databricks.config import OWN_SCHEMA, OWN_VOLUME
from whimbrel.connectors.databricks.types import TYPES
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.connectors.sql.per_table_state import TABLES
from whimbrel.errors import IdentifierRefused
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table

_NO_NAME = re.compile(r"[\x00-\x20./\x7f]")  # what Unity Catalog takes in no name of a schema or table
_MAPPED = re.compile(r"[ ,;{}()\n\t=]")  # what a column's name may hold only where Delta maps names


class DatabricksDialect(SqlDialect):
    """Names of schemas and tables are kept in lower case; columns keep their case, and are told apart without it."""

    title = "Databricks"
    types = TYPES
    capabilities = CAPABILITIES
    unenforced_note = (
        "the primary key is written down as information, unique keys are left out: Databricks enforces none"
    )

    def identifier(self, name: str) -> str:
        if not name or "\0" in name:
            raise IdentifierRefused(f"{name!r} cannot be a name in Databricks")
        return "`" + name.replace("`", "``") + "`"

    def literal(self, text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    def own(self, name: str) -> str:
        return f"{self.identifier(OWN_SCHEMA)}.{self.identifier(name.lower())}"

    def kept(self, name: TableName) -> TableName:
        return TableName(name.schema.lower(), name.table.lower())

    def refused_name(self, name: str) -> str:
        found = _NO_NAME.search(name)
        return f"{name!r} holds {found[0]!r}, which Databricks takes in no name of a schema or table" if found else ""

    def refused_columns(self, names: Iterable[str]) -> str:
        seen: dict[str, str] = {}
        for name in names:
            other = seen.setdefault(name.lower(), name)
            if other != name:
                return f"columns {other} and {name} are one name in Databricks, which tells no case apart"
        return ""

    def same(self, left: str, right: str) -> str:
        return f"{left} <=> {right}"

    def key_clause(self, columns: Iterable[str], kind: str) -> str:
        return f"{kind} ({self.identifiers(columns)})"

    def keys(self, table: Table) -> Iterator[str]:
        """Only a primary key, under a name that is its own in the schema."""
        if table.primary_key:
            name = self.identifier(f"{table.name.table[:240]}_pk")
            yield f"CONSTRAINT {name} {self.key_clause(table.primary_key, 'PRIMARY KEY')}"

    def table_options(self, table: Table) -> str:
        mapped = any(_MAPPED.search(c.name) for c in table.loaded_columns)
        return " TBLPROPERTIES ('delta.columnMapping.mode' = 'name')" if mapped else ""

    def comment_on_column(self, table: str, column: str, text: str) -> str:
        return f"ALTER TABLE {table} ALTER COLUMN {self.identifier(column)} COMMENT {self.literal(text)}"

    def staged_type(self, column: Column) -> str:
        return column.type.native

    def from_staged(self, column: Column, value: str) -> str:
        return value

    def to_staged(self, column: Column, value: str) -> str:
        return value

    def comparable(self, column: Column, value: str) -> str:
        return value

    def create_staging(self, name: str, columns: Iterable[tuple[str, str]]) -> str:
        listed = ", ".join(f"{self.identifier(column)} {type}" for column, type in columns)
        return f"CREATE TABLE IF NOT EXISTS {name} ({listed})"


DIALECT = DatabricksDialect()
MAKE_SCHEMA = f"CREATE SCHEMA IF NOT EXISTS {DIALECT.identifier(OWN_SCHEMA)}"
MAKE_VOLUME = f"CREATE VOLUME IF NOT EXISTS {DIALECT.own(OWN_VOLUME)}"
MAKE_TABLES = tuple(
    f"CREATE TABLE IF NOT EXISTS {DIALECT.own(name)} "
    f"({columns.format(number='BIGINT', text='STRING', moment='TIMESTAMP')})"
    for name, columns in TABLES.items()
)
