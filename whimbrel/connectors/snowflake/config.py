"""The parameters of a Snowflake endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from whimbrel.errors import InvalidRequest

REQUIRED = ("account", "user", "database", "warehouse")
OPTIONAL = (
    *("password", "private_key", "private_key_passphrase"),
    *("schema", "role", "host", "port", "protocol", "batch_seconds"),
)
ALIASES = {"username": "user"}
SECRETS = frozenset({"password", "private_key", "private_key_passphrase"})
PROTOCOLS = ("https", "http")
_ACCOUNT = re.compile(r"[A-Za-z0-9_.-]{1,255}")
LONGEST_BATCH = 3600  # seconds
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def parse(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, read the port. Raises InvalidRequest naming the field."""
    given: dict[str, Any] = {}
    for name, value in parameters.items():
        field = ALIASES.get(name, name)
        if field not in REQUIRED and field not in OPTIONAL:
            raise _refuse(name, "is not a parameter of snowflake", known=sorted((*REQUIRED, *OPTIONAL)))
        if field in given:
            raise _refuse(name, f"is given twice, as {field!r} too")
        given[field] = value
    parsed = {k: v for k, v in given.items() if v is not None}
    for field in REQUIRED:
        if parsed.get(field, "") == "":
            raise _refuse(field, "is required")
    if "port" in parsed:
        parsed["port"] = _port(parsed["port"])
    if "batch_seconds" in parsed:
        parsed["batch_seconds"] = _seconds(parsed["batch_seconds"])
    for field, value in parsed.items():
        if field not in ("port", "batch_seconds"):
            _check_text(field, value)
    if not _ACCOUNT.fullmatch(parsed["account"]):
        raise _refuse("account", "must be an account identifier like 'myorg-myaccount', not a URL")
    if ("password" in parsed) == ("private_key" in parsed):
        raise _refuse("password", "either a password or a private_key is required, and not both")
    if "private_key_passphrase" in parsed and "private_key" not in parsed:
        raise _refuse("private_key_passphrase", "needs a private_key")
    if parsed.get("protocol", "https") not in PROTOCOLS:
        raise _refuse("protocol", f"must be one of {', '.join(PROTOCOLS)}")
    if parsed.get("protocol") == "http" and parsed.get("host") not in _LOOPBACK:
        raise _refuse("protocol", "http sends the password in clear, and is for a host on this machine only")
    return parsed


def _port(value: Any) -> int:
    """A port as number or text."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 65535:
        raise _refuse("port", "must be a whole number from 1 to 65535")
    return number


def _seconds(value: Any) -> float:
    """As number or text."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if isinstance(value, bool) or not 0 <= seconds <= LONGEST_BATCH:
        raise _refuse("batch_seconds", f"must be a number from 0 to {LONGEST_BATCH}")
    return seconds


def _check_text(field: str, value: Any) -> None:
    if not isinstance(value, str):
        raise _refuse(field, "must be text")
    if "\0" in value:
        raise _refuse(field, "must not hold a NUL")
    if value == "":
        raise _refuse(field, "must not be empty")


def _refuse(field: str, why: str, **details: Any) -> InvalidRequest:
    return InvalidRequest(f"parameters.{field}: {why}", field=f"parameters.{field}", **details)
