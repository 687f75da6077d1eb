"""How BigQuery writes things."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from whimbrel.connectors.bigquery.capabilities import CAPABILITIES
from whimbrel.connectors.bigquery.types import TYPES
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.errors import IdentifierRefused
from whimbrel.model.table import Column, Table

_MARK: Final = "#whimbrel_"  # how our own columns of a staging table begin, as ``sql.merge`` names them
_OWN: Final = "_whimbrel_"  # and how they do here, where a plain name is safe everywhere
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# What a dataset's, a table's and a column's name may not hold. Columns beyond plain ones are "flexible" ones.
_NO_DATASET = re.compile(r"[^A-Za-z0-9_]")
_NO_COLUMN = re.compile(r"[^\w &%=+:'<>#|\t-]")
_NO_TABLE = re.compile(r"[^\w -]")
_RESERVED = re.compile(
    r"(?i)(_TABLE_|_FILE_|_PARTITION|_ROW_TIMESTAMP|__ROOT__|_COLIDENTIFIER|_CHANGE_SEQUENCE_NUMBER|_CHANGE_TYPE"
    r"|_CHANGE_TIMESTAMP|_whimbrel_)"
)
_KEY_COLUMNS: Final = 16  # of a primary key
_CLUSTERED: Final = 4  # columns that a table can be ordered by
# what a primary key and an order may be made of
_ORDERED: Final = ("INT64", "STRING", "NUMERIC", "BIGNUMERIC", "DATE", "DATETIME", "TIMESTAMP", "BOOL")
_ESCAPES: Final = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r"}
_ESCAPED = re.compile(r"[\\'\n\r]")


class BigQueryDialect(SqlDialect):
    """Names keep their case; columns are told apart without it. ``own_dataset`` keeps what is ours."""

    title = "BigQuery"
    types = TYPES
    own_schema = ""
    capabilities = CAPABILITIES
    unenforced_note = (
        "the primary key is written down as NOT ENFORCED, unique keys are left out: BigQuery enforces none"
    )

    def __init__(self, own_dataset: str = "whimbrel") -> None:
        self.own_dataset = own_dataset

    def identifier(self, name: str) -> str:
        """A backquoted name is read like a text, with escapes."""
        if not name or "\0" in name:
            raise IdentifierRefused(f"{name!r} cannot be a name in BigQuery")
        return "`" + plain(name).replace("\\", "\\\\").replace("`", "\\`") + "`"

    def literal(self, text: str) -> str:
        """U+0000 has no escape that every reader of the language takes."""
        parts = ["'" + _ESCAPED.sub(lambda found: _ESCAPES[found[0]], part) + "'" for part in text.split("\0")]
        return parts[0] if len(parts) == 1 else f"CONCAT({', CODE_POINTS_TO_STRING([0]), '.join(parts)})"

    def own(self, name: str) -> str:
        return f"{self.identifier(self.own_dataset)}.{self.identifier(name.lower())}"

    def refused_name(self, name: str) -> str:
        found = _NO_TABLE.search(name)
        return f"{name!r} holds {found[0]!r}, which BigQuery takes in no name of a dataset or table" if found else ""

    def refused_columns(self, names: Iterable[str]) -> str:
        seen: dict[str, str] = {}
        for name in names:
            found = _NO_COLUMN.search(name)
            if found:
                return f"column {name!r} holds {found[0]!r}, which BigQuery takes in no column's name"
            if _RESERVED.match(name):
                return f"column {name!r} begins as BigQuery's own or ours do"
            other = seen.setdefault(name.lower(), name)
            if other != name:
                return f"columns {other} and {name} are one name in BigQuery, which tells no case apart"
        return ""

    def same(self, left: str, right: str) -> str:
        """An equality, as a join by anything else compares every row with every other one; NULL is ``null`` here, NaN
        is itself, and zero is not minus zero."""
        return f"TO_JSON_STRING({left}) = TO_JSON_STRING({right})"

    def matches(self, column: Column, left: str, right: str) -> str:
        """By "=" NaN is no value's equal, so each change of such a row would add one; minus zero is zero in a key."""
        return self.same(f"{left} + 0", f"{right} + 0") if column.type.native == "FLOAT64" else f"{left} = {right}"

    def key_clause(self, columns: Iterable[str], kind: str) -> str:
        return f"{kind} ({self.identifiers(columns)}) NOT ENFORCED"

    def keys(self, table: Table) -> Iterator[str]:
        types = {c.name: c.type.native.partition("(")[0] for c in table.loaded_columns}
        written_down = all(types.get(name) in _ORDERED for name in table.primary_key)
        if 0 < len(table.primary_key) <= _KEY_COLUMNS and written_down:
            yield self.key_clause(table.primary_key, "PRIMARY KEY")

    def table_options(self, table: Table) -> str:
        """In the order of the key, so that a MERGE reads fewer blocks."""
        types = {c.name: c.type.native.partition("(")[0] for c in table.loaded_columns}
        by = [name for name in table.key if types.get(name) in _ORDERED][:_CLUSTERED]
        return f" CLUSTER BY {self.identifiers(by)}" if by else ""

    def comment_on_table(self, table: str, text: str) -> str:
        return f"ALTER TABLE {table} SET OPTIONS (description = {self.literal(text)})"

    def comment_on_column(self, table: str, column: str, text: str) -> str:
        name = self.identifier(column)
        return f"ALTER TABLE {table} ALTER COLUMN {name} SET OPTIONS (description = {self.literal(text)})"

    def staged_type(self, column: Column) -> str:
        native = column.type.native
        base = native.partition("(")[0]
        return "STRING" if base == "JSON" else native if base in ("NUMERIC", "BIGNUMERIC") else base

    def from_staged(self, column: Column, value: str) -> str:
        """A document whose numbers the server would round is refused by it."""
        return f"PARSE_JSON({value})" if is_document(column) else value

    def to_staged(self, column: Column, value: str) -> str:
        return f"IF({value} IS NULL, NULL, TO_JSON_STRING({value}))" if is_document(column) else value

    def comparable(self, column: Column, value: str) -> str:
        return self.to_staged(column, value)

    def create_staging(self, name: str, columns: Iterable[tuple[str, str]]) -> str:
        listed = ", ".join(f"{self.identifier(column)} {type}" for column, type in columns)
        return f"CREATE TABLE IF NOT EXISTS {name} ({listed})"


def plain(name: str) -> str:
    """A column's name as it is kept: our own ones are plain."""
    return _OWN + name.removeprefix(_MARK) if name.startswith(_MARK) else name


def is_plain(name: str) -> bool:
    return _PLAIN.match(plain(name)) is not None


def is_dataset(name: str) -> bool:
    return _NO_DATASET.search(name) is None


def is_document(column: Column) -> bool:
    return column.type.native == "JSON"


DIALECT = BigQueryDialect()
