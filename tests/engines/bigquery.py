"""BigQuery, by its stand-in, as a target of the tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import sqlglot
from sqlglot import exp

from tests.engines.printed import PRINTED as PRINTED_THERE
from tests.engines.side import TABLES, Side
from tests.servers.bigquery import BigQuery
from whimbrel.model.job import Endpoint

BATCH_SECONDS = 0.1  # tests have no bytes to pay for
ORDERS = {"parent": " ORDER BY id", "item": " ORDER BY id", "twokeys": " ORDER BY a, b", "nokey": ""}


class BigQuerySide(Side):
    """A dataset of its own on the stand-in, of the schema's name. The tables are made by our own schema step, as it is
    no source."""

    server: BigQuery
    family: ClassVar[str] = "bigquery"
    numbers_rows: ClassVar[bool] = False

    def endpoint(self, name: str) -> Endpoint:
        return Endpoint(name, self.type, {**self.server.parameters(self.schema), "batch_seconds": BATCH_SECONDS})

    def nowhere(self) -> Endpoint:
        return Endpoint("gone", self.type, {**self.endpoint("gone").parameters, "endpoint": "http://127.0.0.1:1"})

    def run(self, sql: str) -> str:
        """One statement, or several of which the last one's rows are told."""
        *before, last = (statement.sql("bigquery") for statement in sqlglot.parse(sql, read="bigquery") if statement)
        for statement in before:
            self.server.query(statement)
        return "".join("|".join("" if v is None else str(v) for v in row) + "\n" for row in self.server.query(last))

    def change(self, postgres: str, mysql: str | None = None) -> None:
        """PostgreSQL's words in BigQuery's, all names quoted and in this side's dataset."""
        for statement in sqlglot.parse(postgres, read="postgres"):
            if statement is None:
                continue
            for table in statement.find_all(exp.Table):
                table.set("db", exp.to_identifier(self.schema))
            if isinstance(statement, exp.Update | exp.Delete) and not statement.args.get("where"):
                statement.set("where", exp.Where(this=exp.true()))
            for key in statement.find_all(exp.PrimaryKeyColumnConstraint):
                key.parent.pop() if key.parent else None
            self.server.query(statement.sql("bigquery", identify=True))

    def rows(self) -> dict[str, list[str]]:
        found = {}
        for table in TABLES:
            rows = self.server.query(f"SELECT * FROM `{self.schema}`.`{table}`{ORDERS[table]}")
            found[table] = ["|".join(part for part in PRINTED[table](*row) if part is not None) for row in rows]
        found["nokey"].sort()
        return found

    def lines(self, table: str, columns: Sequence[str]) -> list[str]:
        wanted = ", ".join(f"`{column}`" for column in columns)
        rows = self.server.query(f"SELECT {wanted} FROM `{self.schema}`.`{table}`")
        return sorted("|".join("NULL" if v is None else _text(v) for v in row) for row in rows)

    def drop_leftovers(self) -> None:
        self.server.create_database(self.schema)


def _text(value: Any) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _item(*row: Any) -> tuple[str | None, ...]:
    """Its client gives numbers without zeros at their end, and documents read."""
    values = list(row)
    values[3] = values[3] if values[3] is None else f"{values[3]:.6f}"
    values[13] = values[13] if values[13] is None else json.dumps(values[13])
    return PRINTED_THERE["item"](*values)


PRINTED: dict[str, Callable[..., tuple[str | None, ...]]] = {**PRINTED_THERE, "item": _item}
