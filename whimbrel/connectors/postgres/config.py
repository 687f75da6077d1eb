"""The parameters of a PostgreSQL endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whimbrel.errors import InvalidRequest

REQUIRED = ("host", "user", "password", "database")
OPTIONAL: dict[str, Any] = {"port": 5432, "sslmode": "prefer", "sslrootcert": None, "allow_cleartext_password": False}
ALIASES = {"username": "user"}
SECRETS = frozenset({"password"})
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def parse(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, fill defaults, read the port. Raises InvalidRequest naming the field."""
    given: dict[str, Any] = {}
    for name, value in parameters.items():
        field = ALIASES.get(name, name)
        if field not in REQUIRED and field not in OPTIONAL:
            raise _refuse(name, "is not a parameter of postgres", known=sorted((*REQUIRED, *OPTIONAL)))
        if field in given:
            raise _refuse(name, f"is given twice, as {field!r} too")
        given[field] = value
    for field in REQUIRED:
        if given.get(field) in (None, ""):
            raise _refuse(field, "is required")
    parsed = {**OPTIONAL, **given, "port": _port(given.get("port", OPTIONAL["port"]))}
    for field in (*REQUIRED, "sslmode", "sslrootcert"):
        _check_text(field, parsed[field])
    if parsed["sslmode"] not in SSL_MODES:
        raise _refuse("sslmode", f"must be one of {', '.join(SSL_MODES)}")
    if not isinstance(parsed["allow_cleartext_password"], bool):
        raise _refuse("allow_cleartext_password", "must be true or false")
    if parsed["allow_cleartext_password"] and parsed["sslmode"] not in ("verify-ca", "verify-full"):
        raise _refuse("allow_cleartext_password", "needs sslmode verify-ca or verify-full")
    if not parsed["allow_cleartext_password"]:
        del parsed["allow_cleartext_password"]
    if parsed["sslrootcert"] is None:
        del parsed["sslrootcert"]
    return parsed


def _port(value: Any) -> int:
    """A port as number or text."""
    number = value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 65535:
        raise _refuse("port", "must be a whole number from 1 to 65535")
    return number


def _check_text(field: str, value: Any) -> None:
    if value is None and field == "sslrootcert":
        return
    if not isinstance(value, str):
        raise _refuse(field, "must be text")
    if "\0" in value:
        raise _refuse(field, "must not hold a NUL")


def _refuse(field: str, why: str, **details: Any) -> InvalidRequest:
    return InvalidRequest(f"parameters.{field}: {why}", field=f"parameters.{field}", **details)
