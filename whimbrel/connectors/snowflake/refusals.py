"""What Snowflake's errors mean to us, by the numbers that its vendor gives them."""

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
    TableMissing,
    TargetFull,
    TargetInterrupted,
    TargetPermissionDenied,
    TlsFailed,
    ValueRefused,
    WhimbrelError,
)

_NUMBERS: Final = re.compile(r"\A(?:\d+ (?:\([0-9A-Za-z]+\))?: ?)?(?:[0-9a-f-]{36}: ?)?")
_LOGIN: Final = {
    390100: "the user or the password is wrong",
    390101: "the account of the user is not active",
    390102: "the user is locked",
    390144: "the key pair does not fit the user: set RSA_PUBLIC_KEY of the user",
    390186: "the role does not exist, or is not granted to the user",
    390189: "the role does not exist, or is not granted to the user",
    390201: "the object named in the session does not exist, or is not visible to the role",
    390422: "the network policy does not let this address in",
}
_UNKNOWN_ACCOUNT: Final = frozenset({390400, 390404, 290404})
_NETWORK: Final = frozenset(
    {250001, 250002, 250003, 250005, 251001, 251011, 252004, 253001, 253003, 290403, 290502, 290503, 290504}
)
_SESSION_GONE: Final = frozenset({390110, 390111, 390112, 390114, 390195, 390318})
_INTERRUPTED: Final = frozenset(
    {604, 625, 630, 670, 1200, 90031, 300002, 300005, 370001}
)  # aborted, cancelled, locked, busy
_LOCKED: Final = frozenset({625, 1200})
_SUSPENDED: Final = frozenset({606, 90073, 90064})
_VALUE: Final = frozenset(
    # too long, out of range, not a date or number or boolean, NULL where none may be, malformed binary or JSON
    {
        100029,
        100035,
        100037,
        100038,
        100039,
        100040,
        100046,
        100069,
        100071,
        100072,
        100074,
        100078,
        100095,
        100097,
        100132,
        100145,
    }
)
_DUPLICATES: Final = 100090
_MISSING: Final = frozenset({2003, 2043})
_DENIED: Final = 3001
_SYNTAX: Final = frozenset({1003, 904, 1044})
_QUOTA: Final = frozenset({90098, 92116})


def login_refusal(error: Any, parameters: Mapping[str, Any]) -> WhimbrelError:
    """Why a session could not be opened. ``error`` is the driver's."""
    where, number = place(parameters), int(error.errno or 0)
    text = _said(error)
    if number in _LOGIN or any(str(n) in text for n in _LOGIN):
        why = _LOGIN.get(number) or next(s for n, s in _LOGIN.items() if str(n) in text)
        return AuthenticationFailed(f"{where}: {why}")
    if number in _UNKNOWN_ACCOUNT:
        return ConnectionRefused(
            f"{where}: there is no such account", remedy="Correct 'account': its form is organization-account."
        )
    if "certificate" in text.lower() or "ocsp" in text.lower():
        return TlsFailed(f"{where}: {text}")
    if number in _NETWORK or number == 0:
        return HostUnreachable(f"{where} cannot be reached: {text}")
    return ConnectionRefused(f"{where} refused the session: {text} ({number})")


def server_refusal(error: Any) -> WhimbrelError:
    """What a statement's error means. Values never enter the message: the vendor quotes them, so only its number and
    what we know of it do, where a value may stand."""
    number = int(error.errno or 0)
    text = _said(error)
    if number in _VALUE:
        return ValueRefused(
            f"Snowflake cannot hold a value as it is (error {number}: {_VALUES.get(number, 'out of its type range')})"
        )
    if number == _DUPLICATES:
        return ValueRefused(
            "Snowflake found two rows of one batch for one row of a table",
            remedy="Look for rows with equal keys on the source or the target, and report it if there are none.",
        )
    if number in _SUSPENDED:
        return TargetInterrupted(
            f"the warehouse does not run: {text}",
            remedy="Resume the warehouse, or let it resume by itself: ALTER WAREHOUSE … SET AUTO_RESUME = TRUE.",
        )
    if number in _QUOTA:
        return TargetFull(f"a quota of the account is used up: {text}", remedy="Raise the resource monitor's quota.")
    if number in _INTERRUPTED or number in _SESSION_GONE or number in _NETWORK:
        held = " (somebody else's transaction holds a lock: see SHOW LOCKS)" if number in _LOCKED else ""
        return TargetInterrupted(f"Snowflake interrupted the statement{held}: {text}")
    if number == _DENIED:
        return TargetPermissionDenied(text)
    if number in _MISSING:
        return TableMissing(text, remedy="Run schema/apply first, and grant the role what POST /v1/prereqs lists.")
    if number in _SYNTAX:
        return SchemaFailed(f"{text} (error {number})")
    if type(error).__name__ in ("OperationalError", "InterfaceError", "InternalServerError", "ServiceUnavailableError"):
        return TargetInterrupted(f"the link to Snowflake broke: {text}")
    if type(error).__name__ == "ProgrammingError":
        return LoaderFailed(f"Snowflake refused a statement: {text} (error {number})")
    return InternalError(f"Snowflake's driver failed: {type(error).__name__} {number}")


_VALUES: Final = {
    100078: "a text is too long for its column",
    100072: "NULL in a column that takes none",
    100038: "not a number",
    100040: "not a date",
    100035: "not a time stamp",
    100069: "not a document of JSON",
    100132: "a number beyond its precision",
}


def missing_database(parameters: Mapping[str, Any]) -> DatabaseMissing:
    return DatabaseMissing(
        f"{place(parameters)} has no database {parameters['database']}, or the role does not see it",
        remedy="Create the database, or grant the role USAGE on it, or correct the 'database' parameter.",
    )


def place(parameters: Mapping[str, Any]) -> str:
    host = parameters.get("host") or f"{parameters['account']}.snowflakecomputing.com"
    return f"{host}:{parameters['port']}" if parameters.get("port") else str(host)


def _said(error: Any) -> str:
    """The first line of the vendor's own words, without the numbers and query ids it begins with."""
    text = str(getattr(error, "raw_msg", None) or getattr(error, "msg", None) or error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _NUMBERS.sub("", lines[-1])[:300] if lines else type(error).__name__
