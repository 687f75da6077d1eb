"""The parameters of a Snowflake endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from whimbrel.connectors.parameters import LOOPBACK, batch_seconds, known, one_of, port, refuse, text

REQUIRED = ("account", "user", "database", "warehouse")
OPTIONAL = (
    *("password", "private_key", "private_key_passphrase"),
    *("schema", "role", "host", "port", "protocol", "batch_seconds"),
)
ALIASES = {"username": "user"}
SECRETS = frozenset({"password", "private_key", "private_key_passphrase"})
PROTOCOLS = ("https", "http")
_ACCOUNT = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_READ = {"port": port, "batch_seconds": batch_seconds}


def parse(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, read the port. Raises InvalidRequest naming the field."""
    parsed = known("snowflake", parameters, REQUIRED, OPTIONAL, ALIASES)
    for field, value in parsed.items():
        parsed[field] = _READ[field](value) if field in _READ else text(field, value)
    if not _ACCOUNT.fullmatch(parsed["account"]):
        raise refuse("account", "must be an account identifier like 'myorg-myaccount', not a URL")
    if ("password" in parsed) == ("private_key" in parsed):
        raise refuse("password", "either a password or a private_key is required, and not both")
    if "private_key_passphrase" in parsed and "private_key" not in parsed:
        raise refuse("private_key_passphrase", "needs a private_key")
    one_of("protocol", parsed.get("protocol", "https"), PROTOCOLS)
    if parsed.get("protocol") == "http" and parsed.get("host") not in LOOPBACK:
        raise refuse("protocol", "http sends the password in clear, and is for a host on this machine only")
    return parsed
