"""Sequences behind columns: identity, serial, and defaults that call nextval.

What ``Column.identity`` cannot say of them is in ``PostgresParticulars.sequences``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from whimbrel.connectors.postgres.connection import identifier, literal, qualified
from whimbrel.connectors.postgres.source.reflection import Connection, Row
from whimbrel.model.names import TableName
from whimbrel.model.table import Identity

_NEXTVAL = re.compile(r"nextval\('(?:[^']|'')+'::regclass\)\Z")
_WIDEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}


@dataclass(frozen=True)
class SequenceUse:
    """One sequence that one column draws from. ``spelling`` is its name in the column's default.

    ``identity``: made by GENERATED AS IDENTITY. ``owned``: dropped with the column. ``next_value`` is None when it may
    not be read.
    """

    column: str
    schema: str
    name: str
    spelling: str
    identity: bool
    owned: bool
    type: str
    start: int
    increment: int
    least: int
    greatest: int
    cache: int
    cycle: bool
    next_value: int | None

    def options(self) -> str:
        """The clauses of CREATE SEQUENCE that are not the default ones."""
        ascending = self.increment > 0
        widest = _WIDEST[self.type]
        least, greatest = (1, widest) if ascending else (-widest - 1, -1)
        parts = [f"START WITH {self.start}", f"INCREMENT BY {self.increment}"]
        parts += [f"MINVALUE {self.least}"] if self.least != least else []
        parts += [f"MAXVALUE {self.greatest}"] if self.greatest != greatest else []
        parts += [f"CACHE {self.cache}"] if self.cache != 1 else []
        parts += ["CYCLE"] if self.cycle else []
        return " ".join(parts)

    @property
    def qualified(self) -> str:
        return qualified(TableName(self.schema, self.name))

    def renamed(self, schemas: Mapping[str, str]) -> SequenceUse:
        """The same sequence in the target's schema."""
        return replace(self, schema=schemas.get(self.schema, self.schema))


def read_use(connection: Connection, row: Row) -> SequenceUse:
    """One row of reflection.SEQUENCES."""
    fields = {name: row[name] for name in SequenceUse.__dataclass_fields__ if name != "next_value"}
    return SequenceUse(**fields, next_value=_next_value(connection, row) if row["readable"] else None)


def _next_value(connection: Connection, row: Row) -> int:
    name = qualified(TableName(row["schema"], row["name"]))
    found = connection.execute(f"select last_value, is_called from {name}".encode()).fetchone()  # noqa: S608
    assert found is not None
    return int(found[0]) + (int(row["increment"]) if found[1] else 0)


def identity_of(use: SequenceUse, always: bool) -> Identity:
    """The same as the model says it."""
    return Identity(always, use.start, use.increment, use.next_value, use.spelling)


def is_plain_nextval(default: str | None) -> bool:
    """Whether a default is nothing but the sequence's next value, as serial makes it."""
    return default is not None and _NEXTVAL.match(default) is not None


def create(use: SequenceUse) -> str:
    """Idempotent; an identity column makes its own."""
    kind = "" if use.type == "bigint" else f" AS {use.type}"
    return f"CREATE SEQUENCE IF NOT EXISTS {use.qualified}{kind} {use.options()}"


def own(use: SequenceUse, table: TableName) -> str:
    return f"ALTER SEQUENCE {use.qualified} OWNED BY {qualified(table)}.{identifier(use.column)}"


def default(use: SequenceUse, original: str | None) -> str:
    """The column's default with the sequence's name as the target knows it."""
    called = literal(use.qualified).strip()
    if original is None:
        return f"nextval({called})"
    return original.replace(literal(use.spelling).strip(), called)
