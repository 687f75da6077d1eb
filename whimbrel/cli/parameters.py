"""Parameters of a source or target from the command line, with secrets kept out of argv (and so of ``ps``)."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from whimbrel.cli.shapes import EndpointBody
from whimbrel.errors import InvalidRequest

SECRETS = frozenset(
    ("password", "private_key", "credentials_json", "client_secret", "access_token", "sasl_password", "wallet_password")
)


def definition(
    type: str | None,
    file: Path | None,
    plain: list[str],
    secret_env: list[str],
    password_env: str | None,
    password_stdin: bool,
) -> EndpointBody:
    """``{"type", "parameters"}`` from a file, ``key=value`` pairs and places where secrets stand, the later winning."""
    found = _read(file) if file else {}
    body = found if "parameters" in found else {"type": found.pop("type", None), "parameters": found}
    parameters: dict[str, Any] = dict(body["parameters"])
    for pair in plain:
        key, value = split(pair, "--param")
        if key in SECRETS:
            raise InvalidRequest(
                f"--param {key}: a secret in the command line could be read by everybody on this machine",
                remedy=f"Use --password-env, --password-stdin, --secret-env {key}=VARIABLE or --file.",
            )
        parameters[key] = value
    for pair in secret_env:
        key, variable = split(pair, "--secret-env")
        parameters[key] = environment(variable)
    if password_env:
        parameters["password"] = environment(password_env)
    if password_stdin:
        parameters["password"] = sys.stdin.readline().rstrip("\r\n")
    if not (type or body.get("type")):
        raise InvalidRequest("type: give --type, or a file that has one", field="type")
    return {"type": type or body["type"], "parameters": parameters}


def split(pair: str, option: str) -> tuple[str, str]:
    """``key=value``. Raises InvalidRequest naming the option."""
    key, equals, value = pair.partition("=")
    if not (key and equals):
        raise InvalidRequest(f"{option}: {pair!r} is not of the form key=value")
    return key, value


def environment(variable: str) -> str:
    """A variable's value. Raises InvalidRequest when it is not set."""
    try:
        return os.environ[variable]
    except KeyError as e:
        raise InvalidRequest(f"the environment variable {variable} is not set") from e


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text())
    except OSError as e:
        raise InvalidRequest(f"--file: {file} cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise InvalidRequest(f"--file: {file} is not JSON: {e}") from e
    if not isinstance(content, dict):
        raise InvalidRequest(f"--file: {file} is not a JSON object")
    return content
