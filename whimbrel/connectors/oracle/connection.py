"""Sessions on an Oracle database, and how its names are written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

from whimbrel.connectors.oracle.refusals import login_refusal, server_refusal
from whimbrel.connectors.sql.driver import require_driver
from whimbrel.model.names import TableName

CONNECT_SECONDS: Final = 15.0
ALIVE_MINUTES: Final = 1  # between probes of a silent link
PROGRAM: Final = "whimbrel"
SHORT_QUESTION: Final = 120_000  # milliseconds
_SESSION: Final = (
    "ALTER SESSION SET NLS_NUMERIC_CHARACTERS = '.,'",
    "ALTER SESSION SET TIME_ZONE = '+00:00'",
)


def connect(parameters: Mapping[str, Any], name: str, *, bounded: bool = False) -> Any:
    """A session of the driver's thin mode that V$SESSION shows as ``name`` (CLIENT_IDENTIFIER).

    ``bounded``: its questions end within two minutes. Raises a ConnectionRefused leaf.
    """
    require_driver("oracle", "oracledb")
    import oracledb

    given = {
        key: parameters[key]
        for key in ("host", "port", "user", "password", "service_name", "sid", "protocol", "wallet_location")
        if parameters.get(key) is not None
    }
    for key in ("wallet_password", "ssl_server_cert_dn"):
        if parameters.get(key) is not None:
            given[key] = parameters[key]
    try:
        connection = oracledb.connect(
            **given, program=PROGRAM, expire_time=ALIVE_MINUTES, tcp_connect_timeout=CONNECT_SECONDS, retry_count=0
        )
    except (oracledb.Error, OSError) as e:
        raise login_refusal(e, parameters) from None
    with mapped():
        if bounded:
            connection.call_timeout = SHORT_QUESTION
        connection.module = PROGRAM
        connection.client_identifier = name[:64]
        for sql in _SESSION:
            with closing(connection.cursor()) as cursor:
                cursor.execute(sql)
    return connection


@contextmanager
def mapped(table: str = "") -> Iterator[None]:
    """Errors of the driver as ours; ``table`` names what was read."""
    import oracledb

    try:
        yield
    except oracledb.Error as e:
        raise server_refusal(e, table) from None


def query(connection: Any, sql: str, binds: Mapping[str, Any] | Sequence[Any] = ()) -> list[dict[str, Any]]:
    """The rows of a short question, by column. Numbers are int where they are whole, LOBs and LONGs texts."""
    with mapped(), closing(connection.cursor()) as cursor:
        cursor.execute(sql, binds, fetch_lobs=False)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def identifier(name: str) -> str:
    """A name as SQL takes it, whatever letters it has. Oracle's names hold neither a quotation mark nor a NUL."""
    if '"' in name or "\0" in name:
        raise ValueError("a name of Oracle's has no quotation marks")
    return f'"{name}"'


def qualified(table: TableName) -> str:
    return f"{identifier(table.schema)}.{identifier(table.table)}"
