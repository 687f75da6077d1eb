"""Sessions with a SQL warehouse, over its vendor's driver."""

from __future__ import annotations

import logging
import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.request import getproxies

import httpx
from databricks import sql as driver
from databricks.sql import exc

from whimbrel.connectors.databricks.refusals import (
    is_conflict,
    login_refusal,
    missing_catalog,
    place,
    server_refusal,
    token_refusal,
)
from whimbrel.connectors.protocols import ServerInfo
from whimbrel.connectors.sql.per_table import Merged, StatementSession
from whimbrel.errors import HostUnreachable, TargetInterrupted
from whimbrel.model.job import Role, session_name

# The driver logs the addresses of uploads, which open them for whoever has them, when something fails; so does its
# transport with each repetition. What fails comes as an error, and is told without them.
logging.getLogger("databricks").setLevel(logging.CRITICAL)
logging.getLogger("urllib3").setLevel(logging.ERROR)

START_SECONDS: Final = 60  # for a warehouse to answer; the step that waits says so, and tries again
WAIT_SECONDS: Final = 120  # for a throttled or restarted service, within a session
SOCKET_SECONDS: Final = 120
REACH_SECONDS: Final = 15  # for a connection to the host: the driver would try for a minute where there is none
BLOCK_ROWS: Final = 5000
T = TypeVar("T")
CONFLICTS: Final = 12  # how often a statement that another writer came before is sent again
TOKEN_SECONDS: Final = 60  # before its end a token is replaced

# What every session needs to read and write values as docs/formats.md has them, whatever is set for the warehouse.
_SETTINGS: Final = {"TIMEZONE": "UTC", "ANSI_MODE": "true", "USE_CACHED_RESULT": "false", "STATEMENT_TIMEOUT": "172800"}


class DatabricksSession(StatementSession):
    """See ``sql.session.Session``. The driver's ``ignore_transactions`` stays on: there are none to be committed."""

    def __init__(self, parameters: Mapping[str, Any], operation: str, role: Role) -> None:
        self._parameters = parameters
        self._cursor: Any = None  # the one at work, for ``cancel``
        path, scheme = parameters["http_path"].lstrip("/"), parameters.get("scheme", "https")
        arguments: dict[str, Any] = {
            "server_hostname": parameters["server_hostname"],
            "http_path": f"/{path}",
            "_connection_uri": f"{scheme}://{place(parameters)}/{path}",
            "catalog": parameters["catalog"],
            "session_configuration": dict(_SETTINGS),
            "query_tags": {"whimbrel": session_name(operation, role)},
            "user_agent_entry": "whimbrel",
            "enable_telemetry": False,
            "ignore_transactions": True,
            "_socket_timeout": SOCKET_SECONDS,
            "_retry_delay_max": 5,
            "_retry_stop_after_attempts_duration": START_SECONDS,
        }
        try:
            _reach(parameters)
            self._link = driver.connect(**arguments, **_credentials(parameters))
        except (exc.Error, OSError, ValueError) as e:
            raise login_refusal(e, parameters) from e
        policy = getattr(getattr(self._link.session, "backend", None), "retry_policy", None)
        if policy is not None:
            policy.stop_after_attempts_duration = WAIT_SECONDS
            # A statement whose answer is lost may have been done, and not every one may be done again just like that.
            # So it is an error, and whoever sent it looks where the target stands before it goes on.
            policy.read = False

    def execute(self, sql: str) -> int:
        return self._repeated(lambda: self._affected(sql).get("num_affected_rows", 0))

    def written(self, sql: str) -> int:
        """Rows that a COPY INTO has written."""
        return self._repeated(lambda: self._affected(sql).get("num_inserted_rows", 0))

    def merge(self, sql: str) -> Merged:
        counts = self._repeated(lambda: self._affected(sql))
        return Merged(
            counts.get("num_updated_rows", 0) + counts.get("num_inserted_rows", 0), counts["num_deleted_rows"]
        )

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self._at_work() as cursor:
            cursor.execute(sql)
            return _rows(cursor.fetchall_arrow())

    def stream(self, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        with self._at_work() as cursor:
            cursor.execute(sql)
            while block := _rows(cursor.fetchmany_arrow(BLOCK_ROWS)):
                yield block

    def put(self, file: Path, sql: str) -> None:
        """Upload a file by a PUT of a stream."""
        with self._at_work() as cursor, file.open("rb") as stream:
            cursor.execute(sql, input_stream=stream)

    def remove_file(self, sql: str) -> None:
        """No error when it is gone."""
        with self._at_work() as cursor, _gone_is_fine():
            cursor.execute(sql)

    def now(self) -> datetime:
        found: datetime = self.query("SELECT CURRENT_TIMESTAMP()")[0][0]
        return found

    def cancel(self) -> None:
        cursor = self._cursor
        if cursor is not None:
            with suppress(Exception):
                cursor.cancel()

    def close(self) -> None:
        with suppress(Exception):
            self._link.close()

    def _affected(self, sql: str) -> dict[str, int]:
        """What a statement says of itself, by name; nothing for DDL."""
        with self._at_work() as cursor:
            cursor.execute(sql)
            found = cursor.fetchall_arrow()
            if found.num_rows != 1:
                return {}
            row = found.slice(0, 1).to_pylist()[0]
            return {name.lower(): int(value) for name, value in row.items() if isinstance(value, int)}

    @contextmanager
    def _at_work(self) -> Iterator[Any]:
        with mapped(), closing(self._link.cursor()) as cursor:
            self._cursor = cursor
            try:
                yield cursor
            finally:
                self._cursor = None

    def _repeated(self, work: Callable[[], T]) -> T:
        """A statement that another writer's commit came before has done nothing, and is sent again."""
        for attempt in range(CONFLICTS):
            try:
                return work()
            except TargetInterrupted as e:
                if not is_conflict(e) or attempt == CONFLICTS - 1:
                    raise
            time.sleep(min(5.0, 0.1 * 2**attempt) * (0.5 + random.random()))
        raise AssertionError


def connect(parameters: Mapping[str, Any], operation: str, role: Role = "target") -> DatabricksSession:
    """Open a session tagged with ``operation`` and ``role``. Raises a leaf of ConnectionRefused."""
    session = DatabricksSession(parameters, operation, role)
    try:
        wanted = str(parameters["catalog"]).lower()
        if str(session.query("SELECT CURRENT_CATALOG()")[0][0]).lower() != wanted:
            raise missing_catalog(parameters)
    except BaseException:
        session.close()
        raise
    return session


def _reach(parameters: Mapping[str, Any]) -> None:
    """Raise OSError where nothing listens. Behind a proxy nobody can tell but the proxy."""
    scheme = parameters.get("scheme", "https")
    if not getproxies().get(scheme):
        port = int(parameters.get("port", 443 if scheme == "https" else 80))
        socket.create_connection((parameters["server_hostname"], port), timeout=REACH_SECONDS).close()


def _credentials(parameters: Mapping[str, Any]) -> dict[str, Any]:
    if "access_token" in parameters:
        return {"access_token": parameters["access_token"]}
    tokens = _ClientTokens(parameters)
    tokens.header()  # refused here, it is told as what it is
    return {"credentials_provider": lambda: tokens.header}


class _ClientTokens:
    """Access tokens of a service principal, by its id and secret; each is asked for when the last one runs out."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self._parameters = parameters
        self._token, self._until = "", 0.0

    def header(self) -> dict[str, str]:
        """Raises AuthenticationFailed or HostUnreachable."""
        if time.monotonic() >= self._until:
            self._renew()
        return {"Authorization": f"Bearer {self._token}"}

    def _renew(self) -> None:
        given = self._parameters
        url = f"{given.get('scheme', 'https')}://{place(given)}/oidc/v1/token"
        try:
            answer = httpx.post(
                url,
                data={"grant_type": "client_credentials", "scope": "all-apis"},
                auth=(given["client_id"], given["client_secret"]),
                timeout=START_SECONDS,
            )
        except httpx.HTTPError as e:
            raise HostUnreachable(f"{place(given)} gives no token: {type(e).__name__}") from e
        if answer.status_code != httpx.codes.OK:
            raise token_refusal(answer.status_code, given)
        body = answer.json()
        self._token = str(body["access_token"])
        self._until = time.monotonic() + max(1.0, float(body.get("expires_in", 3600)) - TOKEN_SECONDS)


def _rows(table: Any) -> list[tuple[Any, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


@contextmanager
def mapped() -> Iterator[None]:
    """Turn the driver's errors inside the block into ours."""
    try:
        yield
    except (exc.Error, OSError) as e:
        raise server_refusal(e) from e
    except Exception as e:
        if not type(e).__module__.startswith("urllib3."):  # of its transport, which it lets through
            raise
        raise server_refusal(e) from e


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except exc.OperationalError as e:
        if "unsuccessful: 404" not in str(e):
            raise


def server_info(parameters: Mapping[str, Any]) -> ServerInfo:
    """Connect, read version and identity, disconnect. Raises a ConnectionRefused leaf."""
    with closing(connect(parameters, "test")) as session:
        said = session.query("SELECT CURRENT_VERSION().dbsql_version")[0][0]
    version = str(said or "")
    numbers = tuple(int(n) for n in version.split(".") if n.isdigit())
    identity = f"{parameters['server_hostname']}/{parameters['catalog']}".lower()
    return ServerInfo(f"Databricks SQL {version}".strip(), numbers, identity)
