"""Firebolt, by its stand-in, as a target of the tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any, ClassVar

import sqlglot
from sqlglot import exp

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


def _parent(id: int, name: str | None, email: str | None) -> tuple[str | None, ...]:
    return str(id), name, email


def _twokeys(a: int, b: str, v: str | None) -> tuple[str | None, ...]:
    return str(a), b, _or_dash(v)


def _nokey(a: int | None, b: str | None) -> tuple[str | None, ...]:
    return _or_dash(a), _or_dash(b)


def _item(*row: Any) -> tuple[str, ...]:
    (id, parent, small, amount, title, body, flag, score, ratio, born, noon, made, seen, doc, raw, uid, bits) = row
    members = json.loads(doc) if doc is not None else {}
    return (
        str(id),
        _or_dash(parent),
        _or_dash(small),
        _or_dash(amount),
        _or_dash(title),
        _or_dash(body if body is None else body.encode().hex().upper()),
        _or_dash(flag if flag is None else int(flag)),
        _or_dash(score if score is None else f"{score:.6f}"),
        _or_dash(ratio if ratio is None else f"{ratio:.3f}"),
        _or_dash(born),
        _or_dash(noon if noon is None else _micros(noon)),
        _or_dash(made if made is None else f"{made:%Y-%m-%d %H:%M:%S.%f}"),
        _or_dash(seen if seen is None else f"{seen.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"),
        _or_dash(members.get("n")),
        _or_dash(members.get("q")),
        _or_dash(json.dumps(members["deep"][2]) if "deep" in members else None),
        _or_dash(raw if raw is None else raw.hex().upper()),
        _or_dash(uid),
        _or_dash(bits),
    )


def _micros(time: str) -> str:
    whole, _, fraction = time.partition(".")
    return f"{whole}.{fraction:0<6}"


def _or_dash(value: Any) -> str:
    return "-" if value is None else str(value)


PRINTED: dict[str, Callable[..., tuple[str | None, ...]]] = {
    "parent": _parent,
    "item": _item,
    "twokeys": _twokeys,
    "nokey": _nokey,
}
