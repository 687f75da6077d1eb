"""The parameters of a BigQuery endpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from whimbrel.connectors.parameters import LOOPBACK, batch_seconds, key_file, known, refuse, text

REQUIRED = ("project", "dataset")
OPTIONAL = ("credentials_json", "location", "endpoint", "batch_seconds")
ALIASES = {"credentials": "credentials_json"}
SECRETS = frozenset({"credentials_json"})
OWN_SUFFIX: Final = "_whimbrel"
_PROJECT = re.compile(r"(?:[a-z0-9.-]{1,200}:)?[a-z0-9][a-z0-9-]{1,62}")
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1000}")
_LOCATION = re.compile(r"[A-Za-z0-9-]{1,64}")


def parse(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, look at the key. Raises InvalidRequest naming the field, and none of the secret."""
    if parameters.get("staging_bucket") is not None:
        raise refuse("staging_bucket", "is not needed: files travel with the load job itself; leave it out")
    parsed = known("bigquery", parameters, REQUIRED, OPTIONAL, ALIASES)
    if isinstance(parsed.get("credentials_json"), Mapping):
        parsed["credentials_json"] = json.dumps(parsed["credentials_json"])
    for field, value in parsed.items():
        parsed[field] = batch_seconds(value) if field == "batch_seconds" else text(field, value)
    if not _PROJECT.fullmatch(parsed["project"]):
        raise refuse("project", "must be the project's id, like 'my-project-123456', not its name or number")
    if not _DATASET.fullmatch(parsed["dataset"]):
        raise refuse("dataset", "must be of letters, digits and underscores, without the project")
    if "location" in parsed and not _LOCATION.fullmatch(parsed["location"]):
        raise refuse("location", "must be a location like 'EU' or 'europe-west3'")
    if "credentials_json" in parsed:
        key_file("credentials_json", parsed["credentials_json"])
    if "endpoint" in parsed:
        _endpoint(parsed["endpoint"])
    return parsed


def _endpoint(given: str) -> None:
    """http would send the token in clear."""
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise refuse("endpoint", "must be an address like 'https://bigquery.example.com'")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise refuse("endpoint", "http sends the token in clear, and is for a host on this machine only")


def own_dataset(parameters: Mapping[str, Any]) -> str:
    """The dataset that keeps our progress and staged rows, beside the one that rows go to and where it is."""
    return f"{parameters.get('dataset', '')}{OWN_SUFFIX}"
