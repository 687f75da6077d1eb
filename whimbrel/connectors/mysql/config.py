"""The parameters of a MySQL or MariaDB endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whimbrel.errors import InvalidRequest

REQUIRED = ("host", "user", "password")
OPTIONAL: dict[str, Any] = {
    "port": 3306,
    "database": None,
    "ssl_mode": "preferred",
    "ssl_ca": None,
    "allow_cleartext_password": None,
}
ALIASES = {"username": "user"}
SECRETS = frozenset({"password"})
SSL_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")


def parse(type: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, fill defaults, read the port. Raises InvalidRequest naming the field.

    ``database`` and ``ssl_ca`` are absent from the result when they were not given; an empty password is one.
    """
    given: dict[str, Any] = {}
    for name, value in parameters.items():
        field = ALIASES.get(name, name)
        if field not in REQUIRED and field not in OPTIONAL:
            raise _refuse(name, f"is not a parameter of {type}", known=sorted((*REQUIRED, *OPTIONAL)))
        if field in given:
            raise _refuse(name, f"is given twice, as {field!r} too")
        given[field] = value
    for field in REQUIRED:
        if given.get(field) is None or (given[field] == "" and field != "password"):
            raise _refuse(field, "is required")
    parsed = {**OPTIONAL, **given, "port": _port(given.get("port", OPTIONAL["port"]))}
    for field in (*REQUIRED, "database", "ssl_mode", "ssl_ca"):
        _check_text(field, parsed[field])
    parsed["ssl_mode"] = parsed["ssl_mode"].lower().replace("-", "_")
    if parsed["ssl_mode"] not in SSL_MODES:
        raise _refuse("ssl_mode", f"must be one of {', '.join(SSL_MODES)}")
    allowed = parsed["allow_cleartext_password"]
    if not (allowed is None or isinstance(allowed, bool)):
        raise _refuse("allow_cleartext_password", "must be true or false")
    if allowed and parsed["ssl_mode"] not in ("verify_ca", "verify_identity"):
        raise _refuse("allow_cleartext_password", "needs ssl_mode verify_ca or verify_identity")
    parsed["allow_cleartext_password"] = allowed or None
    return {field: value for field, value in parsed.items() if value is not None}


def _port(value: Any) -> int:
    """A port as number or text."""
    number = value
    if isinstance(value, str) and value.isascii() and value.isdigit():
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 65535:
        raise _refuse("port", "must be a whole number from 1 to 65535")
    return number


def _check_text(field: str, value: Any) -> None:
    if value is None and field in ("database", "ssl_ca"):
        return
    if not isinstance(value, str):
        raise _refuse(field, "must be text")
    if "\0" in value:
        raise _refuse(field, "must not hold a NUL")
    if value == "" and field in ("database", "ssl_ca"):
        raise _refuse(field, "must not be empty; leave it out instead")


def _refuse(field: str, why: str, **details: Any) -> InvalidRequest:
    return InvalidRequest(f"parameters.{field}: {why}", field=f"parameters.{field}", **details)
