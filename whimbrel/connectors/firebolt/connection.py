"""Sessions with Firebolt, over its vendor's driver.

Two things the driver does not do, and they are done here on its own client, so that login and session state stay its:
it does not look at the answer to BEGIN (a statement behind one that was refused would be kept by itself), and it sends
no files with a statement. A third is kept from it: what begins a transaction by itself is never asked of it.
"""

from __future__ import annotations

import logging
import random
import socket
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, ParamSpec, TypeVar

import httpx
from firebolt.client.auth.client_credentials import ClientCredentials
from firebolt.client.auth.firebolt_core import FireboltCore
from firebolt.common.row_set.synchronous.in_memory import InMemoryRowSet
from firebolt.db.connection import Connection
from firebolt.db.connection import connect as driver_connect
from firebolt.utils.exception import FireboltError

from whimbrel.connectors import live_sessions
from whimbrel.connectors.firebolt.config import is_core
from whimbrel.connectors.firebolt.refusals import (
    is_conflict,
    is_throttled,
    login_refusal,
    place,
    server_refusal,
    told_in,
    transaction_ended,
)
from whimbrel.connectors.protocols import ServerInfo
from whimbrel.connectors.sql.session import Session
from whimbrel.errors import LoaderFailed, TargetInterrupted, WhimbrelError
from whimbrel.model.job import Role, session_name

# The driver logs statements, and its transport addresses; what fails comes as an error, and is told.
for _noisy in ("firebolt", "httpx", "httpcore"):
    logging.getLogger(_noisy).setLevel(logging.ERROR)

CONFLICTS: Final = 12  # how often a transaction that another one came before is done again
ANSWER_SECONDS: Final = 60.0  # for what is answered at once, or the link is dead
THROTTLED_SECONDS: Final = 60.0  # for a throttled service, within a statement
BLOCK_ROWS: Final = 5000
P = ParamSpec("P")
T = TypeVar("T")

# What every session needs to read and write values as docs/formats.md has them, whatever is set for account or user.
_SETTINGS: Final = {"timezone": "UTC", "max_result_rows": "0", "statement_timeout": "0"}
_BOUNDED: Final = httpx.Timeout(ANSWER_SECONDS)


class FireboltSession(Session):
    """See ``sql.session.Session``. Statements carry a label of the operation, by which ``cleanup`` finds them.

    The driver has one mode a connection: in one it ignores BEGIN, in the other it begins by itself. So there are two,
    over one client: one for transactions, and one for all else.
    """

    def __init__(self, parameters: Mapping[str, Any], operation: str, role: Role, *, bounded: bool = False) -> None:
        """``bounded``: no answer is waited for longer than ANSWER_SECONDS."""
        self._parameters, self._operation, self._role = parameters, operation, role
        self._transaction: str | None = None
        self.label = f"{label_of(operation, role)}{uuid.uuid4().hex[:12]}"
        arguments, login = _arguments(parameters), _Login()
        arguments["auth"] = login.bounding(arguments["auth"])
        try:
            self._link = self._throttled(lambda: driver_connect(**arguments, autocommit=False, disable_cache=True))
        except (FireboltError, httpx.HTTPError, OSError, ValueError) as e:
            raise login_refusal(e, parameters) from e
        login.over = True
        settings = {**self._link.init_parameters, **_SETTINGS, "query_label": self.label}
        self._link.init_parameters = settings
        self._client = self._link._client
        self._client.event_hooks = {"response": [_require_status]}
        self._client.timeout = _BOUNDED
        self._bounded = bounded
        live_sessions.track(operation, role, self, FireboltSession.cut)
        self._plain = Connection(
            self._link.engine_url,
            None,
            self._client,
            self._link.cursor_type,
            self._link.api_endpoint,
            settings,
            uuid.uuid4().hex,
            True,
        )

    def look(self) -> None:
        """See that it answers. From here on statements may take as long as they take."""
        self.query("SELECT CURRENT_DATABASE()")
        if not self._bounded:
            self._client.timeout = httpx.Timeout(ANSWER_SECONDS, read=None)

    def cut(self) -> None:
        """End the link, from another thread than the one that waits on it."""
        pool: Any = getattr(self._client._transport, "_pool", None)
        for connection in list(getattr(pool, "connections", ())):
            stream = getattr(getattr(connection, "_connection", None), "_network_stream", None)
            found = stream.get_extra_info("socket") if stream is not None else None
            if found is not None:
                with suppress(OSError):
                    found.shutdown(socket.SHUT_RDWR)

    def execute(self, sql: str) -> int:
        """Firebolt does not say how many rows a statement wrote: 0. Who must know asks, in the same transaction."""
        self._run(sql)
        return 0

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._run(sql)]

    def stream(self, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        with mapped(), closing(self._connection().cursor()) as cursor:
            cursor.execute_stream(sql, skip_parsing=True)
            while block := cursor.fetchmany(BLOCK_ROWS):
                yield [tuple(row) for row in block]

    def upload(self, sql: str, files: Mapping[str, BinaryIO]) -> None:
        """A statement that reads ``upload://`` names, with the files of these names."""
        parts: dict[str, Any] = {"sql": (None, sql)}
        parts |= {name: (name, file, "application/octet-stream") for name, file in files.items()}
        connection = self._connection()

        def send(cursor: Any) -> None:
            for file in files.values():
                file.seek(0)
            request = self._client.build_request("POST", cursor.engine_url, params=_settings(cursor), files=parts)
            response = connection._execute_query(request)
            try:
                cursor._raise_if_error(response)
                InMemoryRowSet().append_response(response)
            finally:
                response.close()

        with mapped(), closing(connection.cursor()) as cursor:
            self._throttled(lambda: send(cursor))
        self._require_ours()

    def now(self) -> datetime:
        found: datetime = self.query("SELECT NOW()")[0][0]
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def bound_waits(self, seconds: int) -> None:
        """Nothing waits for a lock there: who comes second is refused."""

    def cancel(self) -> None:
        with suppress(WhimbrelError), closing(connect(self._parameters, "cancel", self._role, bounded=True)) as other:
            other.end_statements(self.label)

    def running(self, label: str) -> int:
        """How many statements run under labels that begin so."""
        wanted = label.replace("'", "''")
        found = self.query(
            "SELECT COUNT(*) FROM information_schema.engine_running_queries "  # noqa: S608
            f"WHERE STRPOS(query_label, '{wanted}') = 1"
        )
        return int(found[0][0])

    def end_statements(self, label: str) -> int:
        """Cancel what runs under labels that begin so, but for our own; how many there were."""
        wanted = label.replace("'", "''")
        running = self.query(
            "SELECT query_id, query_label FROM information_schema.engine_running_queries "  # noqa: S608
            f"WHERE STRPOS(query_label, '{wanted}') = 1"
        )
        others = [str(id) for id, of in running if of != self.label]
        for id in others:
            with suppress(WhimbrelError):  # it has ended by itself
                self._run("CANCEL QUERY WHERE query_id = '" + id.replace("'", "''") + "'")
        return len(others)

    def close(self) -> None:
        self.rollback()
        for connection in (self._plain, self._link):
            with suppress(Exception):
                connection.close()

    # --- transactions -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._forget()
        with mapped(), closing(self._link.cursor()) as cursor:
            response = self._throttled(lambda: self._send(cursor, "BEGIN"))
            self._link._handle_transaction_updates(response.headers)
        self._transaction = self._link._transaction_id
        if self._transaction is None:
            raise TargetInterrupted("Firebolt began no transaction", transactions=False)

    def name_of_transaction(self) -> dict[str, str]:
        """What statements of the one in hand are sent with."""
        found: dict[str, str] = self._link.create_transaction_params()
        return found

    def takes(self, sql: str, transaction: Mapping[str, str]) -> bool:
        """Whether a statement under a transaction's name is run; for a name that must be refused."""
        try:
            with mapped(), closing(self._plain.cursor()) as cursor:
                self._send(cursor, sql, transaction)
        except WhimbrelError as e:
            if e.retryable and type(e.__cause__).__module__.startswith("http"):
                raise
            return False
        return True

    def _send(self, cursor: Any, sql: str, transaction: Mapping[str, str] | None = None) -> httpx.Response:
        request = self._client.build_request(
            "POST",
            cursor.engine_url,
            params={**_settings(cursor), **(transaction or {})},
            content=sql,
            timeout=_BOUNDED,
        )
        response = self._client.send(request)
        cursor._raise_if_error(response)
        InMemoryRowSet().append_response_stream(iter([response.content]))
        return response

    def commit(self) -> None:
        """What fails here for a reason that nobody knows is begun again, as a commit that failed has kept nothing."""
        try:
            self._run("COMMIT")
        except LoaderFailed as e:
            if type(e) is not LoaderFailed:
                raise
            raise TargetInterrupted(f"Firebolt did not commit: {e.message}") from e
        self.in_transaction = False
        self._transaction = None

    def rollback(self) -> None:
        if self.in_transaction:
            self.in_transaction = False
            with suppress(Exception):
                self._run_on(self._link, "ROLLBACK", ANSWER_SECONDS)
        self._forget()

    def _forget(self) -> None:
        """The driver would send what follows with the name of a transaction that has ended."""
        self._transaction = None
        self._link._reset_transaction_state()

    def _connection(self) -> Any:
        if not self.in_transaction:
            return self._plain
        self._require_ours()
        return self._link

    def _require_ours(self) -> None:
        """The driver begins another transaction by itself where it has heard that ours has ended."""
        if self.in_transaction and (self._transaction is None or self._link._transaction_id != self._transaction):
            raise transaction_ended()

    # --- statements ---------------------------------------------------------------------------------------------------

    def _run(self, sql: str) -> list[list[Any]]:
        rows = self._run_on(self._connection(), sql)
        if sql != "COMMIT":
            self._require_ours()
        return rows

    def _run_on(self, connection: Any, sql: str, seconds: float | None = None) -> list[list[Any]]:
        def work() -> list[list[Any]]:
            with closing(connection.cursor()) as cursor:
                cursor.execute(sql, skip_parsing=True, timeout_seconds=seconds)
                found: list[list[Any]] = cursor.fetchall() if cursor.description else []
                return found

        with mapped():
            return self._throttled(work)

    def _throttled(self, work: Callable[[], T]) -> T:
        """What a busy service has turned away it has not looked at, and it is sent again for a while."""
        deadline, pause = time.monotonic() + THROTTLED_SECONDS, 0.5
        while True:
            try:
                return work()
            except (FireboltError, httpx.HTTPError) as e:
                wait = is_throttled(e)
                if wait is None or time.monotonic() + max(wait, pause) > deadline:
                    raise
            time.sleep(max(wait, pause) * (0.75 + random.random() / 2))
            pause = min(pause * 2, 10.0)


def connect(
    parameters: Mapping[str, Any], operation: str, role: Role = "target", *, bounded: bool = False
) -> FireboltSession:
    """Open a session labelled with ``operation`` and ``role``. Raises a leaf of ConnectionRefused."""
    session = FireboltSession(parameters, operation, role, bounded=bounded)
    try:
        session.look()
    except TargetInterrupted as e:
        session.close()
        raise login_refusal(e.__cause__ or e, parameters) from e
    except BaseException:
        session.close()
        raise
    return session


def label_of(operation: str, role: Role) -> str:
    """What the labels of an operation's statements begin with."""
    return f"whimbrel:{session_name(operation, role)}:"


def replayed(work: Callable[P, T]) -> Callable[P, T]:
    """Whole transactions that another one came before have left nothing, and are done again, at growing intervals."""

    def again(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(CONFLICTS):
            try:
                return work(*args, **kwargs)
            except TargetInterrupted as e:
                if not is_conflict(e) or attempt == CONFLICTS - 1:
                    raise
            pause_after(attempt)
        raise AssertionError

    return again


def pause_after(attempt: int) -> None:
    time.sleep(min(5.0, 0.05 * 2**attempt) * (0.5 + random.random()))


class _Login:
    """Bounds what the driver sends until a session is in, and asks for a token with. It would wait without end for the
    answers to its USE."""

    def __init__(self) -> None:
        self.over = False

    def bounding(self, auth: Any) -> Any:
        """The same key, by which each request goes."""
        real = auth.auth_flow

        def bounded(request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            flow = real(request)
            sent = next(flow)
            while True:
                if not self.over or sent is not request:  # one for a token, which the driver bounds never
                    sent.extensions = {**sent.extensions, "timeout": _BOUNDED.as_dict()}
                try:
                    sent = flow.send((yield sent))
                except StopIteration:
                    return

        auth.auth_flow = bounded
        return auth


def _arguments(parameters: Mapping[str, Any]) -> dict[str, Any]:
    if is_core(parameters):
        return {"auth": FireboltCore(), "url": parameters["url"], "database": parameters["database"]}
    auth = ClientCredentials(parameters["client_id"], parameters["client_secret"], use_token_cache=False)
    given = {"api_endpoint": parameters["api_endpoint"]} if "api_endpoint" in parameters else {}
    return {
        "auth": auth,
        "account_name": parameters["account_name"],
        "engine_name": parameters["engine"],
        "database": parameters["database"],
        **given,
    }


def _require_status(response: httpx.Response) -> None:
    """The driver makes errors of text that have lost their status. It looks at these two itself, for a new token."""
    if response.status_code >= 400 and response.status_code not in (401, 500):
        response.read()
        raise httpx.HTTPStatusError(told_in(response), request=response.request, response=response)


def _settings(cursor: Any) -> dict[str, Any]:
    return {"output_format": "JSON_Compact", **cursor._set_parameters, **cursor.parameters}


@contextmanager
def mapped() -> Iterator[None]:
    """Turn the driver's errors inside the block into ours."""
    try:
        yield
    except (FireboltError, httpx.HTTPError, OSError) as e:
        raise server_refusal(e) from e


def server_info(parameters: Mapping[str, Any]) -> ServerInfo:
    """Connect, read version and identity, disconnect. Raises a ConnectionRefused leaf."""
    with closing(connect(parameters, "test", bounded=True)) as session:
        version = str(session.query("SELECT VERSION()")[0][0])
    numbers = tuple(int(n) for n in version.split(".") if n.isdigit())
    kind = "Firebolt Core" if is_core(parameters) else "Firebolt"
    return ServerInfo(f"{kind} {version}", numbers, f"{place(parameters)}/{parameters['database']}")
