"""Progress kept in the target, beside its rows: ``sql.locking_ledger`` on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg

from whimbrel.connectors import live_sessions
from whimbrel.connectors.postgres.connection import literal, mapped
from whimbrel.connectors.postgres.source.reflection import Connection
from whimbrel.connectors.postgres.target.ledger_layout import ensure_schema
from whimbrel.connectors.sql.locking_ledger import LockingLedger
from whimbrel.model.job import session_name

_END_SECONDS = 15
_END = """
select count(pg_terminate_backend(pid)) from pg_stat_activity
where application_name = any(%s) and datname = current_database() and usename = current_user
  and pid <> pg_backend_pid() and pid <> all(%s)
"""


class _Dialect:
    """See ``LockingDialect``."""

    title = "PostgreSQL"
    touched = "updated_at = now()"
    no_table = ""
    share = " for share"

    def literal(self, text: str) -> str:
        return literal(text)

    def own(self, name: str) -> str:
        return f"whimbrel.{name}"

    def claim(self, table: str, migration: str, first: int) -> str:
        return (
            f"insert into {table} as p (migration, epoch) values ({migration}, {first}) "  # noqa: S608
            "on conflict (migration) do update set epoch = p.epoch + 1, updated_at = now()"
        )

    def add_new(self, table: str, rows: str) -> str:
        return f"insert into {table} values {rows} on conflict do nothing"  # noqa: S608


class _Statements:
    """See ``LockingSession``: the ledger's statements on a connection, in whose transaction they are."""

    in_transaction = False  # a server that has ended one refuses what follows

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, sql: str) -> int:
        with mapped("target"):
            return self._connection.execute(sql.encode()).rowcount

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with mapped("target"):
            return self._connection.execute(sql.encode()).fetchall()

    def now(self) -> datetime:
        found: datetime = self.query("select clock_timestamp()")[0][0]
        return found

    def guard(self) -> str:
        return ""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with mapped("target"), self._connection.transaction():
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        with self.transaction():
            self.execute("set transaction isolation level repeatable read read only")
            yield

    def end_others(self, operations: Collection[str]) -> None:
        names = [f"whimbrel:{session_name(o, 'target')}" for o in operations]
        here = [c for o in operations for c in live_sessions.here(o, "target", psycopg.Connection)]
        ours = [c.info.backend_pid for c in here if not c.closed]
        deadline = time.monotonic() + _END_SECONDS
        with mapped("target"):
            while self._connection.execute(_END, [names, ours]).fetchone() != (0,) and time.monotonic() < deadline:
                time.sleep(0.05)

    def close(self) -> None:
        self._connection.close()


def ledger_on(connection: Connection, migration: str) -> LockingLedger:
    """The ledger's part in the transactions of loader, applier and finisher."""
    return LockingLedger(_Statements(connection), _Dialect(), migration)


def open_ledger(connection: Connection, operation: str, migration: str) -> LockingLedger:
    """On a connection of its own, which is closed with it."""
    statements = _Statements(connection)
    try:
        with mapped("target"):
            ensure_schema(connection, lambda: statements.end_others([operation]))
    except BaseException:
        connection.close()
        raise
    return LockingLedger(statements, _Dialect(), migration, operation)
