"""The parameters of a Spanner endpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from whimbrel.connectors.parameters import batch_seconds, key_file, known, refuse, text

REQUIRED = ("project", "instance", "database")
OPTIONAL = ("credentials_json", "endpoint", "emulator_host", "schema", "batch_seconds")
ALIASES = {"credentials": "credentials_json", "instance_id": "instance", "database_id": "database"}
SECRETS = frozenset({"credentials_json"})
DEFAULT_SCHEMA: Final = "default"  # as we call the one without a name; Spanner takes it for no name of a schema
HOST: Final = "spanner.googleapis.com:443"
_PROJECT = re.compile(r"(?:[a-z0-9.-]{1,200}:)?[a-z0-9][a-z0-9-]{1,62}")
_INSTANCE = re.compile(r"[a-z][a-z0-9-]{0,62}[a-z0-9]")
_DATABASE = re.compile(r"[a-z][a-z0-9_-]{0,28}[a-z0-9]")
_SCHEMA = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,127}")
_PLACE = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}")


def parse(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, look at the key. Raises InvalidRequest naming the field, and none of the secret."""
    parsed = known("spanner", parameters, REQUIRED, OPTIONAL, ALIASES)
    if isinstance(parsed.get("credentials_json"), Mapping):
        parsed["credentials_json"] = json.dumps(parsed["credentials_json"])
    for field, value in parsed.items():
        parsed[field] = batch_seconds(value) if field == "batch_seconds" else text(field, value)
    if not _PROJECT.fullmatch(parsed["project"]):
        raise refuse("project", "must be the project's id, like 'my-project-123456', not its name or number")
    if not _INSTANCE.fullmatch(parsed["instance"]):
        raise refuse("instance", "must be the instance's id: small letters, digits and dashes")
    if not _DATABASE.fullmatch(parsed["database"]):
        raise refuse("database", "must be the database's id: 2 to 30 small letters, digits, dashes and underscores")
    if "schema" in parsed and not _SCHEMA.fullmatch(parsed["schema"]):
        raise refuse("schema", "must be a named schema's name, or 'default' for the one without a name")
    if "credentials_json" in parsed:
        key_file("credentials_json", parsed["credentials_json"])
    for field in ("endpoint", "emulator_host"):
        if field in parsed:
            parsed[field] = _place(field, parsed[field])
    if "emulator_host" in parsed and ("endpoint" in parsed or "credentials_json" in parsed):
        raise refuse("emulator_host", "is told no key, so leave out 'credentials_json' and 'endpoint' beside it")
    return parsed


def _place(field: str, given: str) -> str:
    place = given.removeprefix("https://").rstrip("/") if field == "endpoint" else given
    if field == "endpoint" and ":" not in place:
        place = f"{place}:443"
    if not _PLACE.fullmatch(place) or int(place.rpartition(":")[2]) > 65535:
        raise refuse(field, "must be a host and a port, like 'localhost:9010'")
    return place


def database_path(parameters: Mapping[str, Any]) -> str:
    """The database as Google's API names it."""
    return "projects/{project}/instances/{instance}/databases/{database}".format_map(parameters)
