"""Secrets of sources and targets: which parameters they are, and how they are masked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
_SECRET = re.compile(r"password|passphrase|secret|token|private_key|credentials", re.IGNORECASE)


def is_secret(parameter: str) -> bool:
    """Whether a parameter of that name is kept encrypted and never shown."""
    return _SECRET.search(parameter) is not None


def masked(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters as they may be shown."""
    return {k: MASK if is_secret(k) and v not in (None, "") else v for k, v in parameters.items()}


def redact(text: str, *parameters: Mapping[str, Any]) -> str:
    """``text`` without any of these parameters' secrets; for messages that servers and drivers wrote."""
    values = {str(v) for p in parameters for k, v in p.items() if is_secret(k) and v}
    for value in sorted(values, key=len, reverse=True):
        if len(value) > 3:  # shorter ones stand in ordinary words
            text = text.replace(value, MASK)
    return text
