"""Sessions on MySQL and MariaDB: how they are opened, found again and ended, and how names are quoted."""

from __future__ import annotations

import hashlib
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.connections import Connection
from pymysql.constants import CLIENT

from whimbrel.connectors import live_sessions
from whimbrel.connectors.deadline import LOGIN_SECONDS, LOOK_SECONDS, within
from whimbrel.connectors.mysql.passwords import plugins
from whimbrel.connectors.mysql.processes import ServerProcess, processes
from whimbrel.connectors.mysql.refusals import connection_refusal, server_refusal
from whimbrel.errors import HostUnreachable, IdentifierRefused, TlsFailed, WhimbrelError
from whimbrel.model.job import Role, session_name
from whimbrel.model.names import TableName

CONNECT_SECONDS = 15  # for an address to be reached, and for each answer until we are in
END_SECONDS = 15
# When a peer that answers nothing counts as lost, in seconds; the system's own patience is two hours.
KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
_UNKNOWN_VARIABLE = 1193
_LOCKS_AT_ONCE = 200  # user locks whose owners one statement asks for

# Strict, so that nothing is cut or replaced on the way in; but zero and invalid dates, which a source may hold, and 0
# in an AUTO_INCREMENT column are stored as they are. Backslash escapes stay on and double quotes quote text.
SQL_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES"

# What a session relies on, whatever is set for the whole server: without autocommit a question keeps its table locked,
# a chained COMMIT begins the next transaction, and a note that is not kept does not tell of a digit that was cut off.
SESSION_SETTINGS = {
    "completion_type": "0",
    "foreign_key_checks": "1",
    "sql_notes": "1",
    "time_zone": "'+00:00'",
    "wait_timeout": "86400",
    "net_read_timeout": "3600",
    "net_write_timeout": "3600",
    "sql_auto_is_null": "0",
    "sql_safe_updates": "0",
    "sql_big_selects": "1",
    "unique_checks": "1",
    "sql_quote_show_create": "1",
    "sql_select_limit": "18446744073709551615",
    "group_concat_max_len": "1048576",
}
MARIADB_SETTINGS = {
    "max_error_count": "64",  # which MySQL lets only some accounts set
    "max_statement_time": "0",
    "idle_transaction_timeout": "0",
    "idle_write_transaction_timeout": "0",
    "idle_readonly_transaction_timeout": "0",
}
# A target's tables and rows may be locked by others, for a day or a year by the servers' defaults; what waited in vain
# is tried again, and says who is in the way.
TARGET_LOCK_SECONDS = 30
TARGET_SETTINGS = {"lock_wait_timeout": f"{TARGET_LOCK_SECONDS}", "innodb_lock_wait_timeout": f"{TARGET_LOCK_SECONDS}"}
# MySQL caches the statistics it shows for a day; a fresh table would be planned as an empty one.
MYSQL_SETTINGS = {"max_execution_time": "0", "information_schema_stats_expiry": "0"}


if TYPE_CHECKING:
    _Connection = Connection[pymysql.cursors.Cursor]
else:
    _Connection = Connection  # generic in its type stubs only


class Session(_Connection):
    """A connection that may be closed twice, and that knows which of the two servers it talks to."""

    server_version: str
    _sock: socket.socket
    _read_timeout: float | None
    _write_timeout: float | None
    _execute_command: Callable[[int, str | bytes], None]
    _force_close: Callable[[], None]

    def close(self) -> None:
        if self.open:
            super().close()

    def cut(self) -> None:
        """End it from another thread, whatever waits for an answer here."""
        if self.open:
            self._sock.shutdown(socket.SHUT_RDWR)

    def wait_for_ever(self) -> None:
        """Bound no answer from now on: a load or an index takes as long as it takes."""
        self._read_timeout = self._write_timeout = None
        self._sock.settimeout(None)

    @property
    def mariadb(self) -> bool:
        return "mariadb" in self.server_version.lower()

    @property
    def version(self) -> tuple[int, ...]:
        """``(10, 11, 19)``; MariaDB's compatibility prefix ``5.5.5-`` is taken off."""
        text = self.server_version.removeprefix("5.5.5-").partition("-")[0]
        return tuple(int(part) for part in text.split(".") if part.isdigit())


def connect(
    parameters: Mapping[str, Any],
    operation: str,
    *,
    role: Role = "source",
    autocommit: bool = True,
    database: str | None = None,
    local_infile: bool = False,
    multi: bool = False,
) -> Session:
    """Open a session that cleanup can find by ``operation`` and ``role``, in UTC, utf8mb4 and strict mode. On a target
    it waits for no lock longer than ``TARGET_LOCK_SECONDS``.

    ``parameters`` are those of an endpoint after ``config.parse``; ``database`` becomes the default database (by
    default there is none). ``local_infile`` permits ``infile.load_local`` and nothing else that sends a file;
    ``multi`` permits several statements in one. Raises a leaf of ConnectionRefused, after LOGIN_SECONDS at the latest.
    """
    flags = (CLIENT.LOCAL_FILES if local_infile else 0) | (CLIENT.MULTI_STATEMENTS if multi else 0)
    tls = _tls(parameters)
    session = Session(
        host=parameters["host"],
        port=int(parameters.get("port", 3306)),
        user=parameters["user"],
        password=parameters["password"].encode(),
        database=database,
        charset="utf8mb4",
        sql_mode=SQL_MODE,
        autocommit=autocommit,
        client_flag=flags,
        connect_timeout=CONNECT_SECONDS,
        read_timeout=CONNECT_SECONDS,
        write_timeout=CONNECT_SECONDS,
        program_name=f"whimbrel:{session_name(operation, role)}",
        auth_plugin_map=plugins(parameters),
        ssl=tls,
        ssl_disabled=parameters.get("ssl_mode") == "disabled",
        defer_connect=True,
    )
    with within(LOGIN_SECONDS, session.cut) as login:
        try:
            session.connect()
            # said here too, as MySQL tells the driver that autocommit is on where it is off for the whole server
            more = {"autocommit": str(int(autocommit))} | (TARGET_SETTINGS if role == "target" else {})
            _prepare(session, session_name(operation, role), more)
            session.wait_for_ever()
        except Exception as e:
            session.close()
            if login.passed:
                raise HostUnreachable(f"{_where(parameters)} did not let us in within {LOGIN_SECONDS:g} s") from e
            if isinstance(e, pymysql.MySQLError):
                raise connection_refusal(e, parameters) from e
            if isinstance(e, WhimbrelError):
                raise
            # The driver trusts what it reads: what it stumbles over is no server of this kind, or one out of its mind.
            raise HostUnreachable(f"{_where(parameters)} does not speak MySQL's protocol ({type(e).__name__})") from e
    live_sessions.track(operation, role, session, Session.cut)
    return session


@contextmanager
def looking(session: Session, parameters: Mapping[str, Any]) -> Iterator[None]:
    """Bound all that is asked inside the block, for somebody who waits for it. Raises HostUnreachable."""
    with within(LOOK_SECONDS, session.cut) as look:
        try:
            yield
        except Exception as e:
            if look.passed:
                raise HostUnreachable(f"{_where(parameters)} did not answer within {LOOK_SECONDS:g} s") from e
            raise


def _where(parameters: Mapping[str, Any]) -> str:
    return f"{parameters['host']}:{parameters.get('port', 3306)}"


def _prepare(session: Session, name: str, more: Mapping[str, str]) -> None:
    session._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in KEEPALIVE.items():
        if hasattr(socket, option):  # not on every system
            session._sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    settings = SESSION_SETTINGS | (MARIADB_SETTINGS if session.mariadb else MYSQL_SETTINGS) | dict(more)
    execute(session, "SET " + ", ".join(f"SESSION {name} = {value}" for name, value in settings.items()))
    execute(session, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE")
    if session.mariadb:
        _read_newest_when_locking(session)
    execute(session, "SELECT GET_LOCK(CONCAT(%s, CONNECTION_ID()), 0)", (_lock_prefix(name),))


def _read_newest_when_locking(session: Session) -> None:
    """From MariaDB 11.6 on, a row that has changed since the transaction first read anything cannot be locked (1020):
    the progress would then be refused to its own owner, once a repair had held it in the meantime."""
    try:
        execute(session, "SET SESSION innodb_snapshot_isolation = OFF")
    except pymysql.MySQLError as e:
        if e.args[0] != _UNKNOWN_VARIABLE:  # which older ones do not have
            raise


def _tls(parameters: Mapping[str, Any]) -> ssl.SSLContext | None:
    """None leaves it to the driver, which then encrypts if the server can (``preferred``)."""
    mode = parameters.get("ssl_mode", "preferred")
    if mode in ("disabled", "preferred"):
        return None
    try:
        context = ssl.create_default_context(cafile=parameters.get("ssl_ca"))
    except (OSError, ssl.SSLError) as e:
        raise TlsFailed(f"parameters.ssl_ca: {parameters.get('ssl_ca')} cannot be used: {e}") from e
    # Certificates that MySQL makes for itself lack an extension that newer Pythons insist on.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = mode == "verify_identity"
    if mode == "required":
        context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def mapped(role: Role, subject: str = "") -> Iterator[None]:
    """Turn the driver's errors inside the block into ours, as seen from the source or the target side.

    ``subject`` names the table at work, for the message.
    """
    try:
        yield
    except pymysql.MySQLError as e:
        raise server_refusal(e, role, subject) from e


def execute(session: Session, sql: str, arguments: Sequence[Any] = ()) -> int:
    """Run one statement; the number of rows it changed or found."""
    with session.cursor() as cursor:
        return cursor.execute(sql, tuple(arguments) or None)


def query(session: Session, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run one statement and return all of its rows. Only for metadata: every value becomes an object."""
    with session.cursor() as cursor:
        cursor.execute(sql, tuple(arguments) or None)
        return list(cursor.fetchall())


# --- finding and ending our sessions ----------------------------------------------------------------------------------
# Each session holds a user lock whose name carries operation, side and connection id. Locks end with their session,
# whoever killed the client, and can be asked for by name everywhere; the program name cannot (performance_schema may
# be off).


def _lock_prefix(name: str) -> str:
    """At most 46 characters, so that the whole name keeps to MySQL's 64."""
    name = name if len(name) <= 36 else hashlib.sha256(name.encode()).hexdigest()[:36]
    return f"whimbrel:{name}:"


def sessions(session: Session, operation: str, role: Role) -> tuple[int, ...]:
    """The connection ids of the operation's other sessions on this server, of one side: both may be on it."""
    return tuple(p.number for p in _of_operation(session, operation, role))


def _of_operation(session: Session, operation: str, role: Role) -> list[ServerProcess]:
    prefix = _lock_prefix(session_name(operation, role))
    others = processes(session)
    ours: set[int] = set()
    for at in range(0, len(others), _LOCKS_AT_ONCE):
        batch = others[at : at + _LOCKS_AT_ONCE]
        owners = ", ".join(["IS_USED_LOCK(%s)"] * len(batch))
        found = query(session, f"SELECT {owners}", [f"{prefix}{p.number}" for p in batch])[0]
        ours |= {p.number for p, owner in zip(batch, found, strict=True) if owner == p.number}
    return [p for p in others if p.number in ours]


def at_work(parameters: Mapping[str, Any], operation: str, role: Role) -> int:
    """How many of the operation's other sessions the server works for just now: not those that are idle, that stream
    the log, or that wait for their client."""
    with closing(connect(parameters, operation, role=role)) as session, mapped(role):
        ours = _of_operation(session, operation, role)
    idle = ("Sleep", "Binlog Dump", "Binlog Dump GTID")
    return sum(p.command not in idle and p.state.lower() not in _FOR_CLIENT for p in ours)


_FOR_CLIENT = frozenset(
    ("writing to net", "sending to client", "reading from net", "receiving from client", "waiting for client")
)


def end_sessions(parameters: Mapping[str, Any], operation: str, role: Role) -> int:
    """Kill every session of the operation's side and wait until the server has let go of them; how many there were."""
    with closing(connect(parameters, f"cleanup-{operation}")) as session, mapped(role):
        found = sessions(session, operation, role)
        for number in found:
            _kill(session, number, _GONE)
        deadline = time.monotonic() + END_SECONDS
        while sessions(session, operation, role) and time.monotonic() < deadline:
            time.sleep(0.05)
        return len(found)


def end_other_processes(session: Session, operations: Collection[str], role: Role) -> None:
    """Kill the sessions of these operations that other processes have on the side of ``session``, as far as its account
    may, and wait until the server has undone what they had in hand, END_SECONDS at the longest."""
    here = [s for name in operations for s in live_sessions.here(name, role, Session) if s.open]
    ours = {int(s.thread_id()) for s in here}  # type: ignore[no-untyped-call]
    killed: set[int] = set()
    deadline = time.monotonic() + END_SECONDS
    while others := {n for name in operations for n in sessions(session, name, role)} - ours:
        for number in others - killed:
            _kill(session, number, _GONE, _NOT_OURS)
        killed |= others
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)


_GONE, _NOT_OURS = 1094, 1095


def _kill(session: Session, number: int, *passed: int) -> None:
    try:
        execute(session, f"KILL CONNECTION {number}")
    except pymysql.MySQLError as e:
        if e.args[0] not in passed:
            raise


# --- quoting ----------------------------------------------------------------------------------------------------------


def quote_identifier(name: str) -> str:
    """Backquote one name. Raises IdentifierRefused for what MySQL cannot hold as a name."""
    if not name or "\0" in name or name.endswith(" ") or any(ord(c) > 0xFFFF for c in name):
        raise IdentifierRefused(f"{name!r} cannot be a name in MySQL")
    return "`" + name.replace("`", "``") + "`"


def quote_identifiers(names: Iterable[str]) -> str:
    """Quoted names with commas between them."""
    return ", ".join(quote_identifier(n) for n in names)


def qualified(name: TableName) -> str:
    """```schema`.`table```."""
    return f"{quote_identifier(name.schema)}.{quote_identifier(name.table)}"


def quote_literal(text: str) -> str:
    """Quote text as a string constant that reads the same with and without NO_BACKSLASH_ESCAPES, if it can."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"
