"""Snowflake, by its stand-in, as a target of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import sqlglot

from tests.engines.printed import PRINTED as PRINTED
from tests.engines.side import TABLES, Side
from tests.servers.snowflake import Snowflake
from whimbrel.model.job import Endpoint

BATCH_SECONDS = 0.1  # tests have no warehouse to pay for
ORDERS = {"parent": ' order by "id"', "item": ' order by "id"', "twokeys": ' order by "a", "b"', "nokey": ""}


class SnowflakeSide(Side):
    """A database of its own on the stand-in. The tables are made by our own schema step, as it is no source."""

    server: Snowflake
    family: ClassVar[str] = "snowflake"
    numbers_rows: ClassVar[bool] = False

    def endpoint(self, name: str) -> Endpoint:
        return Endpoint(name, self.type, {**self.server.parameters(self.database), "batch_seconds": BATCH_SECONDS})

    def run(self, sql: str) -> str:
        """One statement, or several of which the last one's rows are told."""
        *before, last = (statement.sql("snowflake") for statement in sqlglot.parse(sql, read="snowflake") if statement)
        for statement in before:
            self.server.query(statement, self.database)
        rows = self.server.query(last, self.database)
        return "".join("|".join("" if v is None else str(v) for v in row) + "\n" for row in rows)

    def change(self, postgres: str, mysql: str | None = None) -> None:
        """PostgreSQL's words in Snowflake's, all names quoted, as they are on the target."""
        with self.server.session(self.database) as session:
            session.cursor().execute(f'use schema "{self.schema}"')
            for statement in sqlglot.parse(postgres, read="postgres"):
                if statement is not None:
                    session.cursor().execute(statement.sql("snowflake", identify=True))

    def rows(self) -> dict[str, list[str]]:
        found = {}
        for table in TABLES:
            rows = self.server.query(f'select * from "{self.schema}"."{table}"{ORDERS[table]}', self.database)
            found[table] = ["|".join(part for part in PRINTED[table](*row) if part is not None) for row in rows]
        found["nokey"].sort()
        return found

    def lines(self, table: str, columns: Sequence[str]) -> list[str]:
        wanted = ", ".join(f'"{column}"' for column in columns)
        rows = self.server.query(f'select {wanted} from "{self.schema}"."{table}"', self.database)
        return sorted("|".join("NULL" if v is None else str(v) for v in row) for row in rows)

    def drop_leftovers(self) -> None:
        self.server.create_database(self.database)
