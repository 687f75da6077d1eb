"""Secrets of sources and targets: which parameters they are, and how they are masked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
_FLAGS = frozenset({"allow_cleartext_password"})
_SECRET = re.compile(r"password|passphrase|secret|token|private_key|credentials", re.IGNORECASE)


def is_secret(parameter: str) -> bool:
    """Whether a parameter of that name is kept encrypted and never shown."""
    return parameter not in _FLAGS and _SECRET.search(parameter) is not None


def masked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as they may be shown."""
    return {k: MASK if is_secret(k) and v not in (None, "") else v for k, v in parameters.items()}


# What may change under a secret that is kept: nothing of this decides who is shown it, or who may listen.
_ELSEWHERE = frozenset({"database", "topic", "batchSize", "compression", "format"})
# Weakest first, in the spellings of both families of databases.
_TLS_MODES = (
    ("disable", "disabled"),
    ("allow",),
    ("prefer", "preferred"),
    ("require", "required"),
    ("verify-ca", "verify_ca"),
    ("verify-full", "verify_identity"),
)
_MODES = ("sslmode", "ssl_mode")
_AUTHORITIES = ("sslrootcert", "ssl_ca")
_VERIFIED = 4


def exposed_by(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """The parameter by whose change a stored secret would be shown to somebody else, or less protected; None when a
    secret may stay. TLS may become stronger, and check certificates against an authority where it checked none."""
    for field in sorted({*stored, *wanted} - _ELSEWHERE):
        before, after = stored.get(field), wanted.get(field)
        if is_secret(field) or before == after:
            continue
        if field in _MODES and _strength(after) >= _strength(before):
            continue
        unchecked = max(_strength(stored.get(mode, "")) for mode in _MODES) < _VERIFIED
        if field in _AUTHORITIES and before is None and unchecked:
            continue
        return field
    return None


def _strength(mode: Any) -> int:
    return next((rank for rank, names in enumerate(_TLS_MODES) if mode in names), -1)


def redact(text: str, *parameters: Mapping[str, Any]) -> str:
    """``text`` without any of these parameters' secrets; for messages that servers and drivers wrote."""
    values = {str(v) for p in parameters for k, v in p.items() if is_secret(k) and v}
    for value in sorted(values, key=len, reverse=True):
        if len(value) > 3:  # shorter ones stand in ordinary words
            text = text.replace(value, MASK)
    return text
