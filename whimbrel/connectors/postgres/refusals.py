"""PostgreSQL's errors by SQLSTATE, as leaves of our error tree. No message here ever carries a row's value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import psycopg

from whimbrel import errors
from whimbrel.errors import WhimbrelError

# libpq reports a refused connection as text alone, without SQLSTATE; first match wins.
_CONNECT_PATTERNS: tuple[tuple[str, type[WhimbrelError]], ...] = (
    (r"max_wal_senders", errors.SlotsExhausted),
    (r"too many clients|connection slots are reserved|too many connections", errors.HostUnreachable),
    (r"database system is|not yet accepting connections", errors.HostUnreachable),
    (r"database \".*\" does not exist", errors.DatabaseMissing),
    (
        r"authentication failed|no pg_hba\.conf entry|role \".*\" (does not exist|is not permitted)",
        errors.AuthenticationFailed,
    ),
    (r"pg_hba\.conf rejects|no password supplied|permission denied for database", errors.AuthenticationFailed),
    (r"authentication method requirement", errors.TlsFailed),
    (r"does not support SSL|SSL error|certificate|SSL SYSCALL|sslmode|TLS", errors.TlsFailed),
)

_Side = tuple[type[WhimbrelError], type[WhimbrelError]]  # as seen on the source, on the target
_INTERRUPTED: _Side = (errors.SourceInterrupted, errors.TargetInterrupted)
_FULL: _Side = (errors.SourceInterrupted, errors.TargetFull)
_DENIED: _Side = (errors.SourcePermissionDenied, errors.TargetPermissionDenied)
_VALUE: _Side = (errors.ExtractorFailed, errors.ValueRefused)
_OTHER: _Side = (errors.ExtractorFailed, errors.LoaderFailed)

# Longest prefix of the SQLSTATE first.
_STATES: tuple[tuple[str, _Side], ...] = (
    ("28", (errors.AuthenticationFailed, errors.AuthenticationFailed)),
    ("3D000", (errors.DatabaseMissing, errors.DatabaseMissing)),
    ("3F000", (errors.TableMissing, errors.TableMissing)),
    ("42P01", (errors.TableMissing, errors.TableMissing)),
    ("42703", (errors.SchemaMismatch, errors.SchemaMismatch)),
    ("42501", _DENIED),
    ("53100", _FULL),
    ("53400", (errors.SlotsExhausted, errors.TargetInterrupted)),
    ("53", _INTERRUPTED),
    ("55P03", _INTERRUPTED),
    ("55006", _INTERRUPTED),
    ("57", _INTERRUPTED),
    ("08", _INTERRUPTED),
    ("40", _INTERRUPTED),
    ("25P0", _INTERRUPTED),
    ("22", _VALUE),
    ("23", _VALUE),
)

_TAKEN = "23505"  # two rows are the same to a unique key
_STRICTER = (
    "Drop that unique key on the target, or give its columns a type and a collation that tell apart what the source "
    "does, then resume."
)
_COPY_CONTEXT = re.compile(r"COPY (?P<table>.+?), line (?P<line>\d+)(?:, column (?P<column>[^:\n]+))?")


def connection_refusal(message: str, parameters: Mapping[str, Any]) -> WhimbrelError:
    """The leaf for a connection that could not be opened. libpq's text names host, port, user and database."""
    text = " ".join(message.split())
    kind = next((k for pattern, k in _CONNECT_PATTERNS if re.search(pattern, text)), None)
    if kind is None:
        kind = errors.AuthenticationFailed if "FATAL:" in text else errors.HostUnreachable
    where = f"{parameters['host']}:{parameters.get('port', 5432)}/{parameters['database']}"
    if "authentication method requirement" in text:
        return kind(
            f"PostgreSQL at {where} asks for the password in clear, which it is not given",
            remedy="Let it ask for scram-sha-256 (pg_hba.conf). Or, where it cannot: sslmode verify-full, and "
            "allow_cleartext_password true.",
        )
    return kind(f"PostgreSQL at {where}: {text}", host=parameters["host"], port=parameters.get("port", 5432))


def server_refusal(error: psycopg.Error, role: Literal["source", "target"]) -> WhimbrelError:
    """The leaf for an error of an open session, by SQLSTATE; without one the connection is lost."""
    side = 0 if role == "source" else 1
    state = error.sqlstate
    if state is None:
        lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        kind = (_INTERRUPTED if lost else _OTHER)[side]
        return kind(f"connection to the {role} PostgreSQL: {_one_line(str(error))}")
    kind = next((kinds[side] for prefix, kinds in _STATES if state.startswith(prefix)), _OTHER[side])
    if state.startswith(("22", "23")):
        return _value_refusal(error, kind, state)
    return kind(f"{role} PostgreSQL: {_one_line(error.diag.message_primary or str(error))}", sqlstate=state)


def _value_refusal(error: psycopg.Error, kind: type[WhimbrelError], state: str) -> WhimbrelError:
    """Names table, column and class; the server's own sentence may quote the value, except in class 23."""
    diag = error.diag
    copy = _COPY_CONTEXT.search(diag.context or "")
    table = ".".join(n for n in (diag.schema_name, diag.table_name) if n) or (copy and copy["table"]) or "a table"
    column = diag.column_name or (copy and copy["column"]) or None
    what = _one_line(diag.message_primary or "") if state.startswith("23") else _words(type(error).__name__)
    details = {"sqlstate": state, "table": table}
    if column:
        details["column"] = column
    if copy:
        details["line"] = copy["line"]
    if state == _TAKEN and diag.constraint_name and kind is errors.ValueRefused:
        details |= {"key": diag.constraint_name, "remedy": _STRICTER}
    return kind(f"{table}{f', column {column}' if column else ''}: {what}", **details)


def _words(class_name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", " ", class_name).lower()


def _one_line(text: str) -> str:
    return " ".join(text.split())
