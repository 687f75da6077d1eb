"""How the parameters of an endpoint are read; shared by the ``config.py`` of all engines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from whimbrel.errors import InvalidRequest

LONGEST_BATCH: Final = 3600  # seconds
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
KEYS: Final = ("service_account", "authorized_user")


def known(
    type: str,
    parameters: Mapping[str, Any],
    required: Iterable[str],
    optional: Iterable[str],
    aliases: Mapping[str, str],
    *,
    may_be_empty: Iterable[str] = (),
) -> dict[str, Any]:
    """The parameters by their own names, those that are null left out.

    Raises InvalidRequest naming the field for one that ``type`` does not have, one given twice, and a required one that
    is absent or empty.
    """
    required, fields = tuple(required), {*required, *optional}
    given: dict[str, Any] = {}
    for name, value in parameters.items():
        field = aliases.get(name, name)
        if field not in fields:
            raise refuse(name, f"is not a parameter of {type}", known=sorted(fields))
        if field in given:
            raise refuse(name, f"is given twice, as {field!r} too")
        given[field] = value
    empty = tuple(may_be_empty)
    for field in required:
        value = given.get(field)
        if value is None or (field not in empty and value in ("", [])):
            raise refuse(field, "is required")
    return {field: value for field, value in given.items() if value is not None}


def whole(field: str, value: Any, least: int, most: int) -> int:
    """A whole number, given as number or text."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        raise refuse(field, f"must be a whole number from {least} to {most}")
    return number


def port(value: Any) -> int:
    """A port as number or text."""
    return whole("port", value, 1, 65535)


def batch_seconds(value: Any) -> float:
    """How long a target gathers changes, as number or text."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if isinstance(value, bool) or not 0 <= seconds <= LONGEST_BATCH:
        raise refuse("batch_seconds", f"must be a number from 0 to {LONGEST_BATCH}")
    return seconds


def text(field: str, value: Any, *, may_be_empty: bool = False) -> str:
    """A text without NUL."""
    if not isinstance(value, str):
        raise refuse(field, "must be text")
    if "\0" in value:
        raise refuse(field, "must not hold a NUL")
    if value == "" and not may_be_empty:
        raise refuse(field, "must not be empty; leave it out instead")
    return value


def one_of(field: str, value: str, choices: Iterable[str]) -> str:
    """One of the choices."""
    choices = tuple(choices)
    if value not in choices:
        raise refuse(field, f"must be one of {', '.join(choices)}")
    return value


def clear_password(value: Any, mode_field: str, mode: str, verified: Sequence[str]) -> bool:
    """Whether a server that asks for the password in clear is given it (``allow_cleartext_password``): only one that
    was verified."""
    field = "allow_cleartext_password"
    if not (value is None or isinstance(value, bool)):
        raise refuse(field, "must be true or false")
    if value and mode not in verified:
        raise refuse(field, f"needs {mode_field} {' or '.join(verified)}")
    return bool(value)


def key_file(field: str, given: str) -> None:
    """Look at the text of a key file of Google's, and tell nothing of it."""
    try:
        found = json.loads(given)
    except ValueError:
        raise refuse(field, "must be the text of a key file, which is JSON") from None
    kind = found.get("type") if isinstance(found, dict) else None
    if kind not in KEYS:
        # others run programs of this machine or read addresses that the text names
        raise refuse(field, f"must be a key of type {' or '.join(KEYS)}")
    where = urlsplit(str(found.get("token_uri", "https://")))
    if where.scheme != "https" and not (where.scheme == "http" and where.hostname in LOOPBACK):
        raise refuse(field, "must have a 'token_uri' of https: the login is sent there, and its answer")


def refuse(field: str, why: str, **details: Any) -> InvalidRequest:
    """What is raised of a parameter: the error names it and says why."""
    return InvalidRequest(f"parameters.{field}: {why}", field=f"parameters.{field}", **details)
