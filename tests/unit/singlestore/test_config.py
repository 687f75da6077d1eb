"""What an endpoint of SingleStore may be given."""

from __future__ import annotations

from typing import Any

import pytest

from whimbrel.connectors.registry import engine
from whimbrel.errors import InvalidRequest

GIVEN = {"host": "svc.example.org", "username": "mover", "password": "", "database": "shop"}


def parse(**more: Any) -> dict[str, Any]:
    return dict(engine("singlestore").parse("singlestore", {**GIVEN, **more}))


def test_the_line_is_verified_unless_told_otherwise() -> None:
    assert parse() == {
        "host": "svc.example.org", "user": "mover", "password": "", "port": 3306, "ssl_mode": "verify_identity",
        "database": "shop",
    }  # fmt: skip
    assert parse(ssl_mode="Verify-CA", port="3307", batch_seconds="2", table_type="ROWSTORE") == {
        **parse(), "ssl_mode": "verify_ca", "port": 3307, "batch_seconds": 2.0, "table_type": "rowstore",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"host": ""}, "host"),
        ({"user": "twice"}, "user"),
        ({"password": None}, "password"),
        ({"port": 0}, "port"),
        ({"ssl_mode": "maybe"}, "ssl_mode"),
        ({"table_type": "heap"}, "table_type"),
        ({"database": ""}, "database"),
        ({"database": None}, "database"),
        ({"ssl_ca": "a\0b"}, "ssl_ca"),
        ({"batch_seconds": -1}, "batch_seconds"),
        ({"allow_cleartext_password": True}, "allow_cleartext_password"),
    ],
)
def test_what_is_wrong_is_named(more: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse(**more)
    assert refused.value.extra["field"] == f"parameters.{field}"


def test_its_secret_is_the_password() -> None:
    assert engine("singlestore").secret_parameters == {"password"}
