"""Names of tables, as users write them and as engines quote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from whimbrel.errors import InvalidRequest


@dataclass(frozen=True, order=True)
class TableName:
    """A schema and a table, unquoted and case-exact. For MySQL the schema is the database."""

    schema: str
    table: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Read ``schema.table``; the first dot separates, ``table`` may be ``*``.

        Raises InvalidRequest when either part is missing.
        """
        schema, dot, table = text.partition(".")
        if not (schema and dot and table):
            raise InvalidRequest(f"tables: {text!r} is not of the form 'schema.table' or 'schema.*'", field="tables")
        return cls(schema, table)

    @property
    def is_pattern(self) -> bool:
        """Whether this stands for every table of its schema."""
        return self.table == "*"

    def renamed(self, schemas: Mapping[str, str]) -> TableName:
        """The same table on the target, after ``schema_rename``."""
        return TableName(schemas.get(self.schema, self.schema), self.table)
