"""The parameters of a Databricks endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from whimbrel.errors import InvalidRequest

REQUIRED = ("server_hostname", "http_path", "catalog")
OPTIONAL = (
    *("access_token", "client_id", "client_secret"),
    *("schema", "staging_volume", "port", "scheme", "batch_seconds"),
)
ALIASES = {"host": "server_hostname", "token": "access_token"}
SECRETS = frozenset({"access_token", "client_secret"})
SCHEMES = ("https", "http")
OWN_VOLUME = "files"  # in our own schema, where the endpoint names no volume
OWN_SCHEMA = "whimbrel"
LONGEST_BATCH = 3600  # seconds
_HOST = re.compile(r"[A-Za-z0-9.-]{1,255}")
_PATH = re.compile(r"/?[A-Za-z0-9._/-]{1,512}")
_VOLUME = re.compile(r"/Volumes/([^/'\\\x00]+)/([^/'\\\x00]+)/([^/'\\\x00]+)/?")
_SECRET = re.compile(r"[!-~]+")  # what a header can carry: one that does not would be told with the driver's error
_LOOPBACK = ("127.0.0.1", "localhost")


def parse(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, read the port. Raises InvalidRequest naming the field."""
    given: dict[str, Any] = {}
    for name, value in parameters.items():
        field = ALIASES.get(name, name)
        if field not in REQUIRED and field not in OPTIONAL:
            raise _refuse(name, "is not a parameter of databricks", known=sorted((*REQUIRED, *OPTIONAL)))
        if field in given:
            raise _refuse(name, f"is given twice, as {field!r} too")
        given[field] = value
    parsed = {k: v for k, v in given.items() if v is not None}
    for field in REQUIRED:
        if parsed.get(field, "") == "":
            raise _refuse(field, "is required")
    if "port" in parsed:
        parsed["port"] = _port(parsed["port"])
    if "batch_seconds" in parsed:
        parsed["batch_seconds"] = _seconds(parsed["batch_seconds"])
    for field, value in parsed.items():
        if field not in ("port", "batch_seconds"):
            _check_text(field, value)
    _check(parsed)
    if "staging_volume" in parsed:
        parsed["staging_volume"] = _volume(parsed["staging_volume"])
    return parsed


def _check(parsed: Mapping[str, Any]) -> None:
    if not _HOST.fullmatch(parsed["server_hostname"]):
        raise _refuse("server_hostname", "must be a host like 'dbc-0a1b2c3d.cloud.databricks.com', not a URL")
    if not _PATH.fullmatch(parsed["http_path"]):
        raise _refuse("http_path", "must be a path like '/sql/1.0/warehouses/0123456789abcdef'")
    for field in ("access_token", "client_id", "client_secret"):
        if field in parsed and not _SECRET.fullmatch(parsed[field]):
            raise _refuse(field, "must be of letters, digits and signs of ASCII, without blanks or ends of lines")
    by_client = "client_id" in parsed or "client_secret" in parsed
    if by_client and not ("client_id" in parsed and "client_secret" in parsed):
        raise _refuse("client_secret" if "client_id" in parsed else "client_id", "is required beside the other one")
    if ("access_token" in parsed) == by_client:
        raise _refuse(
            "access_token", "either an access_token or client_id and client_secret are required, and not both"
        )
    if parsed.get("scheme", "https") not in SCHEMES:
        raise _refuse("scheme", f"must be one of {', '.join(SCHEMES)}")
    if parsed.get("scheme") == "http" and parsed["server_hostname"] not in _LOOPBACK:
        raise _refuse("scheme", "http sends the token in clear, and is for a host on this machine only")


def volume(parameters: Mapping[str, Any]) -> str:
    """The path of the volume that files are staged in."""
    own = f"/Volumes/{parameters['catalog']}/{OWN_SCHEMA}/{OWN_VOLUME}"
    return str(parameters.get("staging_volume", own))


def _volume(text: str) -> str:
    """``/Volumes/catalog/schema/volume``, given so or with dots."""
    parts = text.split(".")
    path = f"/Volumes/{'/'.join(parts)}" if len(parts) == 3 and not text.startswith("/") else text.rstrip("/")
    if not _VOLUME.fullmatch(path):
        raise _refuse("staging_volume", "must be /Volumes/catalog/schema/volume, or catalog.schema.volume")
    return path


def _port(value: Any) -> int:
    """A port as number or text."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 65535:
        raise _refuse("port", "must be a whole number from 1 to 65535")
    return number


def _seconds(value: Any) -> float:
    """As number or text."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if isinstance(value, bool) or not 0 <= seconds <= LONGEST_BATCH:
        raise _refuse("batch_seconds", f"must be a number from 0 to {LONGEST_BATCH}")
    return seconds


def _check_text(field: str, value: Any) -> None:
    if not isinstance(value, str):
        raise _refuse(field, "must be text")
    if "\0" in value:
        raise _refuse(field, "must not hold a NUL")
    if value == "":
        raise _refuse(field, "must not be empty")


def _refuse(field: str, why: str, **details: Any) -> InvalidRequest:
    return InvalidRequest(f"parameters.{field}: {why}", field=f"parameters.{field}", **details)
