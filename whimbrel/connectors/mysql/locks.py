"""Waiting for tables that others have locked: for a while only, and with their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pymysql

from whimbrel.connectors.mysql.connection import Session, execute, query
from whimbrel.connectors.mysql.refusals import LOCK_TIMEOUT, number_and_text
from whimbrel.errors import SourceInterrupted, TargetInterrupted
from whimbrel.model.names import TableName

# The server's own patience is a day or a year, in which an ALTER TABLE or LOCK TABLES can hold up a look at a table.
LOCK_SECONDS = 30
_OPEN = (
    "SELECT ID, USER, TIME FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND ID IN"
    " (SELECT trx_mysql_thread_id FROM information_schema.INNODB_TRX) ORDER BY TIME DESC LIMIT 5"
)


def bound_waits(session: Session, seconds: int | None = None) -> None:
    """Let no statement of the session wait longer than this for a table, by default LOCK_SECONDS."""
    execute(session, f"SET SESSION lock_wait_timeout = {seconds or LOCK_SECONDS}")


@contextmanager
def lock_holders_named(session: Session) -> Iterator[None]:
    """Where the block waited in vain for a lock of the target, say whose it may be, as far as the account may know.

    The block leaves no transaction open, so that ``session`` can still be asked.
    """
    try:
        yield
    except TargetInterrupted as e:
        if e.extra.get("errno") != LOCK_TIMEOUT or not session.open:
            raise
        try:
            found = query(session, _OPEN)
        except pymysql.MySQLError:
            found = []
        told = "; ".join(f"connection {number} ({user}, {seconds} s)" for number, user, seconds in found)
        raise TargetInterrupted(
            f"{e.message}; open transactions: {told or 'none seen, look at SHOW PROCESSLIST on the target'}",
            remedy="Wait until whoever holds the lock has ended, or end it (KILL); it is tried again by itself.",
            **e.extra,
        ) from e


def timed_out(error: BaseException) -> bool:
    """Whether a statement waited in vain for a lock."""
    return isinstance(error, pymysql.MySQLError) and number_and_text(error)[0] == LOCK_TIMEOUT


def locked(session: Session, names: list[TableName], probe: Callable[[TableName], object]) -> SourceInterrupted:
    """The error for a lock that was waited for in vain; ``probe`` touches one table, to find the locked one."""
    found = names if len(names) == 1 else []
    execute(session, "SET SESSION lock_wait_timeout = 1")
    try:
        for name in [] if found else names:
            try:
                probe(name)
            except pymysql.MySQLError as e:
                if timed_out(e):
                    found = [name]
                    break
    finally:
        bound_waits(session)
    told = str(found[0]) if found else "a table"
    return SourceInterrupted(
        f"{told} stayed locked by others for {LOCK_SECONDS} s (LOCK TABLES, or DDL that runs or waits)",
        remedy="Wait until they have ended, or end them; it is tried again by itself.",
        **({"table": told} if found else {}),
    )
