"""How one engine writes things; what is written where is decided once, in the modules beside this one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from whimbrel.connectors.protocols import Capabilities
from whimbrel.connectors.sql.typemap import TypeMap
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table


class SqlDialect(ABC):
    """Names are quoted and keep their case; ``own`` objects are those of our own schema, which nobody else uses."""

    title: str  # as people write the engine's name
    types: TypeMap
    capabilities: Capabilities
    unenforced_note: str = ""  # told for tables with keys where it enforces none

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

    def kept(self, name: TableName) -> TableName:
        """A table's name as the engine keeps it."""
        return name

    def refused_name(self, name: str) -> str:
        """What keeps a name of a schema or table from being one there; '' when nothing does."""
        return ""

    def refused_columns(self, names: Iterable[str]) -> str:
        """What keeps columns of these names from being in one table; '' when nothing does."""
        return ""

    def keys(self, table: Table) -> Iterator[str]:
        """The lines of CREATE TABLE behind the columns."""
        if table.primary_key:
            yield self.key_clause(table.primary_key, "PRIMARY KEY")
        for index in table.indexes:
            yield self.key_clause(index.columns, "UNIQUE")

    def table_options(self, table: Table) -> str:
        """What stands behind the closing parenthesis of CREATE TABLE."""
        return ""

    def comment_on_column(self, table: str, column: str, text: str) -> str:
        return f"COMMENT ON COLUMN {table}.{self.identifier(column)} IS {self.literal(text)}"

    def qualified(self, name: TableName) -> str:
        return f"{self.identifier(name.schema)}.{self.identifier(name.table)}"

    def identifiers(self, names: Iterable[str]) -> str:
        return ", ".join(map(self.identifier, names))
