"""What Databricks' errors mean to us: by the error class that a message begins with, and the SQLSTATE it ends with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from whimbrel.errors import (
    AuthenticationFailed,
    ConnectionRefused,
    DatabaseMissing,
    HostUnreachable,
    InternalError,
    LoaderFailed,
    SchemaFailed,
    SchemaMismatch,
    TableMissing,
    TargetFull,
    TargetInterrupted,
    TargetPermissionDenied,
    TlsFailed,
    ValueRefused,
    WhimbrelError,
)

_CLASS: Final = re.compile(r"\[([A-Z][A-Z0-9_]+)(?:\.([A-Z0-9_]+))?\]")
_STATE: Final = re.compile(r"SQLSTATE:? ?([0-9A-Z]{5})")
_PATIENCE: Final = re.compile(r"retry duration|too many (429|503)", re.IGNORECASE)  # of the driver, when it ends
_SIGNED: Final = re.compile(r"(/[^\s?]*)\?[^\s)>\]}]*")  # of an address: what follows may be a signature or a token
_HTTP: Final = re.compile(r"unsuccessful: (\d{3})")

_DUPLICATES: Final = "DELTA_MULTIPLE_SOURCE_ROW_MATCHING_TARGET_ROW_IN_MERGE"
_CONFLICT: Final = re.compile(
    r"(DELTA_)?CONCURRENT_|DELTA_METADATA_CHANGED|DELTA_PROTOCOL_CHANGED|TRANSACTION_CONFLICT"
)
_MISSING: Final = frozenset(
    {"TABLE_OR_VIEW_NOT_FOUND", "DELTA_TABLE_NOT_FOUND", "SCHEMA_NOT_FOUND", "PATH_NOT_FOUND", "NO_SUCH_FILE"}
)
_FILE: Final = frozenset(
    {
        *(
            "CLOUD_FILE_SOURCE_FILE_NOT_FOUND",
            "FAILED_READ_FILE",
            "COPY_INTO_SOURCE_FILE_NOT_FOUND",
            "CANNOT_LIST_FILES",
        ),
        *("CF_PATH_DOES_NOT_EXIST_FOR_READ_FILES", "FILE_NOT_EXIST"),
    }
)
_CATALOG: Final = frozenset({"NO_SUCH_CATALOG_EXCEPTION", "CATALOG_NOT_FOUND"})
_VOLUME: Final = frozenset({"VOLUME_NOT_FOUND", "UC_VOLUME_NOT_FOUND"})
_DENIED: Final = frozenset({"PERMISSION_DENIED", "INSUFFICIENT_PERMISSIONS", "UNAUTHORIZED_ACCESS"})
_INTERRUPTED: Final = frozenset(
    {
        *("OPERATION_CANCELED", "QUERY_CANCELED", "TEMPORARILY_UNAVAILABLE", "RESOURCE_EXHAUSTED"),
        *(
            "REQUEST_LIMIT_EXCEEDED",
            "WAREHOUSE_STOPPED",
            "INVALID_HANDLE",
            "SESSION_CLOSED",
            "SERVICE_UNDER_MAINTENANCE",
        ),
    }
)
_FULL: Final = frozenset({"QUOTA_EXCEEDED", "RESOURCE_QUOTA_EXCEEDED", "BUDGET_EXCEEDED"})
_SHAPE: Final = frozenset(
    {"COPY_INTO_SCHEMA_MISMATCH_WITH_TARGET_TABLE", "DELTA_FAILED_TO_MERGE_FIELDS", "DELTA_MERGE_INCOMPATIBLE_DATATYPE"}
)
_VALUES: Final = {
    "CAST_INVALID_INPUT": "not a value of its column's type",
    "CAST_OVERFLOW": "a number beyond its type",
    "NUMERIC_VALUE_OUT_OF_RANGE": "a number beyond its precision",
    "ARITHMETIC_OVERFLOW": "a number beyond its type",
    "NOT_NULL_CONSTRAINT_VIOLATION": "NULL in a column that takes none",
    "DELTA_NOT_NULL_CONSTRAINT_VIOLATED": "NULL in a column that takes none",
    "DELTA_VIOLATE_CONSTRAINT_WITH_VALUES": "a check of the table refuses it",
    "DELTA_EXCEED_CHAR_VARCHAR_LIMIT": "a text is too long for its column",
    "EXCEED_LIMIT_LENGTH": "a text is too long for its column",
}
_GRANT: Final = "Run the target statements that POST /v1/prereqs lists."


def login_refusal(error: Any, parameters: Mapping[str, Any]) -> ConnectionRefused:
    """What an error of opening a session means."""
    where, text = place(parameters), _said(error)
    status = _status(error)
    name, state = _named(str(error))
    if status in (401, 403) or state == "28000":
        return AuthenticationFailed(
            f"{where} does not take the token: {text}",
            remedy="Give a new access_token, or client_id and client_secret of a service principal that may use the "
            "warehouse (CAN USE).",
        )
    if status == 404:
        return DatabaseMissing(
            f"{where} has nothing at {parameters['http_path']}",
            remedy="Take 'http_path' from the warehouse's connection details.",
        )
    if name in _CATALOG:
        return missing_catalog(parameters)
    if status in (429, 503) or _PATIENCE.search(str(error)) or name in _INTERRUPTED:
        return HostUnreachable(
            f"the warehouse at {where} does not answer yet: it starts, or the service throttles ({text})",
            remedy="None needed while it is retried; otherwise start the warehouse, or let it start by itself.",
        )
    if "certificate" in text.lower() or "ssl" in text.lower():
        return TlsFailed(f"{where}: {text}")
    if isinstance(error, OSError) or type(error).__name__ in ("RequestError", "OperationalError"):
        return HostUnreachable(f"{where} cannot be reached: {text}")
    return ConnectionRefused(f"{where} refused the session: {text}")


def token_refusal(status: int, parameters: Mapping[str, Any]) -> ConnectionRefused:
    """What it means that the workspace gives no token for a service principal."""
    where = place(parameters)
    if status in (400, 401, 403):
        return AuthenticationFailed(
            f"{where} does not know the service principal, or its secret is wrong or has expired",
            remedy="Correct client_id and client_secret; an OAuth secret of a service principal ends after two years.",
        )
    if status == 404:
        return HostUnreachable(f"{where} is no Databricks workspace: it has no /oidc/v1/token")
    return HostUnreachable(f"{where} gives no token now (HTTP {status})")


def server_refusal(error: Any) -> WhimbrelError:
    """What a statement's error means. Values never enter the message: where one may stand, only its class does."""
    whole = str(error)
    name, state = _named(whole)
    text, status = _said(error), _status(error)
    if status is not None:
        return _http_refusal(status, text)
    if name in _SHAPE:
        return SchemaMismatch(text)
    if name in _VALUES or state[:2] in ("22", "23"):
        return ValueRefused(f"Databricks cannot hold a value as it is: {_VALUES.get(name, name or state)}")
    if name == _DUPLICATES:
        return ValueRefused(
            "Databricks found two rows of one batch for one row of a table",
            remedy="Look for rows with equal keys on the source or the target, and report it if there are none.",
        )
    if _CONFLICT.match(name) or state == "2D521":
        return TargetInterrupted(f"another writer's commit came before ours: {text}", conflict=True)
    if name in _DENIED or state == "42501":
        return TargetPermissionDenied(text)
    if name in _CATALOG or name in _VOLUME:
        return LoaderFailed(text, remedy=f"Create what the message names. {_GRANT}")
    if name in _FILE:
        return TargetInterrupted(f"a staged file is gone or cannot be read: {text}")
    if name in _MISSING or state in ("42P01", "42704"):
        return TableMissing(text, remedy=f"Run schema/apply first. {_GRANT}")
    if name in _FULL:
        return TargetFull(f"a quota is used up: {text}", remedy="Raise the quota, or wait until it is renewed.")
    if name in _INTERRUPTED or state in ("HY008", "57014") or state.startswith("08"):
        return TargetInterrupted(f"Databricks interrupted the statement: {text}")
    if state.startswith("42"):
        return SchemaFailed(text)
    if name or state:
        return LoaderFailed(f"Databricks refused a statement: {text}")
    if type(error).__name__ in ("InterfaceError", "InternalError", "ProgrammingError", "NotSupportedError"):
        return InternalError(f"Databricks' driver failed: {type(error).__name__}")
    return TargetInterrupted(f"the link to Databricks broke: {text}")


def _http_refusal(status: int, text: str) -> WhimbrelError:
    """Of a request of the driver, or of an upload to the volume's storage."""
    if status == 401:
        return TargetPermissionDenied(
            f"Databricks does not take the token any more: {text}",
            remedy="Give the target a new access_token, or client_id and client_secret, which renew them; resume.",
        )
    if status == 403:
        return TargetPermissionDenied(f"Databricks refuses a request (HTTP 403): {text}")
    if status == 413:
        return TargetFull(f"a staged file is too large for the volume: {text}")
    if status in (404, 408, 425, 429) or status >= 500:
        return TargetInterrupted(f"Databricks did not serve a request (HTTP {status}): {text}")
    return LoaderFailed(f"Databricks refused a request (HTTP {status}): {text}")


def is_conflict(error: WhimbrelError) -> bool:
    return bool(error.details.get("conflict"))


def missing_catalog(parameters: Mapping[str, Any]) -> DatabaseMissing:
    return DatabaseMissing(
        f"{place(parameters)} has no catalog {parameters['catalog']}, or the account does not see it",
        remedy="Create the catalog, or grant the account USE CATALOG on it, or correct the 'catalog' parameter.",
    )


def place(parameters: Mapping[str, Any]) -> str:
    host = str(parameters["server_hostname"])
    return f"{host}:{parameters['port']}" if parameters.get("port") else host


def _named(text: str) -> tuple[str, str]:
    """Error class and SQLSTATE, each '' where there is none."""
    name, state = _CLASS.search(text), _STATE.search(text)
    return name[1] if name else "", state[1] if state else ""


def _status(error: Any) -> int | None:
    """The HTTP status that a request ended with, where that is what is known."""
    context = getattr(error, "context", None) or {}
    code = context.get("http-code") if isinstance(context, dict) else None
    if code is None and (found := _HTTP.search(str(error))):
        code = found[1]
    return int(code) if code and int(code) >= 300 else None


def _said(error: Any) -> str:
    """The first line of the vendor's own words, addresses without what may open them."""
    context = getattr(error, "context", None) or {}
    inner = context.get("error-message") if isinstance(context, dict) else None
    lines = [line.strip() for line in str(inner or error).splitlines() if line.strip()]
    return _SIGNED.sub(r"\1?…", lines[0])[:300] if lines else type(error).__name__
