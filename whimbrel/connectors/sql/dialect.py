"""How one engine writes things; what is written where is decided once, in the modules beside this one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from whimbrel.connectors.protocols import Capabilities
from whimbrel.connectors.sql.typemap import Mapped, TypeMap
from whimbrel.model.names import TableName
from whimbrel.model.table import Annotation, Column, Index, Table


class SqlDialect(ABC):
    """Names are quoted and keep their case; ``own`` objects are those of our own schema, which nobody else uses."""

    title: str  # as people write the engine's name
    types: TypeMap
    capabilities: Capabilities
    unenforced_note: str = ""  # told for tables with keys where it enforces none
    touched: str = ""  # assigned with each UPDATE of the progress, where one that changes no value counts no row
    table_verb: str = "CREATE TABLE"
    own_schema: str = "whimbrel"  # that of our own objects; "" where they have none to themselves
    no_table: str = ""  # what stands behind a SELECT of constants that has a condition

    @abstractmethod
    def identifier(self, name: str) -> str: ...

    @abstractmethod
    def literal(self, text: str) -> str:
        """A text as a constant."""

    @abstractmethod
    def own(self, name: str) -> str:
        """A table, stage or other object of ours."""

    @abstractmethod
    def same(self, left: str, right: str) -> str:
        """Equality under which NULL equals NULL."""

    @abstractmethod
    def key_clause(self, columns: Iterable[str], kind: str) -> str:
        """A primary or unique key in CREATE TABLE; ``kind`` is ``PRIMARY KEY`` or ``UNIQUE``."""

    @abstractmethod
    def staged_type(self, column: Column) -> str:
        """The type of a target column's values in a staging table, where it is loaded as it stands in a file."""

    @abstractmethod
    def from_staged(self, column: Column, value: str) -> str:
        """The target's value made of a staged one."""

    @abstractmethod
    def to_staged(self, column: Column, value: str) -> str:
        """The way back, for what is filled from the target's own row."""

    @abstractmethod
    def comparable(self, column: Column, value: str) -> str:
        """A target's value as something that ``same`` can compare."""

    @abstractmethod
    def create_staging(self, name: str, columns: Iterable[tuple[str, str]]) -> str:
        """CREATE of a table that only this session sees, or that it alone uses; no error if it is there."""

    def make(self, table: Table, column: Column) -> Mapped | None:
        """A source column's type here; None where there is none."""
        return self.types.make(column.type)

    def sign(self, number: str) -> str:
        """Another value for minus zero than for zero, which "=" takes for one."""
        return f"ATAN2({number}, -1)"

    def compared(self, column: Column, value: str) -> tuple[str, ...]:
        """All of a target's value that ``same`` must find equal for a row to be another's equal at the source."""
        found = self.comparable(column, value)
        return (found, self.sign(value)) if pa.types.is_floating(column.type.arrow) else (found,)

    def merges_values(self, column: Column) -> bool:
        """Whether values that differ at the source may be one here."""
        return column.type.annotation is Annotation.JSON or pa.types.is_floating(column.type.arrow)

    def matches(self, column: Column, left: str, right: str) -> str:
        """Whether two values of a key's column are one, as the source tells them apart."""
        return f"{left} = {right}"

    def claim(self, table: str, migration: str, first: int) -> str:
        """Raise the epoch of a migration (a constant) in our table of progress, or begin it at ``first``."""
        return (
            f"MERGE INTO {table} p USING (SELECT {migration} AS m) q "  # noqa: S608
            "ON p.migration = q.m WHEN MATCHED THEN UPDATE SET epoch = p.epoch + 1 "
            "WHEN NOT MATCHED THEN INSERT (migration, epoch, operation, data_complete, snapshots) "
            f"VALUES (q.m, {first}, '', FALSE, 0)"
        )

    def update_by(self, table: str, sets: Mapping[str, str], other: str, on: str) -> str:
        """UPDATE of ``table`` by rows of ``other``, both with their aliases behind them: ``t1 s``. ``sets`` are quoted
        columns and what they become."""
        assignments = ", ".join(f"{column} = {value}" for column, value in sets.items())
        return f"UPDATE {table} SET {assignments} FROM {other} WHERE {on}"  # noqa: S608

    def delete_by(self, table: str, other: str, on: str) -> str:
        """DELETE of rows of ``table`` by rows of ``other``, both with their aliases behind them."""
        return f"DELETE FROM {table} USING {other} WHERE {on}"  # noqa: S608

    def delete_all(self, table: str) -> str:
        """Empty a table inside a transaction."""
        return f"DELETE FROM {table}"  # noqa: S608

    def truncate(self, table: str) -> str:
        """Empty a table outside of transactions."""
        return f"TRUNCATE TABLE {table}"

    def kept(self, name: TableName) -> TableName:
        """A table's name as the engine keeps it."""
        return name

    def refused_name(self, name: str) -> str:
        """What keeps a name of a schema or table from being one there; '' when nothing does."""
        return ""

    def refused_columns(self, names: Iterable[str]) -> str:
        """What keeps columns of these names from being in one table; '' when nothing does."""
        return ""

    def create_schema(self, name: str) -> str:
        """'' for one that is always there."""
        return f"CREATE SCHEMA IF NOT EXISTS {self.identifier(name)}"

    def column_line(self, column: Column) -> str:
        """A column in CREATE TABLE."""
        return f"{self.identifier(column.name)} {column.type.native}{'' if column.nullable else ' NOT NULL'}"

    def comments(self, table: Table) -> Iterator[str]:
        """Statements behind CREATE TABLE that say what table and columns are for."""
        where = self.qualified(table.name)
        if table.comment:
            yield self.comment_on_table(where, table.comment)
        for column in table.loaded_columns:
            if column.comment:
                yield self.comment_on_column(where, column.name, column.comment)

    def notes(self, table: Table) -> Iterator[str]:
        """What else is to be told of a source's table."""
        yield from ()

    def index_kept(self, index: Index) -> bool:
        """Whether an index of the source's, unique or not, has an equal; asked where there are indexes beside keys."""
        return False

    def keys(self, table: Table) -> Iterator[str]:
        """The lines of CREATE TABLE behind the columns."""
        if table.primary_key:
            yield self.key_clause(table.primary_key, "PRIMARY KEY")
        for index in table.indexes:
            yield self.key_clause(index.columns, "UNIQUE")

    def table_options(self, table: Table) -> str:
        """What stands behind the closing parenthesis of CREATE TABLE."""
        return ""

    def comment_on_table(self, table: str, text: str) -> str:
        return f"COMMENT ON TABLE {table} IS {self.literal(text)}"

    def comment_on_column(self, table: str, column: str, text: str) -> str:
        return f"COMMENT ON COLUMN {table}.{self.identifier(column)} IS {self.literal(text)}"

    def qualified(self, name: TableName) -> str:
        return f"{self.identifier(name.schema)}.{self.identifier(name.table)}"

    def identifiers(self, names: Iterable[str]) -> str:
        return ", ".join(map(self.identifier, names))
