"""The parameters of a PostgreSQL endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whimbrel.connectors.parameters import known, one_of, port, refuse, text

REQUIRED = ("host", "user", "password", "database")
OPTIONAL: dict[str, Any] = {"port": 5432, "sslmode": "prefer", "sslrootcert": None, "allow_cleartext_password": False}
ALIASES = {"username": "user"}
SECRETS = frozenset({"password"})
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def parse(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, fill defaults, read the port. Raises InvalidRequest naming the field."""
    given = known("postgres", parameters, REQUIRED, OPTIONAL, ALIASES)
    parsed = {**OPTIONAL, **given}
    parsed["port"] = port(parsed["port"])
    for field in (*REQUIRED, "sslmode", "sslrootcert"):
        if parsed[field] is not None:
            text(field, parsed[field], may_be_empty=field == "sslrootcert")
    one_of("sslmode", parsed["sslmode"], SSL_MODES)
    if not isinstance(parsed["allow_cleartext_password"], bool):
        raise refuse("allow_cleartext_password", "must be true or false")
    if parsed["allow_cleartext_password"] and parsed["sslmode"] not in ("verify-ca", "verify-full"):
        raise refuse("allow_cleartext_password", "needs sslmode verify-ca or verify-full")
    if not parsed["allow_cleartext_password"]:
        del parsed["allow_cleartext_password"]
    if parsed["sslrootcert"] is None:
        del parsed["sslrootcert"]
    return parsed
