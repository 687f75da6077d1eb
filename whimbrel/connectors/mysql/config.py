"""The parameters of a MySQL or MariaDB endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whimbrel.connectors.parameters import clear_password, known, one_of, port, text

ALLOW_CLEAR = "allow_cleartext_password"
REQUIRED = ("host", "user", "password")
OPTIONAL: dict[str, Any] = {
    "port": 3306,
    "database": None,
    "ssl_mode": "preferred",
    "ssl_ca": None,
    ALLOW_CLEAR: None,
}
ALIASES = {"username": "user"}
SECRETS = frozenset({"password"})
SSL_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
VERIFIED = SSL_MODES[-2:]


def parse(type: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, fill defaults, read the port. Raises InvalidRequest naming the field.

    ``database`` and ``ssl_ca`` are absent from the result when they were not given; an empty password is one.
    """
    given = known(type, parameters, REQUIRED, OPTIONAL, ALIASES, may_be_empty=("password",))
    parsed = {**OPTIONAL, **given}
    parsed["port"] = port(parsed["port"])
    for field in (*REQUIRED, "database", "ssl_mode", "ssl_ca"):
        if parsed[field] is not None:
            text(field, parsed[field], may_be_empty=field == "password")
    parsed["ssl_mode"] = parsed["ssl_mode"].lower().replace("-", "_")
    one_of("ssl_mode", parsed["ssl_mode"], SSL_MODES)
    allowed = clear_password(parsed[ALLOW_CLEAR], "ssl_mode", parsed["ssl_mode"], VERIFIED)
    parsed[ALLOW_CLEAR] = allowed or None
    return {field: value for field, value in parsed.items() if value is not None}
