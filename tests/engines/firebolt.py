"""Firebolt, by its stand-in, as a target of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import sqlglot
from sqlglot import exp

from tests.engines.printed import PRINTED
from tests.engines.side import TABLES, Side
from tests.servers.firebolt import Firebolt
from whimbrel.model.job import Endpoint

BATCH_SECONDS = 0.1  # tests have no engine to pay for
ORDERS = {"parent": " ORDER BY id", "item": " ORDER BY id", "twokeys": " ORDER BY a, b", "nokey": ""}


class FireboltSide(Side):
    """A database of its own on the stand-in. The tables are made by our own schema step, as it is no source."""

    server: Firebolt
    family: ClassVar[str] = "firebolt"
    numbers_rows: ClassVar[bool] = False

    def endpoint(self, name: str) -> Endpoint:
        return Endpoint(name, self.type, {**self.server.parameters(self.database), "batch_seconds": BATCH_SECONDS})

    def nowhere(self) -> Endpoint:
        return Endpoint("gone", self.type, {**self.endpoint("gone").parameters, "url": "http://127.0.0.1:1"})

    def run(self, sql: str) -> str:
        """One statement, or several of which the last one's rows are told."""
        *before, last = (statement.sql("postgres") for statement in sqlglot.parse(sql, read="postgres") if statement)
        for statement in before:
            self.server.query(statement, self.database)
        rows = self.server.query(last, self.database)
        return "".join("|".join("" if v is None else str(v) for v in row) + "\n" for row in rows)

    def change(self, postgres: str, mysql: str | None = None) -> None:
        """PostgreSQL's words, without keys, all names quoted and in this side's schema."""
        for statement in sqlglot.parse(postgres, read="postgres"):
            if statement is not None:
                for table in statement.find_all(exp.Table):
                    table.set("db", exp.to_identifier(self.schema))
                for key in list(statement.find_all(exp.PrimaryKeyColumnConstraint)):
                    if key.parent is not None:
                        key.parent.pop()
                self.server.query(statement.sql("postgres", identify=True), self.database)

    def rows(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for table in TABLES:
            rows = self.server.query(f'SELECT * FROM "{self.schema}"."{table}"{ORDERS[table]}', self.database)
            found[table] = ["|".join(part for part in PRINTED[table](*row) if part is not None) for row in rows]
        found["nokey"].sort()
        return found

    def lines(self, table: str, columns: Sequence[str]) -> list[str]:
        wanted = ", ".join(f'"{column}"' for column in columns)
        rows = self.server.query(f'SELECT {wanted} FROM "{self.schema}"."{table}"', self.database)
        return sorted("|".join("NULL" if v is None else str(v) for v in row) for row in rows)

    def drop_leftovers(self) -> None:
        self.server.create_database(self.database)
