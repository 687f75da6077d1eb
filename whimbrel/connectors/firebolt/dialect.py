"""How Firebolt writes things."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from whimbrel.connectors.firebolt.capabilities import CAPABILITIES
from whimbrel.connectors.firebolt.types import TYPES
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.connectors.sql.ledger import TABLES
from whimbrel.errors import IdentifierRefused
from whimbrel.model.table import Column, Table

SCHEMA = "public"  # every database has it, and some have no other
PREFIX = "whimbrel_"  # of our own tables there


class FireboltDialect(SqlDialect):
    """``session`` names the staging tables of one session: there are no temporary tables, so that each session's stand
    under names of their own, are made in a transaction and dropped before it ends."""

    title = "Firebolt"
    types = TYPES
    own_schema = ""
    capabilities = CAPABILITIES
    unenforced_note = "keys are not written down: Firebolt holds none; a primary index sorts by the primary key"

    def __init__(self, session: str = "") -> None:
        self._session = session

    def identifier(self, name: str) -> str:
        if not name or "\0" in name:
            raise IdentifierRefused(f"{name!r} cannot be a name in Firebolt")
        return '"' + name.replace('"', '""') + '"'

    def literal(self, text: str) -> str:
        """A backslash is one whatever the session's standard_conforming_strings says."""
        quoted = text.replace("'", "''")
        return f"'{quoted}'" if "\\" not in quoted else "E'" + quoted.replace("\\", "\\\\") + "'"

    def own(self, name: str) -> str:
        mine = self._session if name not in TABLES else ""
        return f'{SCHEMA}."{PREFIX}{mine}{name}"'

    def same(self, left: str, right: str) -> str:
        return f"{left} IS NOT DISTINCT FROM {right}"

    def key_clause(self, columns: Iterable[str], kind: str) -> str:
        raise NotImplementedError(f"Firebolt has no {kind}")

    def keys(self, table: Table) -> Iterator[str]:
        return iter(())

    def table_options(self, table: Table) -> str:
        """Columns that take NULL cannot be in a primary index."""
        there = {c.name: c for c in table.loaded_columns}
        sorting = [name for name in table.key if name in there and not there[name].nullable]
        return f" PRIMARY INDEX {self.identifiers(sorting)}" if sorting else ""

    def column_line(self, column: Column) -> str:
        """With NULL too: what a column is that says nothing has changed with Firebolt's versions."""
        return f"{self.identifier(column.name)} {column.type.native} {'NULL' if column.nullable else 'NOT NULL'}"

    def staged_type(self, column: Column) -> str:
        return column.type.native

    def from_staged(self, column: Column, value: str) -> str:
        return value

    def to_staged(self, column: Column, value: str) -> str:
        return value

    def comparable(self, column: Column, value: str) -> str:
        return value

    def sign(self, number: str) -> str:
        return f"CAST({number} AS TEXT)"

    def create_staging(self, name: str, columns: Iterable[tuple[str, str]]) -> str:
        listed = ", ".join(f"{self.identifier(column)} {_TYPES.get(type, type)} NULL" for column, type in columns)
        return f"CREATE TABLE {name} ({listed})"

    def delete_all(self, table: str) -> str:
        """Firebolt Core takes a DELETE without a condition, and TRUNCATE, of a table with its schema, and does
        nothing."""
        return f"DELETE FROM {table} WHERE 1 = 1"  # noqa: S608

    def truncate(self, table: str) -> str:
        return self.delete_all(table)

    def create_schema(self, name: str) -> str:
        return "" if name == SCHEMA else super().create_schema(name)

    def comments(self, table: Table) -> Iterator[str]:
        return iter(())

    def notes(self, table: Table) -> Iterator[str]:
        if table.comment or any(c.comment for c in table.columns):
            yield "comments left out: Firebolt has none"

    def refused_name(self, name: str) -> str:
        return f"names that begin with {PREFIX} are ours" if name.lower().startswith(PREFIX) else ""


_TYPES = {"VARCHAR": "TEXT"}  # of our own columns
DIALECT = FireboltDialect()
TOUCHED = frozenset({"progress", "chunks"})  # whose rows are written to be seen writing: ``touched`` counts it


def own_table(name: str) -> str:
    """CREATE of a table of the ledger."""
    columns = []
    for column in TABLES[name].format(number="BIGINT").replace("VARCHAR", "TEXT").split(", "):
        columns.append(column if "NOT NULL" in column else f"{column} NULL")
    if name in TOUCHED:
        columns.append("touched BIGINT NOT NULL")
    return f"CREATE TABLE {DIALECT.own(name)} ({', '.join(columns)})"
