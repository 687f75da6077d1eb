"""How Spanner writes things, in GoogleSQL."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Final

from whimbrel.connectors.spanner.capabilities import CAPABILITIES
from whimbrel.connectors.spanner.config import DEFAULT_SCHEMA
from whimbrel.connectors.spanner.types import TYPES
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.errors import IdentifierRefused, InternalError
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, ForeignKey, Index, Table

OWN: Final = "whimbrel"  # the schema of ours
LONGEST_NAME: Final = 128  # of a table, index or key with its schema
ROW: Final = "whimbrel_row"  # the key of tables that have none
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_ESCAPES: Final = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\0": "\\x00"}
_ESCAPED = re.compile(r"[\\'\n\r\0]")
_KEY_COLUMNS: Final = 16  # of a key
_NO_KEYS: Final = ("JSON", "ARRAY")  # types of which no key is made
_PLAIN_RULES: Final = ("NO ACTION", "RESTRICT")
_ACTIONS: Final = {"CASCADE": " ON DELETE CASCADE"}


class SpannerDialect(SqlDialect):
    """Names keep their case and are told apart without it. The schema without a name is called ``default`` here."""

    title = "Spanner"
    types = TYPES
    capabilities = CAPABILITIES

    def identifier(self, name: str) -> str:
        if not _PLAIN.match(name):
            raise IdentifierRefused(f"{name!r} cannot be a name in Spanner")
        return f"`{name}`"

    def literal(self, text: str) -> str:
        return "'" + _ESCAPED.sub(lambda found: _ESCAPES[found[0]], text) + "'"

    def own(self, name: str) -> str:
        return f"`{OWN}`.{self.identifier(name.lower())}"

    def qualified(self, name: TableName) -> str:
        if name.schema == DEFAULT_SCHEMA:
            return self.identifier(name.table)
        return f"{self.identifier(name.schema)}.{self.identifier(name.table)}"

    def refused_name(self, name: str) -> str:
        if not _PLAIN.match(name):
            return f"{name!r} is no name in Spanner: letters, digits and underscores, and a letter first"
        return ""

    def refused_columns(self, names: Iterable[str]) -> str:
        seen: dict[str, str] = {}
        for name in names:
            if not _PLAIN.match(name):
                return f"column {name!r} is no name in Spanner: letters, digits and underscores, and a letter first"
            if name.lower() == ROW:
                return f"column {name!r} is what the key of tables without one is called here"
            other = seen.setdefault(name.lower(), name)
            if other != name:
                return f"columns {other} and {name} are one name in Spanner, which tells no case apart"
        return ""

    def create_schema(self, name: str) -> str:
        return "" if name == DEFAULT_SCHEMA else f"CREATE SCHEMA IF NOT EXISTS {self.identifier(name)}"

    def keys(self, table: Table) -> Iterator[str]:
        """A key stands behind the parentheses, and others are indexes."""
        if not table.key:
            yield f"`{ROW}` STRING(36) NOT NULL DEFAULT (GENERATE_UUID())"

    def table_options(self, table: Table) -> str:
        return f" PRIMARY KEY ({self.identifiers(table.key) if table.key else f'`{ROW}`'})"

    def key_clause(self, columns: Iterable[str], kind: str) -> str:
        raise InternalError("keys are no clauses of CREATE TABLE in Spanner")

    def comments(self, table: Table) -> Iterator[str]:
        yield from ()

    def notes(self, table: Table) -> Iterator[str]:
        if not table.key:
            yield (
                f"has no key, so it gets a column {ROW} here, made of chunk and row where rows are loaded, at random "
                "for others; its changes cannot be followed"
            )
        elif not table.primary_key:
            yield f"its unique key ({', '.join(table.key)}) becomes the primary key, which every table has here"
        if len(table.key) > _KEY_COLUMNS:
            yield f"its key has more than {_KEY_COLUMNS} columns, which Spanner refuses"
        if table.comment or any(c.comment for c in table.columns):
            yield "comments left out: Spanner has none"
        for index in table.indexes:
            if why := left_out(index):
                yield f"index {index.name} left out: {why}"
        for key in table.foreign_keys:
            if {key.on_delete, key.on_update} - set(_PLAIN_RULES):
                rules = f"ON DELETE {key.on_delete} ON UPDATE {key.on_update}"
                yield f"foreign key {key.name}: {rules} left out, as the source tells of the rows that these change"

    def index_kept(self, index: Index) -> bool:
        return not left_out(index)

    # --- indexes and foreign keys -------------------------------------------------------------------------------------

    def create_index(self, table: Table, index: Index) -> str:
        """NULL equals NULL in a unique index of Spanner's, unless rows with one are left out of it."""
        nullable = {c.name for c in table.columns if c.nullable}
        kind = "UNIQUE " if index.unique else ""
        if index.unique and nullable & set(index.columns):
            kind += "NULL_FILTERED "
        down = (*index.descending, *(False,) * len(index.columns))
        columns = ", ".join(
            self.identifier(c) + (" DESC" if d else "") for c, d in zip(index.columns, down, strict=False)
        )
        name = self.qualified(TableName(table.name.schema, index.name))
        storing = f" STORING ({self.identifiers(index.include)})" if index.include else ""
        return f"CREATE {kind}INDEX IF NOT EXISTS {name} ON {self.qualified(table.name)} ({columns}){storing}"

    def add_foreign_key(self, table: Table, key: ForeignKey) -> str:
        return (
            f"ALTER TABLE {self.qualified(table.name)} ADD CONSTRAINT {self.identifier(key.name)} FOREIGN KEY "
            f"({self.identifiers(key.columns)}) REFERENCES {self.qualified(key.parent)} "
            f"({self.identifiers(key.parent_columns)}){_ACTIONS.get(key.on_delete, '')}"
        )

    # --- what is not asked of it: rows are written by mutations -------------------------------------------------------

    def same(self, left: str, right: str) -> str:
        return f"{left} IS NOT DISTINCT FROM {right}"

    def staged_type(self, column: Column) -> str:
        return column.type.native

    def from_staged(self, column: Column, value: str) -> str:
        return value

    def to_staged(self, column: Column, value: str) -> str:
        return value

    def comparable(self, column: Column, value: str) -> str:
        return value

    def create_staging(self, name: str, columns: Iterable[tuple[str, str]]) -> str:
        raise InternalError("rows are staged nowhere in Spanner")


def left_out(index: Index) -> str:
    """Why an index of the source's has no equal here; '' where it has one."""
    if index.expression is not None and not index.constraint:
        return "it has an expression or a condition"
    if any(index.prefixes):
        return "it has only the beginning of a column"
    if not index.columns or index.method.lower() not in ("btree", "hash", ""):
        return f"Spanner has none of kind {index.method}"
    if len(index.columns) > _KEY_COLUMNS:
        return f"it has more than {_KEY_COLUMNS} columns"
    return ""


def no_index_of(types: Iterable[str]) -> str:
    """The first of these types of which Spanner makes no key; ''."""
    return next((t for t in types if t.partition("(")[0].partition("<")[0] in _NO_KEYS), "")


def placed_name(table: TableName, name: str, taken: set[str]) -> str:
    """A name for an index or foreign key that nothing else in its schema has: tables, indexes and keys share them."""
    most = LONGEST_NAME - len(table.schema) - 1
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    own = plain.lower().startswith(table.table.lower()) and _PLAIN.match(plain)
    whole = plain if own else f"{table.table}_{plain}"
    if len(whole) > most or whole.lower() in taken:
        digest = hashlib.sha256(f"{table.table}.{name}".encode()).hexdigest()[:8]
        whole = f"{whole[: most - 9]}_{digest}"
    taken.add(whole.lower())
    return whole


DIALECT = SpannerDialect()
