"""The writing side of a Snowflake account."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from whimbrel.connectors.snowflake.connection import SnowflakeSession, connect, transaction_name
from whimbrel.connectors.snowflake.dialect import DIALECT, OWN_OBJECTS, SCHEMA
from whimbrel.connectors.snowflake.stage import SnowflakeStage
from whimbrel.connectors.sql.ledger import TABLES
from whimbrel.connectors.sql.session import Session
from whimbrel.connectors.sql.stage import Stage
from whimbrel.connectors.sql.target import SqlTarget
from whimbrel.errors import TargetInterrupted
from whimbrel.model.default import Default
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table

_GONE_SECONDS: Final = 30.0
_COLUMNS: Final = (
    "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, "
    "NUMERIC_SCALE, DATETIME_PRECISION, IS_NULLABLE, COLUMN_DEFAULT FROM INFORMATION_SCHEMA.COLUMNS"
)


class SnowflakeTarget(SqlTarget):
    """See ``protocols.Target``."""

    dialect = DIALECT
    progress = TableName(SCHEMA, "PROGRESS")

    def connect(self) -> SnowflakeSession:
        return connect(self._endpoint.parameters, self._operation)

    def stage(self) -> Stage:
        return SnowflakeStage(self._operation)

    def prepare(self, session: Session) -> None:
        there = session.query(
            f"SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = '{SCHEMA}'"  # noqa: S608
        )
        if not {n.upper() for n in TABLES} <= {str(row[0]).upper() for row in there}:
            for statement in OWN_OBJECTS:
                session.execute(statement)

    def reflected(self, session: Session, names: Sequence[TableName]) -> Mapping[TableName, Table]:
        if not names:
            return {}
        schemas = ", ".join(DIALECT.literal(s) for s in sorted({n.schema for n in names}))
        columns: dict[TableName, list[Column]] = {}
        for row in session.query(f"{_COLUMNS} WHERE TABLE_SCHEMA IN ({schemas}) ORDER BY 1, 2, ORDINAL_POSITION"):
            columns.setdefault(TableName(row[0], row[1]), []).append(_column(row))
        return {n: Table(n, tuple(columns[n])) for n in names if n in columns}

    def at_work(self, job: Job) -> int:
        """Transactions of the operation that are open: it holds them open only while it works."""
        with closing(self.connect()) as session:
            return len(_transactions(session, job))

    def end_sessions(self, session: Session, job: Job) -> None:
        assert isinstance(session, SnowflakeSession)
        deadline = time.monotonic() + _GONE_SECONDS
        while found := _transactions(session, job):
            if time.monotonic() > deadline:
                raise TargetInterrupted(f"transactions of operation {job.operation} do not end on the target")
            for transaction in found:
                session.query(f"SELECT SYSTEM$ABORT_TRANSACTION({transaction})")
            time.sleep(0.1)


def _transactions(session: SnowflakeSession, job: Job) -> list[int]:
    """The ids of the operation's open transactions, in whatever session."""
    name = transaction_name(job.operation, "target")
    return [int(row["id"]) for row in session.named("SHOW TRANSACTIONS") if str(row["name"]).upper() == name]


def _column(row: Sequence[Any]) -> Column:
    _, _, name, base, length, precision, scale, digits, nullable, default = row
    if base in ("TEXT", "BINARY") and length is not None:
        base = f"{base}({int(length)})"
    elif base == "NUMBER" and precision is not None:
        base = f"{base}({int(precision)},{int(scale or 0)})"
    elif digits is not None and base.startswith("TIME"):
        base = f"{base}({int(digits)})"
    return Column(
        str(name), DIALECT.types.read(base), nullable=nullable == "YES", default=Default.shown(default, "snowflake")
    )
