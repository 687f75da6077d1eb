"""The parameters of a Databricks endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from whimbrel.connectors.parameters import LOOPBACK, batch_seconds, known, one_of, port, refuse, text

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
_HOST = re.compile(r"[A-Za-z0-9.-]{1,255}")
_PATH = re.compile(r"/?[A-Za-z0-9._/-]{1,512}")
_VOLUME = re.compile(r"/Volumes/([^/'\\\x00]+)/([^/'\\\x00]+)/([^/'\\\x00]+)/?")
_SECRET = re.compile(r"[!-~]+")  # what a header can carry: one that does not would be told with the driver's error
_READ = {"port": port, "batch_seconds": batch_seconds}


def parse(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, read the port. Raises InvalidRequest naming the field."""
    parsed = known("databricks", parameters, REQUIRED, OPTIONAL, ALIASES)
    for field, value in parsed.items():
        parsed[field] = _READ[field](value) if field in _READ else text(field, value)
    _check(parsed)
    if "staging_volume" in parsed:
        parsed["staging_volume"] = _volume(parsed["staging_volume"])
    return parsed


def _check(parsed: Mapping[str, Any]) -> None:
    if not _HOST.fullmatch(parsed["server_hostname"]):
        raise refuse("server_hostname", "must be a host like 'dbc-0a1b2c3d.cloud.databricks.com', not a URL")
    if not _PATH.fullmatch(parsed["http_path"]):
        raise refuse("http_path", "must be a path like '/sql/1.0/warehouses/0123456789abcdef'")
    for field in ("access_token", "client_id", "client_secret"):
        if field in parsed and not _SECRET.fullmatch(parsed[field]):
            raise refuse(field, "must be of letters, digits and signs of ASCII, without blanks or ends of lines")
    by_client = "client_id" in parsed or "client_secret" in parsed
    if by_client and not ("client_id" in parsed and "client_secret" in parsed):
        raise refuse("client_secret" if "client_id" in parsed else "client_id", "is required beside the other one")
    if ("access_token" in parsed) == by_client:
        raise refuse("access_token", "either an access_token or client_id and client_secret are required, and not both")
    one_of("scheme", parsed.get("scheme", "https"), SCHEMES)
    if parsed.get("scheme") == "http" and parsed["server_hostname"] not in LOOPBACK:
        raise refuse("scheme", "http sends the token in clear, and is for a host on this machine only")


def volume(parameters: Mapping[str, Any]) -> str:
    """The path of the volume that files are staged in."""
    own = f"/Volumes/{parameters['catalog']}/{OWN_SCHEMA}/{OWN_VOLUME}"
    return str(parameters.get("staging_volume", own))


def _volume(given: str) -> str:
    """``/Volumes/catalog/schema/volume``, given so or with dots."""
    parts = given.split(".")
    path = f"/Volumes/{'/'.join(parts)}" if len(parts) == 3 and not given.startswith("/") else given.rstrip("/")
    if not _VOLUME.fullmatch(path):
        raise refuse("staging_volume", "must be /Volumes/catalog/schema/volume, or catalog.schema.volume")
    return path
