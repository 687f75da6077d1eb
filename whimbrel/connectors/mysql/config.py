"""The parameters of a MySQL or MariaDB endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whimbrel.connectors.parameters import known, one_of, port, refuse, text

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
    given = known(type, parameters, REQUIRED, OPTIONAL, ALIASES, may_be_empty=("password",))
    parsed = {**OPTIONAL, **given}
    parsed["port"] = port(parsed["port"])
    for field in (*REQUIRED, "database", "ssl_mode", "ssl_ca"):
        if parsed[field] is not None:
            text(field, parsed[field], may_be_empty=field == "password")
    parsed["ssl_mode"] = parsed["ssl_mode"].lower().replace("-", "_")
    one_of("ssl_mode", parsed["ssl_mode"], SSL_MODES)
    allowed = parsed["allow_cleartext_password"]
    if not (allowed is None or isinstance(allowed, bool)):
        raise refuse("allow_cleartext_password", "must be true or false")
    if allowed and parsed["ssl_mode"] not in ("verify_ca", "verify_identity"):
        raise refuse("allow_cleartext_password", "needs ssl_mode verify_ca or verify_identity")
    parsed["allow_cleartext_password"] = allowed or None
    return {field: value for field, value in parsed.items() if value is not None}
