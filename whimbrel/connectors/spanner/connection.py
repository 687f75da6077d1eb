"""Sessions of Spanner over its vendor's messages, sent by gRPC.

A transaction reads, runs statements and ends with one commit that carries all its mutations. Spanner aborts it when
another one is in its way, so what is done in one is a function that is called anew until a commit went through. A
commit whose answer was lost is sent again for the same transaction, which the service does once; what is done again
after that must be harmless, and whoever must know is told (``unsure``).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import datetime
from typing import Any, Final, TypeVar

import grpc
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError
from google.cloud.spanner_admin_database_v1 import types as admin
from google.cloud.spanner_admin_database_v1.services.database_admin.transports.grpc import DatabaseAdminGrpcTransport
from google.cloud.spanner_v1 import types as api
from google.cloud.spanner_v1.services.spanner.transports.grpc import SpannerGrpcTransport
from google.longrunning import operations_pb2
from google.protobuf.struct_pb2 import ListValue

from whimbrel.connectors.protocols import ServerInfo
from whimbrel.connectors.spanner.answers import Row, Said, rows
from whimbrel.connectors.spanner.channel import open_channel
from whimbrel.connectors.spanner.config import database_path
from whimbrel.connectors.spanner.refusals import (
    BUSY,
    code_of,
    definition_refusal,
    login_refusal,
    server_refusal,
    wrong_dialect,
)
from whimbrel.connectors.spanner.wire import field
from whimbrel.connectors.sql.session import Session
from whimbrel.errors import TargetInterrupted, WhimbrelError
from whimbrel.model.job import Role, session_name

REQUEST_SECONDS: Final = 60.0  # for one request to be answered
COMMIT_SECONDS: Final = 180.0
QUERY_SECONDS: Final = 3600.0  # for the whole answer of a query that looks at a whole table
LOGIN_SECONDS: Final = 10.0  # for a service that cannot be reached
BUSY_SECONDS: Final = 30.0  # for a throttled service, before that is told and waited for elsewhere
ABORTED_SECONDS: Final = 300.0  # for others that are in a transaction's way
DEFINITION_SECONDS: Final = 3600.0  # an index is filled meanwhile
BLOCK_ROWS: Final = 5000
ERRORS: Final = (grpc.RpcError, GoogleAPICallError, GoogleAuthError, OSError)
_SERVICE: Final = "/google.spanner.v1.Spanner"
_DEFINING: Final = ("CREATE", "ALTER", "DROP")
_READ_WRITE: Final[dict[str, Any]] = {"read_write": {}}
Check = Callable[[int], None]
T = TypeVar("T")


class SpannerSession(Session):
    """See ``sql.session.Session``. Inside of a transaction ``execute`` only notes the statement, and tells 0; what is
    noted is run when it is committed. Definitions are changed outside of transactions, always."""

    def __init__(self, parameters: Mapping[str, Any], operation: str, role: Role) -> None:
        self.path = database_path(parameters)
        self._label = session_name(operation, role).lower().replace(":", "_")[:63]
        self._noted: list[tuple[str, Check | None]] = []
        self._mutations: list[bytes] = []
        self._running: Any = None  # the answer that is read just now, for ``cancel``
        self._metadata = [("google-cloud-resource-prefix", self.path)]
        try:
            self.channel = open_channel(parameters)
            self._stubs: Any = SpannerGrpcTransport(channel=self.channel)
            self.admin: Any = DatabaseAdminGrpcTransport(channel=self.channel)
            self._commit = self.channel.unary_unary(f"{_SERVICE}/Commit", response_deserializer=bytes)
            self._read = self._streaming("StreamingRead", bytes)
            self._query = self._streaming("ExecuteStreamingSql", api.ExecuteSqlRequest.serialize)
            self.name = self._open(LOGIN_SECONDS)
        except (*ERRORS, ValueError, KeyError) as e:
            raise login_refusal(e, parameters) from e
        asked = "SELECT option_value FROM information_schema.database_options WHERE option_name = 'database_dialect'"
        if any("POSTGRES" in str(row[0]).upper() for row in self.query(asked)):
            self.close()
            raise wrong_dialect(parameters)

    def _streaming(self, method: str, serialize: Any) -> Any:
        answers = api.PartialResultSet.pb().FromString
        return self.channel.unary_stream(
            f"{_SERVICE}/{method}", request_serializer=serialize, response_deserializer=answers
        )

    def _open(self, seconds: float) -> str:
        request = api.CreateSessionRequest(database=self.path, session=api.Session(labels={"whimbrel": self._label}))
        return str(self._stubs.create_session(request, timeout=seconds, metadata=self._metadata).name)

    # --- statements ---------------------------------------------------------------------------------------------------

    def execute(self, sql: str) -> int:
        if sql.lstrip()[:6].upper().startswith(_DEFINING):
            self.define([sql])
            return 0
        if self.in_transaction:
            self.note(sql)
            return 0
        counts: list[int] = []

        def work(transaction: Transaction) -> Iterable[bytes]:
            counts[:] = transaction.run([sql])
            return ()

        self.transact(work)
        return counts[0]

    def query(self, sql: str) -> list[Row]:
        """What was committed before it is asked; outside of the transaction in hand."""
        return self.patiently(lambda: [row for block in self._answered(sql) for row in block])

    def stream(self, sql: str) -> Iterator[list[Row]]:
        rows: list[Row] = []
        for block in self._answered(sql):
            rows += block
            if len(rows) >= BLOCK_ROWS:
                yield rows
                rows = []
        if rows:
            yield rows

    def _answered(self, sql: str) -> Iterator[list[Row]]:
        request = api.ExecuteSqlRequest(session=self.name, sql=sql)
        for types, values in self.answers(self._query, request, QUERY_SECONDS):
            yield list(rows(types, values))

    def answers(self, ask: Any, request: Any, seconds: float, begun: Callable[[Any], None] | None = None) -> Any:
        """Types of the columns, and values of whole rows, part by part; ``begun`` is told the first one's metadata."""
        types: list[int] = []
        kept: list[Any] = []
        merge = False
        try:
            self._running = ask(request, timeout=seconds, metadata=self._metadata)
            for part in self._running:
                if part.HasField("metadata"):
                    types = [field.type_.code for field in part.metadata.row_type.fields]
                    if begun is not None:
                        begun(part.metadata)
                values = list(part.values)
                if merge and values:
                    kept[-1].string_value += values.pop(0).string_value  # only texts are cut, of what we ask for
                kept += values
                merge = bool(part.chunked_value)
                whole = (len(kept) - merge) // len(types) * len(types) if types else 0
                if whole:
                    yield types, kept[:whole]
                    kept = kept[whole:]
        except ERRORS as e:
            raise self._mapped(e) from e
        finally:
            self._running = None

    def _mapped(self, error: Any, what: str = "") -> WhimbrelError:
        found = server_refusal(error, what)
        if found.details.get("aborted") == "NOT_FOUND":  # the session was idle for too long
            with suppress(*ERRORS):
                self.name = self._open(REQUEST_SECONDS)
        return found

    def define(self, statements: Sequence[str]) -> None:
        """Change definitions, all in one request, one after the other; each stays that was made before one fails."""
        if not statements:
            return
        began, pause = time.monotonic(), 0.2
        while True:
            try:
                self._define(statements)
                return
            except WhimbrelError as e:
                if not e.retryable or time.monotonic() > began + ABORTED_SECONDS:
                    raise
            pause = _slept(pause)

    def _define(self, statements: Sequence[str]) -> None:
        request = admin.UpdateDatabaseDdlRequest(database=self.path, statements=list(statements))
        deadline, pause = time.monotonic() + DEFINITION_SECONDS, 0.05
        try:
            work = self.admin.update_database_ddl(request, timeout=COMMIT_SECONDS, metadata=self._metadata)
            ask = self.channel.unary_unary(
                "/google.longrunning.Operations/GetOperation",
                request_serializer=operations_pb2.GetOperationRequest.SerializeToString,
                response_deserializer=operations_pb2.Operation.FromString,
            )
            while not work.done:
                if time.monotonic() > deadline:
                    raise TargetInterrupted("a change of definitions does not end on the target")
                pause = _slept(pause)
                asked = operations_pb2.GetOperationRequest(name=work.name)
                work = ask(asked, timeout=REQUEST_SECONDS, metadata=self._metadata)
        except ERRORS as e:
            raise definition_refusal(e, statements) from e
        if work.error.code:
            raise definition_refusal(Said(work.error), statements)

    def now(self) -> datetime:
        return datetime.fromisoformat(self.query("SELECT CURRENT_TIMESTAMP()")[0][0])

    def bound_waits(self, seconds: int) -> None:
        """Who is in another one's way is aborted, and tries again for a bounded time."""

    def cancel(self) -> None:
        if (running := self._running) is not None:
            running.cancel()

    def close(self) -> None:
        with suppress(Exception):
            request = api.DeleteSessionRequest(name=self.name)
            self._stubs.delete_session(request, timeout=1, metadata=self._metadata)
        with suppress(Exception):
            self.channel.close()

    # --- transactions -----------------------------------------------------------------------------------------------

    def transact(self, work: Callable[[Transaction], Iterable[bytes]]) -> None:
        """Commit what ``work`` does in a transaction together with the mutations that it returns. It is called again
        whenever the transaction was aborted. An error behind a commit that nobody knows the end of says ``unsure``."""
        began, pause, unsure = time.monotonic(), 0.01, False
        while True:
            transaction = Transaction(self)
            try:
                transaction.commit(work(transaction))
                return
            except WhimbrelError as e:
                unsure = unsure or transaction.unsure
                transaction.rollback()
                if unsure:
                    e.extra["unsure"] = True
                most = ABORTED_SECONDS if e.details.get("aborted") else BUSY_SECONDS if e.details.get("busy") else 0.0
                if not most or time.monotonic() > began + most:
                    raise
            except BaseException:
                transaction.rollback()
                raise
            pause = _slept(pause)

    def patiently(self, ask: Callable[[], T]) -> T:
        """What only asks is asked again for a while."""
        began, pause = time.monotonic(), 0.05
        while True:
            try:
                return ask()
            except WhimbrelError as e:
                cancelled = e.details.get("busy") in ("CANCELLED", "DEADLINE_EXCEEDED")
                if not e.retryable or cancelled or time.monotonic() > began + BUSY_SECONDS:
                    raise
            pause = _slept(pause)

    def note(self, sql: str, check: Check | None = None) -> None:
        """A statement of the transaction in hand, and who is told how many rows it wrote."""
        self._noted.append((sql, check))

    def add(self, *mutations: bytes) -> None:
        """Mutations of the transaction in hand."""
        self._mutations += mutations

    def _begin(self) -> None:
        self.rollback()

    def commit(self) -> None:
        noted, mutations = self._noted, self._mutations
        self.rollback()

        def work(transaction: Transaction) -> Iterable[bytes]:
            for (_, check), count in zip(noted, transaction.run([sql for sql, _ in noted]), strict=True):
                if check is not None:
                    check(count)
            return mutations

        if noted or mutations:
            self.transact(work)

    def rollback(self) -> None:
        self.in_transaction = False
        self._noted, self._mutations = [], []


class Transaction:
    """One that reads and writes; it begins with its first request."""

    def __init__(self, session: SpannerSession) -> None:
        self._session = session
        self._id = b""
        self._statements = 0
        self.unsure = False  # whether its commit may have come through without our knowing

    def query(self, sql: str) -> list[Row]:
        session = self._session
        request = api.ExecuteSqlRequest(session=session.name, sql=sql, transaction=self._selector(), seqno=self._next())
        parts = session.answers(session._query, request, REQUEST_SECONDS, self._begun)
        return [row for types, values in parts for row in rows(types, values)]

    def values(self, sql: str) -> list[bytes]:
        """The rows as ListValues in protobuf's wire format."""
        session = self._session
        request = api.ExecuteSqlRequest(session=session.name, sql=sql, transaction=self._selector(), seqno=self._next())
        found: list[bytes] = []
        for types, values in session.answers(session._query, request, REQUEST_SECONDS, self._begun):
            rows = (values[at : at + len(types)] for at in range(0, len(values), len(types)))
            found += [ListValue(values=row).SerializeToString() for row in rows]
        return found

    def read(self, request: api.ReadRequest, keys: bytes) -> list[list[Any]]:
        """``keys`` is a KeySet in protobuf's wire format."""
        request.session, request.transaction = self._session.name, self._selector()
        found: list[list[Any]] = []
        raw = api.ReadRequest.serialize(request) + field(6, keys)
        for types, values in self._session.answers(self._session._read, raw, REQUEST_SECONDS, self._begun):
            found += [values[at : at + len(types)] for at in range(0, len(values), len(types))]
        return found

    def run(self, statements: Sequence[str]) -> list[int]:
        """Statements that write, one after the other; how many rows each wrote."""
        if not statements:
            return []
        session = self._session
        request = api.ExecuteBatchDmlRequest(
            session=session.name,
            transaction=self._selector(),
            statements=[api.ExecuteBatchDmlRequest.Statement(sql=sql) for sql in statements],
            seqno=self._next(),
        )
        try:
            found = session._stubs.execute_batch_dml(request, timeout=COMMIT_SECONDS, metadata=session._metadata)
        except ERRORS as e:
            raise session._mapped(e) from e
        for result in found.result_sets:
            self._begun(result.metadata)
        if found.status.code:
            raise session._mapped(Said(found.status))
        return [int(result.stats.row_count_exact) for result in found.result_sets]

    def commit(self, mutations: Iterable[bytes]) -> None:
        """``mutations`` are fields of a CommitRequest."""
        session, body = self._session, b"".join(mutations)
        if not self._id:
            request = api.BeginTransactionRequest(session=session.name, options=_READ_WRITE)
            try:
                self._id = session._stubs.begin_transaction(
                    request, timeout=REQUEST_SECONDS, metadata=session._metadata
                ).id
            except ERRORS as e:
                raise session._mapped(e) from e
        head = field(1, session.name.encode()) + field(2, self._id)
        began, pause = time.monotonic(), 0.1
        while True:
            try:
                session._commit(head + body, timeout=COMMIT_SECONDS, metadata=session._metadata)
                return
            except ERRORS as e:
                self.unsure = self.unsure or code_of(e) in BUSY
                if code_of(e) not in BUSY or time.monotonic() > began + BUSY_SECONDS:
                    raise session._mapped(e) from e
            pause = _slept(pause)

    def rollback(self) -> None:
        """What cannot be undone because the link is gone, the server undoes."""
        if self._id:
            request = api.RollbackRequest(session=self._session.name, transaction_id=self._id)
            with suppress(*ERRORS):
                self._session._stubs.rollback(request, timeout=5, metadata=self._session._metadata)

    def _selector(self) -> api.TransactionSelector:
        return api.TransactionSelector(id=self._id) if self._id else api.TransactionSelector(begin=_READ_WRITE)

    def _begun(self, metadata: Any) -> None:
        self._id = self._id or metadata.transaction.id

    def _next(self) -> int:
        self._statements += 1
        return self._statements


def _slept(pause: float) -> float:
    time.sleep(pause * (0.5 + random.random()))
    return min(5.0, pause * 1.6)


# --- connecting -------------------------------------------------------------------------------------------------------


def connect(parameters: Mapping[str, Any], operation: str, role: Role = "target") -> SpannerSession:
    """Log in, and see that the database is there. Raises a leaf of ConnectionRefused."""
    return SpannerSession(parameters, operation, role)


def server_info(parameters: Mapping[str, Any]) -> ServerInfo:
    """Log in, run a statement. Raises a ConnectionRefused leaf."""
    with closing(connect(parameters, "test")) as session:
        session.query("SELECT 1")
        return ServerInfo(f"Spanner, database {parameters['database']}", (), session.path.lower())
