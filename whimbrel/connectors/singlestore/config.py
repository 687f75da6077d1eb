"""The parameters of a SingleStore endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from whimbrel.connectors.parameters import batch_seconds, known, one_of, port, text

REQUIRED = ("host", "user", "password", "database")
OPTIONAL = ("port", "ssl_mode", "ssl_ca", "table_type", "batch_seconds")
ALIASES = {"username": "user"}
SECRETS = frozenset({"password"})
SSL_MODES = ("disabled", "preferred", "required", "verify_ca", "verify_identity")
# Verified unless the user says otherwise: the managed service has certificates of a public authority.
SSL_MODE = "verify_identity"
TABLE_TYPES = ("columnstore", "rowstore")
_READ = {"port": port, "batch_seconds": batch_seconds}
_CHOICES = {"ssl_mode": SSL_MODES, "table_type": TABLE_TYPES}


def parse(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, fill defaults, read the port. Raises InvalidRequest naming the field."""
    given = known("singlestore", parameters, REQUIRED, OPTIONAL, ALIASES, may_be_empty=("password",))
    parsed: dict[str, Any] = {"port": 3306, "ssl_mode": SSL_MODE}
    for field, value in given.items():
        parsed[field] = _READ[field](value) if field in _READ else text(field, value, may_be_empty=field == "password")
    for field in _CHOICES.keys() & parsed.keys():
        parsed[field] = one_of(field, parsed[field].lower().replace("-", "_"), _CHOICES[field])
    return parsed
