"""The parameters of an Oracle endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whimbrel.connectors.parameters import known, one_of, port, refuse, text

REQUIRED = ("host", "user", "password")
OPTIONAL = ("port", "service_name", "sid", "protocol", "wallet_location", "wallet_password", "ssl_server_cert_dn")
ALIASES = {"username": "user", "hostname": "host", "service": "service_name"}
SECRETS = frozenset({"password", "wallet_password"})
PROTOCOLS = ("tcp", "tcps")
PORT = 1521


def parse(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, read the port. Raises InvalidRequest naming the field."""
    parsed = known("oracle", parameters, REQUIRED, OPTIONAL, ALIASES)
    for field, value in parsed.items():
        parsed[field] = port(value) if field == "port" else text(field, value)
    if ("service_name" in parsed) == ("sid" in parsed):
        raise refuse("service_name", "either a service_name or a sid is required, and not both")
    parsed.setdefault("port", PORT)
    one_of("protocol", parsed.setdefault("protocol", "tcp"), PROTOCOLS)
    return parsed
