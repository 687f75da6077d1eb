"""How Snowflake writes things."""

from __future__ import annotations

from collections.abc import Iterable

from whimbrel.connectors.snowflake.capabilities import CAPABILITIES
from whimbrel.connectors.snowflake.types import TYPES
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.connectors.sql.ledger import TABLES
from whimbrel.errors import IdentifierRefused
from whimbrel.model.table import Annotation, Column

SCHEMA = "WHIMBREL"  # unquoted, as its users would write it


class SnowflakeDialect(SqlDialect):
    """Names of the user's are quoted and keep their case; our own are plain."""

    title = "Snowflake"
    types = TYPES
    capabilities = CAPABILITIES
    unenforced_note = "keys are written down, and not enforced: Snowflake holds none"

    def identifier(self, name: str) -> str:
        if not name or "\0" in name:
            raise IdentifierRefused(f"{name!r} cannot be a name in Snowflake")
        return '"' + name.replace('"', '""') + '"'

    def literal(self, text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"

    def own(self, name: str) -> str:
        return f"{SCHEMA}.{name.upper()}"

    def same(self, left: str, right: str) -> str:
        return f"EQUAL_NULL({left}, {right})"

    def key_clause(self, columns: Iterable[str], kind: str) -> str:
        return f"{kind} ({self.identifiers(columns)})"

    def staged_type(self, column: Column) -> str:
        return "VARCHAR" if _is_document(column) else column.type.native

    def from_staged(self, column: Column, value: str) -> str:
        if not _is_document(column):
            return value
        return f"PARSE_JSON({value})" + ("::ARRAY" if column.type.native == "ARRAY" else "")

    def to_staged(self, column: Column, value: str) -> str:
        return f"TO_JSON({value})" if _is_document(column) else value

    def comparable(self, column: Column, value: str) -> str:
        return f"TO_JSON({value})" if _is_document(column) else value

    def create_staging(self, name: str, columns: Iterable[tuple[str, str]]) -> str:
        listed = ", ".join(f"{self.identifier(column)} {type}" for column, type in columns)
        return f"CREATE TEMPORARY TABLE IF NOT EXISTS {name} ({listed})"


def _is_document(column: Column) -> bool:
    return column.type.annotation is Annotation.JSON


DIALECT = SnowflakeDialect()
OWN_OBJECTS = (  # the tables last: where they are, all is there
    f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}",
    f"CREATE STAGE IF NOT EXISTS {DIALECT.own('files')}",
    *(
        f"CREATE TABLE IF NOT EXISTS {DIALECT.own(name)} ({columns.format(number='BIGINT')})"
        for name, columns in TABLES.items()
    ),
)
