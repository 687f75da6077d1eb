"""The parameters of a Firebolt endpoint: of Core, or of an engine of an account."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from whimbrel.connectors.parameters import LOOPBACK, batch_seconds, known, one_of, refuse, text

ACCOUNT = ("account_name", "engine", "client_id", "client_secret")
OPTIONAL = (
    *("url", "api_endpoint", "schema", "schemas", "batch_seconds"),
    *("staging", "staging_location", "stage_credentials"),
)
ALIASES = {"account": "account_name", "engine_name": "engine"}
SECRETS = frozenset({"client_secret", "stage_credentials"})
SCHEMAS = ("public", "any")
CREDENTIALS = ("access_key_id", "secret_access_key", "session_token", "region", "endpoint")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_PLAIN = re.compile(r"[!-~]+")


def parse(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases. Raises InvalidRequest naming the field."""
    parsed = known("firebolt", parameters, ("database",), (*ACCOUNT, *OPTIONAL), ALIASES)
    for field, value in parsed.items():
        parsed[field] = batch_seconds(value) if field == "batch_seconds" else text(field, value)
    if "url" in parsed:
        parsed["url"] = _core(parsed)
    else:
        _check_account(parsed)
    one_of("schemas", parsed.get("schemas", SCHEMAS[0]), SCHEMAS)
    _check_staging(parsed)
    return parsed


def is_core(parameters: Mapping[str, Any]) -> bool:
    return "url" in parameters


def _core(parsed: Mapping[str, Any]) -> str:
    for field in (*ACCOUNT, "api_endpoint"):
        if field in parsed:
            raise refuse(field, "is not a parameter of Firebolt Core, which 'url' is for")
    split = _split("url", parsed["url"])
    if split.scheme not in ("http", "https") or not split.hostname or split.path.strip("/") or split.query:
        raise refuse("url", "must be an address like 'http://core.example.net:3473'")
    if "@" in split.netloc:
        raise refuse("url", "must hold no user and no password")
    return f"{split.scheme}://{split.netloc}"


def _check_account(parsed: Mapping[str, Any]) -> None:
    for field in ACCOUNT:
        if field not in parsed:
            raise refuse(field, "is required, or 'url' for Firebolt Core")
    for field in ("account_name", "engine"):
        if not _NAME.fullmatch(parsed[field]):
            raise refuse(field, "must be of letters, digits, - and _")
    if '"' in parsed["database"]:
        raise refuse("database", "must hold no quote")
    for field in ("client_id", "client_secret"):
        if not _PLAIN.fullmatch(parsed[field]):
            raise refuse(field, "must be of printable ASCII characters")
    endpoint = parsed.get("api_endpoint")
    if endpoint is not None:
        split = _split("api_endpoint", endpoint if "://" in endpoint else f"https://{endpoint}")
        if split.scheme not in ("http", "https") or not split.hostname or "@" in split.netloc or split.query:
            raise refuse("api_endpoint", "must be a host like 'api.app.firebolt.io'")
        if split.scheme == "http" and split.hostname not in LOOPBACK:
            raise refuse("api_endpoint", "http sends the secret in clear, and is for a host on this machine only")


def _check_staging(parsed: Mapping[str, Any]) -> None:
    if ("staging" in parsed) != ("staging_location" in parsed):
        missing = "staging_location" if "staging" in parsed else "staging"
        raise refuse(missing, "is required too: files are put into 'staging', and Firebolt reads 'staging_location'")
    if "staging" in parsed:
        split = _split("staging", parsed["staging"])
        if split.scheme != "s3" or not split.netloc or split.query or "@" in split.netloc:
            raise refuse("staging", "must be a bucket and a folder like 's3://bucket/folder'")
    if "stage_credentials" in parsed:
        if "staging" not in parsed:
            raise refuse("stage_credentials", "needs 'staging'")
        stage_credentials(parsed)


def stage_credentials(parameters: Mapping[str, Any]) -> dict[str, str]:
    """What opens the bucket; nothing where this machine's own identity does. Raises InvalidRequest."""
    given = parameters.get("stage_credentials")
    if given is None:
        return {}
    try:
        found = json.loads(given)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise refuse("stage_credentials", "must be a JSON object of texts")
    unknown = sorted(set(found) - set(CREDENTIALS))
    if unknown or ("access_key_id" in found) != ("secret_access_key" in found):
        raise refuse("stage_credentials", f"must have access_key_id and secret_access_key, of {', '.join(CREDENTIALS)}")
    return found


def _split(field: str, address: str) -> Any:
    try:
        split = urlsplit(address)
        _ = split.port
    except ValueError:
        raise refuse(field, "is not an address") from None
    return split
