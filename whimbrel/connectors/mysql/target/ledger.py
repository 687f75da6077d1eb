"""A migration's progress, kept in the target beside its rows: ``sql.locking_ledger`` on MySQL and MariaDB."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any

import pymysql

from whimbrel.connectors.mysql.connection import (
    Session,
    connect,
    end_other_processes,
    execute,
    mapped,
    query,
    quote_literal,
)
from whimbrel.connectors.mysql.target.ledger_layout import DATABASE, ensure_tables
from whimbrel.connectors.protocols import Claim
from whimbrel.connectors.sql.locking_ledger import LockingLedger

_SUBJECT = "whimbrel.progress"


class _Dialect:
    """See ``LockingDialect``."""

    title = "MySQL"
    touched = "turn = turn + 1"  # an UPDATE counts no row whose values stay what they were
    no_table = ""
    share = " LOCK IN SHARE MODE"

    def literal(self, text: str) -> str:
        return quote_literal(text)

    def own(self, name: str) -> str:
        return f"{DATABASE}.{name}"

    def claim(self, table: str, migration: str, first: int) -> str:
        return (
            f"INSERT INTO {table} (migration, epoch) VALUES ({migration}, {first}) "  # noqa: S608
            "ON DUPLICATE KEY UPDATE epoch = epoch + 1"
        )

    def add_new(self, table: str, rows: str) -> str:
        """Not INSERT IGNORE, which would also cut what is too long."""
        return f"INSERT INTO {table} VALUES {rows} ON DUPLICATE KEY UPDATE migration = migration"  # noqa: S608


class _Statements:
    """See ``LockingSession``: the ledger's statements on a session, in whose transaction they are."""

    in_transaction = False  # a server that has ended one refuses what follows

    def __init__(self, session: Session) -> None:
        self._session = session

    def execute(self, sql: str) -> int:
        with mapped("target", _SUBJECT):
            return execute(self._session, sql)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with mapped("target", _SUBJECT):
            return query(self._session, sql)

    def now(self) -> datetime:
        return datetime.fromtimestamp(float(self.query("SELECT UNIX_TIMESTAMP(NOW(6))")[0][0]), UTC)

    def guard(self) -> str:
        return ""

    def transaction(self) -> AbstractContextManager[None]:
        return transaction(self._session, _SUBJECT)

    snapshot = transaction  # REPEATABLE READ is what sessions are told

    def end_others(self, operations: Collection[str]) -> None:
        with mapped("target", _SUBJECT):
            end_other_processes(self._session, operations, "target")

    def close(self) -> None:
        self._session.close()


def ledger_on(session: Session, migration: str) -> LockingLedger:
    """The ledger's part in the transactions of loader, applier and finisher."""
    return LockingLedger(_Statements(session), _Dialect(), migration)


def open_ledger(parameters: Mapping[str, Any], operation: str, migration: str) -> LockingLedger:
    """On a session of its own."""
    session = connect(parameters, operation, role="target")
    statements = _Statements(session)
    try:
        with mapped("target"):
            ensure_tables(session, lambda: statements.end_others([operation]))
    except BaseException:
        session.close()
        raise
    return LockingLedger(statements, _Dialect(), migration, operation)


def require(session: Session, claim: Claim | None) -> None:
    """Raise Fenced when somebody else has claimed the migration since. For what commits by itself, as DDL does."""
    if claim is not None:
        ledger_on(session, claim.migration).require(claim.epoch)


@contextmanager
def transaction(session: Session, subject: str = "") -> Iterator[None]:
    """Commit at the end of the block; roll back and map the driver's errors when it raises."""
    with mapped("target", subject):
        try:
            execute(session, "START TRANSACTION")
            yield
            execute(session, "COMMIT")
        except BaseException:
            if session.open:
                _roll_back(session)
            raise


def _roll_back(session: Session) -> None:
    """What could not be rolled back because the connection is gone, the server rolls back."""
    try:
        execute(session, "ROLLBACK")
    except pymysql.MySQLError:
        session.close()
