"""Databricks, by its stand-in, as a target of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import sqlglot

from tests.engines.printed import PRINTED
from tests.engines.side import TABLES, Side
from tests.servers.databricks import Databricks
from whimbrel.model.job import Endpoint

BATCH_SECONDS = 0.1  # tests have no warehouse to pay for
ORDERS = {"parent": " ORDER BY id", "item": " ORDER BY id", "twokeys": " ORDER BY a, b"}


class DatabricksSide(Side):
    """A catalog of its own on the stand-in. The tables are made by our own schema step, as it is no source."""

    server: Databricks
    family: ClassVar[str] = "databricks"
    numbers_rows: ClassVar[bool] = False
    follows_keyless: ClassVar[bool] = False

    def endpoint(self, name: str) -> Endpoint:
        return Endpoint(name, self.type, {**self.server.parameters(self.database), "batch_seconds": BATCH_SECONDS})

    def run(self, sql: str) -> str:
        """One statement, or several of which the last one's rows are told."""
        *before, last = (
            statement.sql("databricks") for statement in sqlglot.parse(sql, read="databricks") if statement
        )
        for statement in before:
            self.server.query(statement, self.database)
        rows = self.server.query(last, self.database)
        return "".join("|".join("" if v is None else str(v) for v in row) + "\n" for row in rows)

    def change(self, postgres: str, mysql: str | None = None) -> None:
        """PostgreSQL's words in Databricks', all names quoted and in this side's schema."""
        for statement in sqlglot.parse(postgres, read="postgres"):
            if statement is not None:
                for table in statement.find_all(sqlglot.exp.Table):
                    table.set("db", sqlglot.exp.to_identifier(self.schema))
                self.server.query(statement.sql("databricks", identify=True), self.database)

    def rows(self) -> dict[str, list[str]]:
        """But of the table without a key, which is not followed here."""
        found: dict[str, list[str]] = {}
        for table in TABLES[:-1]:
            rows = self.server.query(f"SELECT * FROM `{self.schema}`.`{table}`{ORDERS[table]}", self.database)
            found[table] = ["|".join(part for part in PRINTED[table](*row) if part is not None) for row in rows]
        return found

    def lines(self, table: str, columns: Sequence[str]) -> list[str]:
        wanted = ", ".join(f"`{column}`" for column in columns)
        rows = self.server.query(f"SELECT {wanted} FROM `{self.schema}`.`{table}`", self.database)
        return sorted("|".join("NULL" if v is None else str(v) for v in row) for row in rows)

    def drop_leftovers(self) -> None:
        self.server.create_database(self.database)
