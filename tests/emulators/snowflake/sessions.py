"""Sessions and their transactions, as Snowflake has them on top of DuckDB's.

- Each statement sees what was committed before it began (READ COMMITTED), DuckDB's transactions see one moment. So
  the one below begins at the first statement that changes something, and is made anew in a later moment, from the
  statements that it had, when a table is asked for that somebody else has changed meanwhile. Their locks keep the
  outcome the same.
- A statement that fails leaves the transaction open with what it had; DuckDB's is made anew for that too.
- DDL commits. A second BEGIN does nothing.
- A client that vanishes leaves its transaction open. Once that keeps another one waiting and no statement has come for
  ``idle_seconds``, it is rolled back (Snowflake: five minutes), and its client is told with its next statement, should
  it come. ``SYSTEM$ABORT_SESSION`` and ``SYSTEM$ABORT_TRANSACTION`` end one at once. No page of the vendor's says that
  the client must be told: with a file ``silent`` in the stand-in's folder it is not.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import fakesnow.server as server
from snowflake.connector.errors import ProgrammingError

from tests.emulators.snowflake.locks import Locks, NotGiven, Table

LOCK_TIMEOUT = 20.0
_transactions = itertools.count(1_700_000_000_001)


@dataclass
class Transaction:
    """``again`` has the statements that changed something, in their order; ``moment`` is None until the first."""

    name: str
    id: int = field(default_factory=lambda: next(_transactions))
    began: float = field(default_factory=time.time)
    again: list[Callable[[], object]] = field(default_factory=list)
    written: set[Table] = field(default_factory=set)
    moment: int | None = None


def _transaction(name: str | None = None) -> Transaction:
    return Transaction(name or str(uuid.uuid4()))


class Session:
    """One session. ``turn`` is held by a request, ``working`` while a statement is at work below."""

    def __init__(
        self,
        number: int,
        connection: Any,
        sessions: Sessions,
        warehouse: str | None,
        role: str,
        user: str,
        idle_seconds: float,
    ) -> None:
        self.id = number
        self.connection = connection
        self.sessions = sessions
        self.warehouse, self.role, self.user = warehouse, role, user
        self.turn = asyncio.Lock()
        self.working = threading.RLock()
        self.autocommit: bool = connection._autocommit
        connection._autocommit = True  # we look after transactions
        self.lock_timeout = LOCK_TIMEOUT
        self.application = ""
        self.temporary: set[Table] = set()
        self.transaction: Transaction | None = None
        self._aborted: int | None = None
        self._idle_seconds = idle_seconds
        self._last_heard = time.monotonic()
        self._cancelled = threading.Event()

    @property
    def duck(self) -> duckdb.DuckDBPyConnection:
        connection: duckdb.DuckDBPyConnection = self.connection._duck_conn
        return connection

    def private(self, table: str) -> str:
        """What a temporary table of this session is called below."""
        return f"{table}~{self.id}"

    def drop_temporary(self) -> None:
        for database, schema, table in self.temporary:
            with suppress(duckdb.Error):
                self.duck.execute(f'DROP TABLE IF EXISTS "{database}"."{schema}"."{self.private(table)}"')
        self.temporary.clear()

    def use(self, kind: str, name: str) -> None:
        """USE WAREHOUSE, USE ROLE."""
        if name not in (self.sessions.warehouses if kind == "WAREHOUSE" else self.sessions.roles):
            raise ProgrammingError(
                msg="SQL compilation error:\nObject does not exist, or operation cannot be performed.",
                errno=2043,
                sqlstate="02000",
            )
        if kind == "WAREHOUSE":
            self.warehouse = name
        else:
            self.role = name

    def check_warehouse(self) -> None:
        if self.warehouse is None:
            raise ProgrammingError(
                msg="No active warehouse selected in the current session.  Select an active warehouse with the "
                "'use warehouse' command.",
                errno=606,
                sqlstate="57P03",
            )

    # --- one statement ------------------------------------------------------------------------------------------------

    def begins(self) -> None:
        """A statement has come."""
        self._cancelled.clear()
        self._last_heard = time.monotonic()

    def ended(self) -> None:
        self._last_heard = time.monotonic()

    def check_not_aborted(self, ends: bool) -> None:
        """Tell the client once that its transaction was rolled back by somebody else."""
        if self._aborted is not None:
            gone, self._aborted = self._aborted, None
            if not ends:
                raise ProgrammingError(
                    msg=f"Your transaction with id '{gone}' was already rolled back.", errno=670, sqlstate="57014"
                )

    def read(self, tables: Iterable[Table], work: Callable[[], object]) -> None:
        """A statement that changes nothing."""
        transaction = self.transaction
        if transaction is None or transaction.moment is None:
            work()
            return
        if self.sessions.locks.changed_since(tables, transaction.moment):
            self._anew(transaction)
        self._try(transaction, work)

    def write(self, target: Table | None, tables: Iterable[Table], exclusive: bool, work: Callable[[], object]) -> None:
        """A statement that changes ``target`` (None: a table of this session alone)."""
        transaction, alone = self.transaction, False
        if transaction is None:
            transaction = self.transaction = _transaction()
            alone = self.autocommit
        try:
            if exclusive and target is not None:
                self._lock(target)
            if transaction.moment is None or self.sessions.locks.changed_since(tables, transaction.moment):
                self._anew(transaction)
            self._try(transaction, work)
        except BaseException:
            if alone:
                self.roll_back()
            raise
        transaction.again.append(work)
        if target is not None:
            transaction.written.add(target)
        if alone:
            self.commit()

    def define(self, target: Table | None, work: Callable[[], object]) -> None:
        """DDL: commits, then does its work by itself."""
        self.commit()
        if target is not None:
            self._lock(target)
        try:
            work()
            self.sessions.locks.committed([target] if target else [])
        finally:
            self.sessions.locks.release(self)

    def begin(self, name: str | None = None) -> None:
        if self.transaction is None:
            self.transaction = _transaction(name)

    def commit(self) -> None:
        transaction, self.transaction = self.transaction, None
        try:
            if transaction is not None and transaction.moment is not None:
                self.duck.commit()
                self.sessions.locks.committed(transaction.written)
        finally:
            self.sessions.locks.release(self)

    def roll_back(self) -> None:
        transaction, self.transaction = self.transaction, None
        try:
            if transaction is not None and transaction.moment is not None:
                self.duck.rollback()
        finally:
            self.sessions.locks.release(self)

    def _lock(self, table: Table) -> None:
        try:
            self.sessions.locks.take(table, self, self.lock_timeout, self._check_cancelled)
        except NotGiven as e:
            if self.transaction is None or self.transaction.moment is None:
                self.sessions.locks.release(self)
            raise ProgrammingError(
                msg=f"Another statement has locked table '{e}' in a transaction and this lock has not yet been "
                "released. Your statement was aborted because it waited for as long as LOCK_TIMEOUT allows.",
                errno=625,
                sqlstate="57014",
            ) from None

    def _try(self, transaction: Transaction, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException:
            self._anew(transaction)
            raise

    def _anew(self, transaction: Transaction) -> None:
        """DuckDB's transaction in this moment, with what was done in it before."""
        if transaction.moment is not None:
            with suppress(duckdb.TransactionException):
                self.duck.rollback()
        transaction.moment = self.sessions.locks.now()
        self.duck.begin()
        for work in transaction.again:
            work()

    # --- ended by others ----------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop the statement that is at work."""
        self._cancelled.set()
        self.duck.interrupt()

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise ProgrammingError(msg="SQL execution canceled", errno=604, sqlstate="57014")

    def give_up_if_idle(self) -> bool:
        if time.monotonic() - self._last_heard < self._idle_seconds or not self.working.acquire(blocking=False):
            return False
        try:
            return time.monotonic() - self._last_heard >= self._idle_seconds and self.abort_transaction()
        finally:
            self.working.release()

    def abort_transaction(self) -> bool:
        """Roll back what is open; the next statement is told."""
        with self.working:
            if self.transaction is None:
                return False
            self._aborted = None if self.sessions.silent.exists() else self.transaction.id
            self.roll_back()
            return True


class Sessions:
    """All sessions, by number and by token."""

    def __init__(self, statements: Path, idle_seconds: float, warehouses: Sequence[str], roles: Sequence[str]) -> None:
        self.locks = Locks()
        self.warehouses, self.roles = warehouses, roles
        self._statements = statements
        self.silent = statements.parent / "silent"
        self._writing = threading.Lock()
        self._idle_seconds = idle_seconds
        self._numbers = itertools.count(100_001)
        self._by_number: dict[int, tuple[str, Session]] = {}

    def opened(
        self, token: str, connection: Any, user: str, chosen: Mapping[str, str], said: Mapping[str, Any]
    ) -> Session:
        """A session for fakesnow's connection of that token."""
        number = next(self._numbers)
        warehouse = chosen.get("warehouse", "").upper()  # one that is not there is found out by the first statement
        role = chosen.get("roleName", "").upper() or self.roles[0]
        active = warehouse if warehouse in self.warehouses else None
        session = Session(number, connection, self, active, role, user, self._idle_seconds)
        session.lock_timeout = float((said.get("SESSION_PARAMETERS") or {}).get("LOCK_TIMEOUT", LOCK_TIMEOUT))
        session.application = str((said.get("CLIENT_ENVIRONMENT") or {}).get("APPLICATION", ""))
        connection.stand = session
        self._by_number[number] = (token, session)
        return session

    def of_token(self, token: str) -> Session | None:
        connection = server.sessions.get(token)
        return None if connection is None else connection.stand

    def numbered(self, number: int) -> Session | None:
        found = self._by_number.get(number)
        return found[1] if found else None

    def end(self, number: int) -> bool:
        """Cancel what it does, roll back, and forget it; whether there was one."""
        found = self._by_number.pop(number, None)
        if found is None:
            return False
        token, session = found
        server.sessions.pop(token, None)
        session.cancel()
        with session.working:
            session.roll_back()
            session.drop_temporary()
        session.connection.close()
        return True

    def abort_transaction(self, number: int) -> bool:
        for session, transaction in self.open_transactions():
            if transaction.id == number:
                session.cancel()
                return session.abort_transaction()
        return False

    def open_transactions(self) -> list[tuple[Session, Transaction]]:
        """Those that were begun and are not ended, of all sessions."""
        sessions = (session for _, session in tuple(self._by_number.values()))
        return [(session, session.transaction) for session in sessions if session.transaction is not None]

    def log(self, session: Session, sql: str) -> None:
        with self._writing, self._statements.open("a") as file:
            file.write(json.dumps({"session": session.id, "application": session.application, "sql": sql}) + "\n")
