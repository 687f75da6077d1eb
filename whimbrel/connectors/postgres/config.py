"""The parameters of a PostgreSQL endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whimbrel.connectors.parameters import clear_password, known, one_of, port, text

ALLOW_CLEAR = "allow_cleartext_password"
REQUIRED = ("host", "user", "password", "database")
OPTIONAL: dict[str, Any] = {"port": 5432, "sslmode": "prefer", "sslrootcert": None, ALLOW_CLEAR: False}
ALIASES = {"username": "user"}
SECRETS = frozenset({"password"})
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
VERIFIED = SSL_MODES[-2:]


def parse(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, fill defaults, read the port. Raises InvalidRequest naming the field."""
    given = known("postgres", parameters, REQUIRED, OPTIONAL, ALIASES)
    parsed = {**OPTIONAL, **given}
    parsed["port"] = port(parsed["port"])
    for field in (*REQUIRED, "sslmode", "sslrootcert"):
        if parsed[field] is not None:
            text(field, parsed[field], may_be_empty=field == "sslrootcert")
    one_of("sslmode", parsed["sslmode"], SSL_MODES)
    if not clear_password(parsed[ALLOW_CLEAR], "sslmode", parsed["sslmode"], VERIFIED):
        del parsed[ALLOW_CLEAR]
    if parsed["sslrootcert"] is None:
        del parsed["sslrootcert"]
    return parsed
