"""Sessions with Firebolt, over its vendor's driver.

Two things the driver does not do, and they are done here on its own client, so that login and session state stay its:
it does not look at the answer to BEGIN (a statement behind one that was refused would be kept by itself), and it sends
no files with a statement. A third is kept from it: what begins a transaction by itself is never asked of it.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
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
from whimbrel.errors import TargetInterrupted, WhimbrelError
from whimbrel.model.job import Role, session_name

# The driver logs statements, and its transport addresses; what fails comes as an error, and is told.
for _noisy in ("firebolt", "httpx", "httpcore"):
    logging.getLogger(_noisy).setLevel(logging.ERROR)

CONFLICTS: Final = 12  # how often a transaction that another one came before is done again
THROTTLED_SECONDS: Final = 60.0  # for a throttled service, within a statement
BLOCK_ROWS: Final = 5000
P = ParamSpec("P")
T = TypeVar("T")

# What every session needs to read and write values as docs/formats.md has them, whatever is set for account or user.
_SETTINGS: Final = {"timezone": "UTC"}


class FireboltSession(Session):
    """See ``sql.session.Session``. Statements carry a label of the operation, by which ``cleanup`` finds them.

    The driver has one mode a connection: in one it ignores BEGIN, in the other it begins by itself. So there are two,
    over one client: one for transactions, and one for all else.
    """

    def __init__(self, parameters: Mapping[str, Any], operation: str, role: Role) -> None:
        self._parameters, self._operation, self._role = parameters, operation, role
        self._transaction: str | None = None
        self.label = f"{label_of(operation, role)}{uuid.uuid4().hex[:12]}"
        try:
            self._link = driver_connect(**_arguments(parameters), autocommit=False, disable_cache=True)
        except (FireboltError, httpx.HTTPError, OSError, ValueError) as e:
            raise login_refusal(e, parameters) from e
        settings = {**self._link.init_parameters, **_SETTINGS, "query_label": self.label}
        self._link.init_parameters = settings
        self._client = self._link._client
        self._client.event_hooks = {"response": [_require_status]}
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
        with mapped(), closing(connection.cursor()) as cursor:
            request = self._client.build_request("POST", cursor.engine_url, params=_settings(cursor), files=parts)
            response = connection._execute_query(request)
            try:
                cursor._raise_if_error(response)
                InMemoryRowSet().append_response(response)
            finally:
                response.close()
        self._require_ours()

    def now(self) -> datetime:
        found: datetime = self.query("SELECT NOW()")[0][0]
        return found if found.tzinfo else found.replace(tzinfo=UTC)

    def bound_waits(self, seconds: int) -> None:
        """Nothing waits for a lock there: who comes second is refused."""

    def cancel(self) -> None:
        with suppress(WhimbrelError), closing(connect(self._parameters, self._operation, self._role)) as other:
            other.end_statements(self.label)

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
            raise TargetInterrupted("Firebolt began no transaction")

    def _send(self, cursor: Any, sql: str) -> httpx.Response:
        request = self._client.build_request("POST", cursor.engine_url, params=_settings(cursor), content=sql)
        response = self._client.send(request)
        cursor._raise_if_error(response)
        InMemoryRowSet().append_response_stream(iter([response.content]))
        return response

    def commit(self) -> None:
        self._run("COMMIT")
        self.in_transaction = False
        self._transaction = None

    def rollback(self) -> None:
        if self.in_transaction:
            self.in_transaction = False
            with suppress(Exception):
                self._run_on(self._link, "ROLLBACK")
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

    def _run_on(self, connection: Any, sql: str) -> list[list[Any]]:
        def work() -> list[list[Any]]:
            with closing(connection.cursor()) as cursor:
                cursor.execute(sql, skip_parsing=True)
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


def connect(parameters: Mapping[str, Any], operation: str, role: Role = "target") -> FireboltSession:
    """Open a session labelled with ``operation`` and ``role``. Raises a leaf of ConnectionRefused."""
    session = FireboltSession(parameters, operation, role)
    try:
        session.query("SELECT CURRENT_DATABASE()")
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
    with closing(connect(parameters, "test")) as session:
        version = str(session.query("SELECT VERSION()")[0][0])
    numbers = tuple(int(n) for n in version.split(".") if n.isdigit())
    kind = "Firebolt Core" if is_core(parameters) else "Firebolt"
    return ServerInfo(f"{kind} {version}", numbers, f"{place(parameters)}/{parameters['database']}")
