"""Sessions with Snowflake, over its vendor's driver."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from snowflake import connector
from snowflake.connector import errors

from whimbrel.connectors.protocols import ServerInfo
from whimbrel.connectors.snowflake.refusals import login_refusal, missing_database, server_refusal
from whimbrel.connectors.sql.session import Session
from whimbrel.errors import AuthenticationFailed
from whimbrel.model.job import Role, session_name

LOGIN_SECONDS: Final = 30
NETWORK_SECONDS: Final = (
    120  # for a request to be answered; a statement that takes longer is asked after again and again
)
LOCK_SECONDS: Final = 30
BLOCK_ROWS: Final = 5000

# What every session needs to read and write values as docs/formats.md has them, whatever is set for account or user.
_SETTINGS: Final = {
    "TIMEZONE": "UTC",
    "AUTOCOMMIT": False,  # what follows a transaction that was ended from outside must not be kept
    "ABORT_DETACHED_QUERY": True,
    "LOCK_TIMEOUT": LOCK_SECONDS,
    "STATEMENT_TIMEOUT_IN_SECONDS": 0,
    "STATEMENT_QUEUED_TIMEOUT_IN_SECONDS": 0,
    "ERROR_ON_NONDETERMINISTIC_MERGE": True,
    "ERROR_ON_NONDETERMINISTIC_UPDATE": False,
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
    "BINARY_INPUT_FORMAT": "HEX",
    "BINARY_OUTPUT_FORMAT": "HEX",
    "JSON_INDENT": 0,
    "CLIENT_TELEMETRY_ENABLED": False,
}


class SnowflakeSession(Session):
    """See ``sql.session.Session``. Its transactions carry the operation's name, by which ``cleanup`` finds them."""

    def __init__(self, parameters: Mapping[str, Any], operation: str, role: Role) -> None:
        self._parameters, self._operation, self._role = parameters, operation, role
        self._transaction = ""
        self.tag = f"whimbrel:{session_name(operation, role)}"
        arguments: dict[str, Any] = {
            **{k: parameters[k] for k in _PASSED if k in parameters},
            **_credentials(parameters),
            "login_timeout": LOGIN_SECONDS,
            "network_timeout": NETWORK_SECONDS,
            "client_session_keep_alive": True,
            "application": "whimbrel",
            "autocommit": False,
            "session_parameters": {**_SETTINGS, "QUERY_TAG": self.tag},
        }
        try:
            self._link = connector.connect(**arguments)
        except errors.Error as e:
            raise login_refusal(e, parameters) from e

    def execute(self, sql: str) -> int:
        written = self._run(sql)
        if not self.in_transaction:
            self._run("COMMIT")
        return written

    def _run(self, sql: str) -> int:
        with mapped(), closing(self._link.cursor()) as cursor:
            cursor.execute(sql)
            return max(0, int(cursor.rowcount or 0))

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with mapped(), closing(self._link.cursor()) as cursor:
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()]

    def stream(self, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        with mapped(), closing(self._link.cursor()) as cursor:
            cursor.execute(sql)
            while block := cursor.fetchmany(BLOCK_ROWS):
                yield [tuple(row) for row in block]

    def named(self, sql: str) -> list[dict[str, Any]]:
        """Rows by column name, for SHOW."""
        with mapped(), closing(self._link.cursor(connector.DictCursor)) as cursor:
            cursor.execute(sql)
            return [dict(row) for row in cursor.fetchall()]

    def now(self) -> datetime:
        found: datetime = self.query("SELECT CURRENT_TIMESTAMP()")[0][0]
        return found

    def bound_waits(self, seconds: int) -> None:
        self.execute(f"ALTER SESSION SET LOCK_TIMEOUT = {int(seconds)}")

    def _begin(self) -> None:
        self._run(f"BEGIN TRANSACTION NAME {transaction_name(self._operation, self._role)}")
        self._transaction = str(self.query("SELECT CURRENT_TRANSACTION()")[0][0])

    def guard(self) -> str:
        """Without it a session whose transaction was aborted might go on in a new one."""
        return f"CURRENT_TRANSACTION() = '{self._transaction}'"

    def rollback(self) -> None:
        if self.in_transaction:
            self.in_transaction = False
            with suppress(Exception):
                self._run("ROLLBACK")

    def cancel(self) -> None:
        with closing(connect(self._parameters, self._operation, self._role)) as other:
            other.query(f"SELECT SYSTEM$CANCEL_ALL_QUERIES({int(self._link.session_id or 0)})")

    def close(self) -> None:
        self.in_transaction = False
        with suppress(Exception):
            self._link.close(retry=False)


_PASSED: Final = ("account", "user", "database", "warehouse", "role", "host", "port", "protocol")


def connect(parameters: Mapping[str, Any], operation: str, role: Role = "target") -> SnowflakeSession:
    """Open a session named after ``operation`` and ``role``. Raises a leaf of ConnectionRefused."""
    session = SnowflakeSession(parameters, operation, role)
    try:
        if session.query("SELECT CURRENT_DATABASE()")[0][0] is None:
            raise missing_database(parameters)
    except BaseException:
        session.close()
        raise
    return session


def transaction_name(operation: str, role: Role) -> str:
    """What the transactions of an operation are called, as a plain name in capitals."""
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in session_name(operation, role))
    return f"WHIMBREL_{plain.upper()}"


def _credentials(parameters: Mapping[str, Any]) -> dict[str, Any]:
    if "password" in parameters:
        return {"password": parameters["password"]}
    phrase = parameters.get("private_key_passphrase")
    try:
        key = load_pem_private_key(parameters["private_key"].encode(), phrase.encode() if phrase else None)
    except (ValueError, TypeError):
        raise AuthenticationFailed(
            "private_key is not a private key in PEM form, or its passphrase is wrong",
            remedy="Give the key as in its file, from -----BEGIN to -----END, and its passphrase if it has one.",
        ) from None
    return {"private_key": key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())}


@contextmanager
def mapped() -> Iterator[None]:
    """Turn the driver's errors inside the block into ours."""
    try:
        yield
    except errors.Error as e:
        raise server_refusal(e) from e


def server_info(parameters: Mapping[str, Any]) -> ServerInfo:
    """Connect, read version and identity, disconnect. Raises a ConnectionRefused leaf."""
    with closing(connect(parameters, "test")) as session:
        version = session.query("SELECT CURRENT_VERSION()")[0][0]
    numbers = tuple(int(n) for n in str(version).split()[0].split(".") if n.isdigit())
    return ServerInfo(f"Snowflake {version}", numbers, str(parameters["account"]).upper())
