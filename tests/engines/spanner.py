"""Spanner, by its vendor's emulator, as a target of the tests."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from datetime import UTC
from decimal import Decimal
from typing import Any, ClassVar

import sqlglot
from sqlglot import exp

from tests.engines.printed import PRINTED as PRINTED_THERE
from tests.engines.side import TABLES, Side
from tests.servers.spanner import Spanner
from whimbrel.model.job import Endpoint

BATCH_SECONDS = 0.05
ORDERS = {"parent": " ORDER BY id", "item": " ORDER BY id", "twokeys": " ORDER BY a, b", "nokey": ""}
TYPES = {"bigint": "INT64", "text": "STRING(MAX)"}


class SpannerSide(Side):
    """A schema of a database of its own on the emulator. The tables are made by our own schema step, as it is no
    source."""

    server: Spanner
    family: ClassVar[str] = "spanner"
    numbers_rows: ClassVar[bool] = False
    follows_keyless: ClassVar[bool] = False

    def endpoint(self, name: str) -> Endpoint:
        parameters = {**self.server.parameters(self.database), "batch_seconds": BATCH_SECONDS}
        return Endpoint(name, self.type, parameters)

    def nowhere(self) -> Endpoint:
        return Endpoint("gone", self.type, {**self.endpoint("gone").parameters, "emulator_host": "127.0.0.1:1"})

    def run(self, sql: str) -> str:
        """Statements one after the other; the last one's rows are told."""
        rows: list[tuple[Any, ...]] = []
        for statement in filter(str.strip, sql.split(";")):
            if statement.lstrip().lower().startswith("select"):
                rows = self.server.query(statement, self.database)
            else:
                self.server.write(statement, self.database)
        return "".join("|".join("" if v is None else str(v) for v in row) + "\n" for row in rows)

    def change(self, postgres: str, mysql: str | None = None) -> None:
        """PostgreSQL's words in GoogleSQL, in this side's schema."""
        from google.api_core.exceptions import AlreadyExists

        for statement in filter(None, sqlglot.parse(postgres, read="postgres")):
            for table in statement.find_all(exp.Table):
                table.set("db", exp.to_identifier(self.schema))
            try:
                self._change(statement)
            except AlreadyExists as e:
                raise AssertionError(f"duplicate key: {e.message}") from e

    def _change(self, statement: Any) -> None:
        if isinstance(statement, exp.Create):
            self.server.define([_create(statement)], self.database)
        elif isinstance(statement, exp.Drop):
            (name,) = statement.find_all(exp.Table)
            for (index,) in self.server.query(
                f"SELECT index_name FROM information_schema.indexes WHERE table_name = '{name.name}' AND "
                f"table_schema = '{self.schema}' AND index_type = 'INDEX'",
                self.database,
            ):
                self.server.define([f"DROP INDEX {self.schema}.{index}"], self.database)
            self.server.define([f"DROP TABLE {self.schema}.{name.name}"], self.database)
        elif isinstance(statement, exp.Insert):
            self._insert(statement)
        else:
            if not statement.args.get("where"):
                statement.set("where", exp.Where(this=exp.true()))
            self.server.write(statement.sql("bigquery", identify=True), self.database)

    def _insert(self, statement: Any) -> None:
        """By mutations, whose values are of the columns' types whatever they are written as."""
        table = statement.this.name
        columns = self.server.query(
            "SELECT column_name, spanner_type FROM information_schema.columns WHERE "
            f"table_schema = '{self.schema}' AND table_name = '{table}' AND column_name <> 'whimbrel_row' "
            "ORDER BY ordinal_position",
            self.database,
        )
        rows = [
            [_value(v, type) for v, (_, type) in zip(row.expressions, columns, strict=True)]
            for row in statement.expression.expressions
        ]
        with self.server.database(self.database).batch() as batch:
            batch.insert(f"{self.schema}.{table}", [name for name, _ in columns], rows)

    def rows(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for table in TABLES:
            if table == "nokey":
                found[table] = []
                continue
            rows = self.server.query(f"SELECT * FROM `{self.schema}`.`{table}`{ORDERS[table]}", self.database)
            found[table] = ["|".join(part for part in PRINTED[table](*row) if part is not None) for row in rows]
        return found

    def lines(self, table: str, columns: Sequence[str]) -> list[str]:
        wanted = ", ".join(f"`{column}`" for column in columns)
        rows = self.server.query(f"SELECT {wanted} FROM `{self.schema}`.`{table}`", self.database)
        return sorted("|".join("NULL" if v is None else _text(v) for v in row) for row in rows)

    def drop_leftovers(self) -> None:
        self.server.create_database(self.database)
        self.server.define([f"CREATE SCHEMA IF NOT EXISTS `{self.schema}`"], self.database)


def _create(statement: Any) -> str:
    table, keys, lines = statement.this, [], []
    for column in table.expressions:
        kinds = [type(c.kind) for c in column.constraints]
        not_null = " NOT NULL" if exp.NotNullColumnConstraint in kinds else ""
        keys += [column.name] if exp.PrimaryKeyColumnConstraint in kinds else []
        lines.append(f"{column.name} {TYPES[column.kind.sql('postgres').lower()]}{not_null}")
    name = f"{table.this.db}.{table.this.name}"
    return f"CREATE TABLE {name} ({', '.join(lines)}) PRIMARY KEY ({', '.join(keys)})"


def _value(value: Any, type: str) -> Any:
    if isinstance(value, exp.Null):
        return None
    text = f"-{value.this.this}" if isinstance(value, exp.Neg) else value.this
    return int(text) if type == "INT64" else text


def _text(value: Any) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _item(*row: Any) -> tuple[str | None, ...]:
    """Its client gives numbers without zeros at their end, bytes in base64, documents read, and moments of its own."""
    values = list(row)
    values[3] = values[3] if values[3] is None else f"{values[3]:.6f}"
    for place in (11, 12):
        if values[place] is not None:
            values[place] = values[place].astimezone(UTC)
    if values[10] is not None:  # a time is kept as the text that it was
        clock, _, fraction = values[10].partition(".")
        values[10] = f"{clock}.{fraction:0<6}"
    values[14] = values[14] if values[14] is None else base64.b64decode(values[14])
    document = values[13]
    values[13] = None if document is None else json.dumps(json.loads(document.serialize()))
    return PRINTED_THERE["item"](*values)


PRINTED: dict[str, Callable[..., tuple[str | None, ...]]] = {**PRINTED_THERE, "item": _item}
