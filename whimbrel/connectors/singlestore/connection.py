"""Sessions with SingleStore, over its vendor's driver."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

from singlestoredb.exceptions import Error
from singlestoredb.mysql.cursors import SSCursor  # type: ignore[attr-defined]

from whimbrel.connectors import live_sessions
from whimbrel.connectors.deadline import LOGIN_SECONDS, within
from whimbrel.connectors.protocols import Buffer, ServerInfo
from whimbrel.connectors.singlestore.dialect import DIALECT, SingleStoreDialect
from whimbrel.connectors.singlestore.link import Link
from whimbrel.connectors.singlestore.refusals import login_refusal, place, server_refusal, value_refusal
from whimbrel.connectors.sql.session import Session
from whimbrel.errors import HostUnreachable, LoaderFailed, SchemaFailed, TargetInterrupted, WhimbrelError
from whimbrel.model.job import Role, session_name

LOCK_SECONDS: Final = 30
CANCEL_SECONDS: Final = 15.0  # for the server to end a statement that was cancelled; then we give up the connection
BLOCK_ROWS: Final = 5000
LEAST_LEVEL: Final = (7, 0)  # of data_conversion_compatibility_level: below it values are cut and replaced in silence
# Whatever is set for the whole cluster: what does not fit is an error, and double quotes quote texts.
_MODE: Final = "SET SESSION sql_mode = 'STRICT_ALL_TABLES'"
# Where a session may not say how long it waits for locks, the cluster's own patience counts (60 s by default).
_NO_SUCH_SETTING: Final = (1193, 1227, 1229, 1231, 1238, 1706)
CALLER: Final = "CONCAT(p.USER, '@', COALESCE(p.HOST, ''))"  # whose a connection is, in the server's list of processes


class SingleStoreSession(Session):
    """See ``sql.session.Session``.

    The server does not say whether a transaction is still open, and runs what follows one that it has ended as if
    nothing had been. So each transaction begins with a row of its own, which only it can see: what must not happen
    outside of it asks for that row, and no statement commits by itself while one is open.
    """

    def __init__(self, parameters: Mapping[str, Any], operation: str, role: Role) -> None:
        self._parameters, self._operation, self._role = parameters, operation, role
        dialect = SingleStoreDialect(parameters["database"])
        self._open, self.sessions = dialect.own("open"), dialect.own("sessions")  # tables of ours
        # Of the connection, and of the aggregator that it is with: a number is another's on another aggregator.
        self.number, self.node = 0, 0
        self._token = ""
        self._told = False  # whether the server said of the transaction, when it had begun, that it is open
        self._host: str | None = None  # under which the server's list of processes has it, once that is noted
        self._cancelled = False
        self._idle = threading.Event()
        self._idle.set()
        self._link = _linked(parameters, session_name(operation, role))
        live_sessions.track(operation, role, self._link, Link.cut)

    def execute(self, sql: str) -> int:
        with self._at_work() as link, closing(link.cursor()) as cursor:
            return max(0, int(cursor.execute(sql) or 0))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self._at_work() as link, closing(link.cursor()) as cursor:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()]

    def stream(self, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        with self._at_work() as link, closing(SSCursor(link)) as cursor:
            cursor.execute(sql)
            while block := cursor.fetchmany(BLOCK_ROWS):
                yield [tuple(row) for row in block]

    def load(self, sql: str, blocks: Iterable[Buffer], table: str) -> int:
        """Run a LOAD DATA LOCAL; how many rows came. What the server has doubts about is refused."""
        with self._at_work() as link:
            began = self.in_transaction
            try:
                loaded = link.load(sql, blocks)
            except LoaderFailed:
                self.in_transaction = self.in_transaction and link.open  # it was closed, which undoes all of it
                raise
            if began and (not link.in_transaction if self._told else self._committed()):
                raise LoaderFailed(
                    f"{table}: SingleStore has ended the transaction with LOAD DATA, so that rows may be there without "
                    "their record",
                    remedy="Empty the table before it is loaded again, and report the version of SingleStore.",
                )
            if loaded.doubts:
                raise self._doubted(loaded.doubts, table)
            return loaded.rows

    def _committed(self) -> bool:
        """Whether others see the row of the transaction in hand. Asked where the server does not say itself whether a
        transaction is open."""
        with closing(connect(self._parameters, self._operation, self._role)) as other:
            return bool(other.query(f"SELECT 1 FROM DUAL WHERE {self.guard()}"))  # noqa: S608

    def _doubted(self, doubts: int, table: str) -> WhimbrelError:
        """The first warning that says why."""
        told = sorted(self.query("SHOW WARNINGS LIMIT 64"), key=lambda row: row[0] == "Note")
        if told:
            return value_refusal(int(told[0][1]), str(told[0][2]), table)
        return LoaderFailed(f"{table}: the server left out or changed {doubts} values, and does not say which")

    def now(self) -> datetime:
        found: datetime = self.query("SELECT UTC_TIMESTAMP(6)")[0][0]
        return found.replace(tzinfo=UTC)

    def bound_waits(self, seconds: int) -> None:
        try:
            self.execute(f"SET SESSION lock_wait_timeout = {int(seconds)}")
        except WhimbrelError as e:
            if e.extra.get("errno") not in _NO_SUCH_SETTING:
                raise

    # --- transactions -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._token = uuid.uuid4().hex
        try:
            self.execute("SET SESSION autocommit = 0")
            self.execute("START TRANSACTION")
            self.execute(f"INSERT INTO {self._open} VALUES ('{self._token}')")  # noqa: S608
            self._told = self._link.in_transaction
        except BaseException:
            self._undo()
            raise

    def guard(self) -> str:
        return f"EXISTS (SELECT 1 FROM {self._open} WHERE token = '{self._token}')"  # noqa: S608

    def commit(self) -> None:
        if self.execute(f"DELETE FROM {self._open} WHERE token = '{self._token}'") != 1:  # noqa: S608
            raise TargetInterrupted("SingleStore has ended a transaction before its time")
        self.execute("COMMIT")
        self.in_transaction = False
        self.execute("SET SESSION autocommit = 1")

    def rollback(self) -> None:
        if self.in_transaction:
            self.in_transaction = False
            self._undo()

    def _undo(self) -> None:
        try:
            self.execute("ROLLBACK")
            self.execute("SET SESSION autocommit = 1")
        except Exception:
            # An error is on its way already, which is the one to tell, and over a broken line the driver raises more
            # than errors of its own. The server undoes what it has not been told to keep.
            self.close()

    # --- who we are ---------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Note which connection is the operation's, where there is our database to note it in.

        The server counts its connections from the beginning when it starts again: what was noted of an earlier one of
        the same number is no longer so.
        """
        if self._host is not None:
            return
        found = self.query(f"SELECT {CALLER} FROM information_schema.PROCESSLIST p WHERE p.ID = CONNECTION_ID()")  # noqa: S608
        host = str(found[0][0]) if found else ""
        who = {"operation": self._operation, "side": self._role, "address": host}
        told = {column: DIALECT.literal(value) for column, value in who.items()}
        with suppress(SchemaFailed):
            self.execute(
                f"INSERT INTO {self.sessions} (node, process_id, {', '.join(told)}) "  # noqa: S608
                f"VALUES ({self.node}, {self.number}, {', '.join(told.values())}) "
                f"ON DUPLICATE KEY UPDATE {', '.join(f'{column} = {value}' for column, value in told.items())}"
            )
            self._host = host

    def named(self, connections: Iterable[tuple[int, int]], operation: str) -> set[tuple[int, int]] | None:
        """Of connections, by number and node, those that gave the operation's name when they came. None where the
        server does not say what this session has given."""
        asked = {*connections, (self.number, self.node)}
        sql = (
            "SELECT c.CONNECTION_ID, c.NODE_ID, c.ATTRIBUTE_VALUE FROM information_schema.MV_CONNECTION_ATTRIBUTES c "  # noqa: S608
            "WHERE c.ATTRIBUTE_NAME = 'program_name' "
            f"AND c.CONNECTION_ID IN ({', '.join(sorted({str(number) for number, _ in asked}))})"
        )
        try:
            found = {(int(number), int(node)): str(given) for number, node, given in self.query(sql)}
        except WhimbrelError as e:
            if e.retryable:
                raise
            return None
        if found.get((self.number, self.node)) != _program(session_name(self._operation, self._role)):
            return None
        return {who for who in asked if found.get(who) == _program(session_name(operation, "target"))}

    def _untell(self) -> None:
        if self._host is not None and self._link.open and not self.in_transaction:
            self._host = None
            with suppress(WhimbrelError):
                self.execute(f"DELETE FROM {self.sessions} WHERE node = {self.node} AND process_id = {self.number}")  # noqa: S608

    def cancel(self) -> None:
        """End what runs, within twice CANCEL_SECONDS, and let nothing else begin. The server is asked to do it; where
        it does not, or cannot be asked, the connection is given up."""
        self._cancelled = True
        try:
            if not self._idle.is_set():
                with (
                    suppress(WhimbrelError),
                    within(CANCEL_SECONDS, self._link.cut),
                    closing(connect(self._parameters, self._operation, self._role)) as other,
                    within(CANCEL_SECONDS, other._link.cut),
                ):
                    other.execute(f"KILL QUERY {self.number} {self.node}")
        finally:
            if not self._idle.wait(CANCEL_SECONDS):
                with suppress(OSError, AttributeError):  # it has just ended by itself
                    self._link.cut()

    def close(self) -> None:
        self._untell()
        self.in_transaction = False
        with suppress(Exception):
            self._link.close()

    @contextmanager
    def _at_work(self) -> Iterator[Link]:
        """Turn the driver's errors inside the block into ours."""
        self._idle.clear()
        try:
            if self._cancelled:
                raise TargetInterrupted("what SingleStore was asked was cancelled")
            yield self._link
        except (Error, OSError) as e:
            raise server_refusal(e) from e
        finally:
            self._idle.set()


def _program(name: str) -> str:
    """What a session of this name says that it is."""
    return f"whimbrel:{name}"


def _linked(parameters: Mapping[str, Any], name: str) -> Link:
    """A connection that is in. Raises a leaf of ConnectionRefused, after LOGIN_SECONDS at the latest."""
    link = Link(parameters, _program(name))
    with within(LOGIN_SECONDS, link.cut) as login:
        try:
            link.connect()
            with closing(link.cursor()) as cursor:
                cursor.execute(_MODE)
            link.opened()
        except Exception as e:
            with suppress(Exception):
                link.close()
            if login.passed:
                raise HostUnreachable(f"{place(parameters)} did not let us in within {LOGIN_SECONDS:g} s") from e
            if isinstance(e, WhimbrelError):
                raise
            if isinstance(e, Error | OSError):
                raise login_refusal(e, parameters) from e
            # The driver trusts what it reads: what it stumbles over is no server of this kind, or one out of its mind.
            raise HostUnreachable(f"{place(parameters)} does not speak MySQL's protocol ({type(e).__name__})") from e
    return link


def connect(parameters: Mapping[str, Any], operation: str, role: Role = "target") -> SingleStoreSession:
    """Open a session named after ``operation`` and ``role``. Raises a leaf of ConnectionRefused."""
    session = SingleStoreSession(parameters, operation, role)
    try:
        number, node, _ = session.query("SELECT CONNECTION_ID(), AGGREGATOR_ID(), @@memsql_version")[0]
        session.number, session.node = int(number), int(node)
        session.bound_waits(LOCK_SECONDS)
    except WhimbrelError as e:
        session.close()
        if e.retryable:
            raise
        raise HostUnreachable(
            f"{place(parameters)} is no SingleStore",
            remedy="Correct host and port, or use the type mysql or mariadb for servers of that kind.",
        ) from e
    return session


def make_ours(session: Session, dialect: SingleStoreDialect) -> None:
    """The database and our tables, where they are absent. Who may not make databases need not where it is there."""
    there = has_database(session, dialect.database)
    for statement in dialect.own_objects():
        if not (there and statement == dialect.create_schema(dialect.database)):
            session.execute(statement)


def has_database(session: Session, name: str) -> bool:
    named = f"SCHEMA_NAME = {DIALECT.literal(name)}"
    return bool(session.query(f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE {named}"))  # noqa: S608


def require_strict(session: Session) -> None:
    """Raise LoaderFailed where the cluster cuts or replaces values that do not fit, which no session can forbid."""
    level = conversion_level(session)
    if level < LEAST_LEVEL:
        raise LoaderFailed(
            f"data_conversion_compatibility_level is {'.'.join(map(str, level))}, under which SingleStore cuts and "
            "replaces values that do not fit, without an error",
            remedy="SET GLOBAL data_conversion_compatibility_level = '8.0' (see the vendor's page 'Data Type "
            "Conversion' for what it means to computed columns).",
        )


def conversion_level(session: Session) -> tuple[int, ...]:
    told = str(session.query("SELECT @@data_conversion_compatibility_level")[0][0])
    return tuple(int(n) for n in told.split(".") if n.isdigit())


def server_info(parameters: Mapping[str, Any]) -> ServerInfo:
    """Connect, read version and identity, disconnect. Raises a ConnectionRefused leaf."""
    with closing(connect(parameters, "test")) as session:
        version = str(session.query("SELECT @@memsql_version")[0][0])
    numbers = tuple(int(n) for n in version.split("-")[0].split(".") if n.isdigit())
    return ServerInfo(f"SingleStore {version}", numbers, place(parameters))
