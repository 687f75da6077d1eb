"""Control characters: refused in parameters, and escapes wherever a text of somebody else's is shown."""

from __future__ import annotations

import pytest

from tests.api.conftest import POSTGRES, Client
from whimbrel.cli.show import escape
from whimbrel.errors import HostUnreachable, InvalidRequest, from_json, printable

EVIL = "h\n2026-11-27 INFO all is well\x1b[2J\x9b31m"


@pytest.mark.parametrize(
    ("type", "change"),
    [
        ("postgres", {"host": EVIL}),
        ("postgres", {"user": "u\r"}),
        ("postgres", {"sslrootcert": "/x\x7f"}),
        ("postgres", {EVIL: "x"}),
        ("mysql", {"host": EVIL}),
        ("mysql", {"database": "d\u2028"}),
        ("kafka", {"brokers": ["b:9092", EVIL], "topic": "t"}),
    ],
)
async def test_parameters_hold_none(client: Client, type: str, change: dict[str, object]) -> None:
    base = {} if type == "kafka" else {k: v for k, v in POSTGRES.items() if k != "database" or type == "postgres"}
    for method, path in (("PUT", "/v1/targets/a"), ("POST", "/v1/validate")):
        body: dict[str, object] = {"type": type, "parameters": {**base, **change}}
        if method == "POST":
            body = {"source": {"type": "postgres", "parameters": POSTGRES}, "target": body, "mode": "data"}
        status, code, error = await client.refused(method, path, body)
        assert (status, code) == (400, "INVALID_REQUEST")
        assert "control character" in error["message"]
        assert error["message"] == printable(error["message"])


async def test_a_secret_may_hold_any(client: Client) -> None:
    await client.ok("PUT", "/v1/sources/a", {"type": "postgres", "parameters": {**POSTGRES, "password": "a\tb\x1b"}})


async def test_paths_stand_escaped_in_answers(client: Client) -> None:
    _, _, error = await client.refused("GET", "/v1/nothing%1b[2J")
    assert error["message"].endswith(r"/v1/nothing\x1b[2J")


def test_messages_are_escaped() -> None:
    refused, reached = InvalidRequest(EVIL), HostUnreachable(EVIL)
    assert refused.message == r"h\n2026-11-27 INFO all is well\x1b[2J\x9b31m"
    assert reached.message == "h\n2026-11-27 INFO all is well\\x1b[2J\\x9b31m"  # lines of a server's own stay
    assert from_json(reached.to_json()).message == reached.message
    assert printable("ünïcödé 漢字 🐦\u200d") == "ünïcödé 漢字 🐦\u200d"


def test_a_terminal_is_shown_none() -> None:
    assert escape("[red]\x1b]0;title\x07") == r"\[red]\x1b]0;title\x07"
