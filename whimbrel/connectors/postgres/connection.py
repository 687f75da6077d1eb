"""Connections to PostgreSQL: how they are opened, how names are quoted, and what their errors mean to us."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import psycopg

from whimbrel.connectors import live_sessions
from whimbrel.connectors.deadline import LOOK_SECONDS, within
from whimbrel.connectors.postgres.config import ALLOW_CLEAR, VERIFIED
from whimbrel.connectors.postgres.refusals import connection_refusal, server_refusal
from whimbrel.errors import HostUnreachable, IdentifierRefused
from whimbrel.model.job import Role, session_name
from whimbrel.model.names import TableName

CONNECT_SECONDS = 15  # for an address to let us in, and again for its first answer
# A target's tables may be locked by others; what waited in vain is tried again, and says who is in the way.
TARGET_LOCK_SECONDS = 30

# What every session needs to read and write values and definitions as docs/formats.md has them, and to outlive a long
# load, whatever is set for the database or the role: lc_monetary is how money is written, array_nulls how NULL is read.
SESSION_SETTINGS = {
    "DateStyle": "ISO,YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "lc_monetary": "C",
    "xmloption": "content",
    "quote_all_identifiers": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": r"read\ committed",
    "default_transaction_deferrable": "off",
    "exit_on_error": "off",
    "transform_null_equals": "off",
    "row_security": "off",  # rows that a policy hides are an error, not missing in silence
}
# Not every server knows these. The first is one that all do, as each session's first answer is bounded.
_SET_LATER = (("quote_all_identifiers", 0), ("idle_session_timeout", 140000), ("transaction_timeout", 170000))


def connect(
    parameters: Mapping[str, Any],
    operation: str,
    *,
    role: Role = "source",
    autocommit: bool = True,
    replication: bool = False,
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a session named after ``operation`` and ``role`` with the settings that our formats need. On a target it
    waits for no lock longer than ``TARGET_LOCK_SECONDS``.

    ``parameters`` are those of an endpoint after ``config.parse``. ``replication`` makes it a walsender that also
    takes simple SQL. Raises a leaf of ConnectionRefused, or SlotsExhausted when no walsender is free.
    """
    settings = SESSION_SETTINGS | ({"lock_timeout": f"{TARGET_LOCK_SECONDS}s"} if role == "target" else {})
    arguments = {
        "host": parameters["host"],
        "port": parameters.get("port", 5432),
        "user": parameters["user"],
        "password": parameters["password"],
        "dbname": parameters["database"],
        "sslmode": parameters.get("sslmode", "prefer"),
        "application_name": f"whimbrel:{session_name(operation, role)}",
        "client_encoding": "UTF8",
        "connect_timeout": CONNECT_SECONDS,
        "keepalives": 1,
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
    }
    if not (parameters.get(ALLOW_CLEAR) is True and arguments["sslmode"] in VERIFIED):
        arguments["require_auth"] = "!password"  # that is the password in clear, whoever asks for it
    if parameters.get("sslrootcert"):
        arguments["sslrootcert"] = parameters["sslrootcert"]
    if replication:
        arguments["replication"] = "database"
    try:
        connection = psycopg.connect(**arguments, autocommit=autocommit)
    except psycopg.Error as e:
        raise connection_refusal(str(e), parameters) from e
    with within(CONNECT_SECONDS, partial(_cut, connection)) as first_answer:
        for setting, since in _SET_LATER:
            if connection.info.server_version >= since:
                connection.pgconn.exec_(f"SET {setting} = 0".encode())
    if first_answer.passed or connection.pgconn.status != psycopg.pq.ConnStatus.OK:
        connection.close()
        raise HostUnreachable(f"{_where(parameters)} let us in, and answered nothing within {CONNECT_SECONDS} s")
    live_sessions.track(operation, role, connection, _cut)
    return connection


def at_work(parameters: Mapping[str, Any], operation: str, role: Role) -> int:
    """How many of the operation's other sessions the server works for just now: not those that are idle, that stream
    the log, or that wait for their client."""
    with closing(connect(parameters, operation, role=role)) as connection, mapped(role):
        found = connection.execute(
            "select count(*) from pg_catalog.pg_stat_activity where application_name = %s and pid <> pg_backend_pid()"
            " and state = 'active' and backend_type <> 'walsender' and wait_event_type is distinct from 'Client'",
            [f"whimbrel:{session_name(operation, role)}"],
        ).fetchone()
    return int(found[0]) if found else 0


def _cut(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """End it from another thread, whatever waits for an answer there."""
    if connection.closed:
        return
    with socket.socket(fileno=os.dup(connection.pgconn.socket)) as link:
        link.shutdown(socket.SHUT_RDWR)


@contextmanager
def looking(connection: psycopg.Connection[Any], parameters: Mapping[str, Any]) -> Iterator[None]:
    """Bound all that is asked inside the block, for somebody who waits for it. Raises HostUnreachable."""
    with within(LOOK_SECONDS, partial(_cut, connection)) as look:
        try:
            yield
        except Exception as e:
            if look.passed:
                raise HostUnreachable(f"{_where(parameters)} did not answer within {LOOK_SECONDS:g} s") from e
            raise


def _where(parameters: Mapping[str, Any]) -> str:
    return f"{parameters['host']}:{parameters.get('port', 5432)}"


@contextmanager
def mapped(role: Role) -> Iterator[None]:
    """Turn psycopg's errors inside the block into ours, as seen from the source or the target side."""
    try:
        yield
    except psycopg.Error as e:
        raise server_refusal(e, role) from e


def identifier(name: str) -> str:
    """Quote one name. Raises IdentifierRefused for what PostgreSQL cannot hold as a name."""
    if not name or "\0" in name:
        raise IdentifierRefused(f"{name!r} cannot be a name in PostgreSQL")
    return '"' + name.replace('"', '""') + '"'


def identifiers(names: Iterable[str]) -> str:
    """Quoted names with commas between them."""
    return ", ".join(identifier(n) for n in names)


def qualified(name: TableName) -> str:
    """``"schema"."table"``."""
    return f"{identifier(name.schema)}.{identifier(name.table)}"


def literal(text: str) -> str:
    """Quote text as a string constant that reads the same whatever standard_conforming_strings is."""
    if "\0" in text:
        raise ValueError("PostgreSQL text cannot hold a NUL")
    quoted = "'" + text.replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted
