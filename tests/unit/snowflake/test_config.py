"""The parameters of a Snowflake endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from whimbrel.connectors.snowflake.config import parse
from whimbrel.errors import InvalidRequest

GIVEN = {"account": "org-acc", "user": "u", "password": "p", "database": "D", "warehouse": "W"}


def test_aliases_ports_and_the_pace() -> None:
    given = {**GIVEN, "port": "8443", "batch_seconds": "0.5"}
    given["username"] = given.pop("user")
    parsed = parse(given)
    assert (parsed["user"], parsed["port"], parsed["batch_seconds"]) == ("u", 8443, 0.5)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"account": None}, "account"),
        ({"account": "https://org-acc.example"}, "account"),
        ({"warehouse": ""}, "warehouse"),
        ({"password": None}, "password"),
        ({"private_key": "pem"}, "password"),
        ({"private_key_passphrase": "x"}, "private_key_passphrase"),
        ({"port": 0}, "port"),
        ({"port": True}, "port"),
        ({"batch_seconds": -1}, "batch_seconds"),
        ({"batch_seconds": 3601}, "batch_seconds"),
        ({"batch_seconds": "nan"}, "batch_seconds"),
        ({"protocol": "ftp"}, "protocol"),
        ({"protocol": "http", "host": "lake.example.net"}, "protocol"),
        ({"username": "twice"}, "username"),
        ({"role": "a\0b"}, "role"),
        ({"stage": "x"}, "stage"),
    ],
)
def test_what_cannot_be_right_names_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse({**GIVEN, **change})
    assert refused.value.extra["field"] == f"parameters.{field}"
