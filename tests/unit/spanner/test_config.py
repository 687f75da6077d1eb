"""The parameters of a Spanner endpoint."""

from __future__ import annotations

import json
from typing import Any

import pytest

from whimbrel.connectors.spanner import ENGINE
from whimbrel.errors import InvalidRequest

PLAIN = {"project": "my-project-1", "instance": "my-instance", "database": "shop"}
KEY = {"type": "service_account", "private_key": "a secret", "client_email": "mover@x"}


def test_aliases_and_keys_are_read() -> None:
    found = ENGINE.parse(
        "spanner",
        {"project": "p-1", "instance_id": "ii", "database_id": "db", "credentials": KEY, "batch_seconds": "2"},
    )
    assert (found["instance"], found["database"], found["batch_seconds"]) == ("ii", "db", 2.0)
    assert json.loads(found["credentials_json"]) == KEY
    assert ENGINE.secret_parameters == {"credentials_json"}
    assert ENGINE.parse("spanner", {**PLAIN, "endpoint": "https://x.example"})["endpoint"] == "x.example:443"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"project": "My Project"}, "project"),
        ({"instance": "I"}, "instance"),
        ({"database": "no good"}, "database"),
        ({"schema": "a-b"}, "schema"),
        ({"credentials_json": "no json, a secret"}, "credentials_json"),
        ({"credentials_json": {"type": "external_account"}}, "credentials_json"),
        ({"credentials_json": {"type": "service_account", "token_uri": "http://t.example"}}, "credentials_json"),
        ({"endpoint": "x y"}, "endpoint"),
        ({"emulator_host": "localhost"}, "emulator_host"),
        ({"emulator_host": "localhost:99999"}, "emulator_host"),
        ({"emulator_host": "localhost:9010", "credentials_json": KEY}, "emulator_host"),
        ({"batch_seconds": "soon"}, "batch_seconds"),
        ({"password": "a secret"}, "password"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest, match=rf"parameters\.{field}") as refused:
        ENGINE.parse("spanner", {**PLAIN, **changed})
    assert "a secret" not in str(refused.value.to_json())
