"""Stopping writes on the source for the moment in which a snapshot's sessions open, and never for longer than that.

Who waits for such a lock stops every writer behind it. So it is asked for when no statement has been running that would
be in the way for long; the wait for it has a bound of our own, because the server's counts each of several waits anew;
and the server ends a freeze whose holder has vanished.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from types import TracebackType
from typing import Any

import pymysql

from whimbrel.connectors.mysql.connection import (
    SESSION_SETTINGS,
    Session,
    connect,
    execute,
    mapped,
    qualified,
    query,
)
from whimbrel.connectors.mysql.processes import ServerProcess, processes
from whimbrel.connectors.mysql.refusals import LOCK_TIMEOUT, number_and_text
from whimbrel.connectors.mysql.source.log import DENIED
from whimbrel.errors import SourceInterrupted, SourcePermissionDenied
from whimbrel.model.table import Table

LOCK_SECONDS = 5  # how long writers may have to wait behind us
BUSY_LOCK_SECONDS = 1  # the same where a long statement is seen, which will most likely be in the way
QUIET_SECONDS = 30.0  # how long such statements are waited for, which costs nobody anything
LONG_SECONDS = 2
FROZEN_SECONDS = 60  # the sessions of a snapshot open within a few
MARGIN_SECONDS = 0.5

_SERVERS_OWN = ("system user", "event_scheduler")
_READS = re.compile(r"[\s(]*(select|with|show)", re.IGNORECASE)
_NOT_IN_THE_WAY = ("Sleep", "Daemon", "Binlog Dump", "Binlog Dump GTID")
_IDLE_IN_TRANSACTION = """
SELECT p.ID, p.USER, p.TIME FROM information_schema.INNODB_TRX t JOIN information_schema.PROCESSLIST p
ON p.ID = t.trx_mysql_thread_id WHERE p.COMMAND = 'Sleep' ORDER BY p.TIME DESC LIMIT 5"""


def freeze(
    session: Session, parameters: Mapping[str, Any], operation: str, tables: Sequence[Table], *, needed: bool
) -> tuple[str, ...]:
    """Stop writes until ``thaw`` or the end of the session, and say what could not be done.

    Raises SourceInterrupted when the lock is not had within ``LOCK_SECONDS``; the session is then to be closed. Raises
    SourcePermissionDenied when a lock is ``needed`` and the account may not have one.
    """
    names = ", ".join(f"{qualified(t.name)} READ" for t in tables)
    with mapped("source"), closing(connect(parameters, operation)) as watcher:
        execute(session, f"SET SESSION wait_timeout = {FROZEN_SECONDS}")
        if _locked(session, watcher, "FLUSH TABLES WITH READ LOCK", stopped_by_reads=not session.mariadb):
            return ()
        if names and _locked(session, watcher, f"LOCK TABLES {names}", stopped_by_reads=False):
            return ("the account may not lock all tables at once (RELOAD): only the migrated tables were locked",)
    if needed:
        raise SourcePermissionDenied(
            "the account may neither FLUSH TABLES WITH READ LOCK nor LOCK TABLES; a table without a key, or several "
            "threads without change capture, need one moment for all",
            remedy="GRANT RELOAD ON *.* or GRANT LOCK TABLES on the schemas to the account, or use threads=1.",
        )
    return ("the account may not lock tables: the snapshot is made without a lock, and changes since are replayed",)


def thaw(session: Session) -> None:
    """Let writers go on; the session may be idle again for as long as others."""
    execute(session, "UNLOCK TABLES")
    execute(session, f"SET SESSION wait_timeout = {SESSION_SETTINGS['wait_timeout']}")


def _locked(session: Session, watcher: Session, sql: str, *, stopped_by_reads: bool) -> bool:
    """Whether the lock was had; False when the account may not ask for it."""
    seconds = LOCK_SECONDS if _quiet(watcher, session, stopped_by_reads) else BUSY_LOCK_SECONDS
    execute(session, f"SET SESSION lock_wait_timeout = {seconds}")
    wait = _BoundedWait(session, watcher, seconds)
    try:
        with wait:
            execute(session, sql)
    except pymysql.MySQLError as e:
        number = number_and_text(e)[0]
        if number in DENIED:
            return False
        if number != LOCK_TIMEOUT and not wait.ended:
            raise
        raise SourceInterrupted(
            f"the source could not be frozen within {seconds} s: {wait.blockers or 'nobody is seen any more'}",
            remedy="Wait for the sessions named, or end them; it is tried again by itself.",
        ) from e
    return True


def _quiet(watcher: Session, session: Session, stopped_by_reads: bool) -> bool:
    """Wait until no statement has been running for long; False when there still is one after ``QUIET_SECONDS``.

    Without the right to see others' statements there is none. Replication's own threads never end.
    """
    own = int(session.thread_id())  # type: ignore[no-untyped-call]
    deadline = time.monotonic() + QUIET_SECONDS

    def long(p: ServerProcess) -> bool:
        seen = p.number != own and p.seconds >= LONG_SECONDS and p.executing and p.user not in _SERVERS_OWN
        return seen and (stopped_by_reads or not _READS.match(p.statement))

    while any(map(long, processes(watcher))):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


class _BoundedWait:
    """Looks who is in the way shortly before the time is up, and has the server end the session shortly after.

    ``blockers`` says who was, ``ended`` whether it came to that.
    """

    def __init__(self, session: Session, watcher: Session, seconds: float) -> None:
        self.blockers = ""
        self.ended = False
        self._number = int(session.thread_id())  # type: ignore[no-untyped-call]
        self._watcher = watcher
        self._seconds = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="freeze", daemon=True)

    def _watch(self) -> None:
        if self._over.wait(max(self._seconds - MARGIN_SECONDS, 0.0)):
            return
        with suppress(pymysql.MySQLError):  # then the server's own timeout must do
            self.blockers = _blockers(self._watcher, self._number)
            if not self._over.wait(2 * MARGIN_SECONDS):
                self.ended = True
                execute(self._watcher, f"KILL CONNECTION {self._number}")

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()


def _blockers(session: Session, waiting: int) -> str:
    """The sessions that may be in the way, longest first; their statements may hold values and are not told."""
    found = [
        p
        for p in processes(session)
        if p.number != waiting and p.command not in _NOT_IN_THE_WAY and not p.state.startswith("Waiting for ")
    ]
    found.sort(key=lambda p: -p.seconds)
    told = [f"session {p.number} of {p.user}, {p.seconds} s ({p.state})" for p in found[:5]]
    with suppress(pymysql.MySQLError):  # needs PROCESS
        rows = query(session, _IDLE_IN_TRANSACTION)
        told += [f"session {number} of {user}, idle for {s} s in a transaction" for number, user, s in rows]
    return "; ".join(told) or (
        "no session is seen at work: one that is idle may hold LOCK TABLES or a transaction, or the account may not "
        "see others' sessions (PROCESS)"
    )
