"""Waiting for tables of the source that others have locked: for a while only, and with their names."""

from __future__ import annotations

from collections.abc import Callable

import pymysql

from whimbrel.connectors.mysql.connection import Session, execute
from whimbrel.connectors.mysql.refusals import LOCK_TIMEOUT, number_and_text
from whimbrel.errors import SourceInterrupted
from whimbrel.model.names import TableName

# The server's own patience is a day or a year, in which an ALTER TABLE or LOCK TABLES can hold up a look at a table.
LOCK_SECONDS = 30


def bound_waits(session: Session) -> None:
    """Let no statement of the session wait longer than ``LOCK_SECONDS`` for a table."""
    execute(session, f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")


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
