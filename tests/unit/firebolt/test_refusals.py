"""What the vendor's errors mean to us, and that no value gets into a message."""

from __future__ import annotations

import httpx
import pytest

from whimbrel.connectors.firebolt.refusals import is_conflict, is_throttled, login_refusal, server_refusal
from whimbrel.errors import (
    AuthenticationFailed,
    ConnectionRefused,
    DatabaseMissing,
    HostUnreachable,
    LoaderFailed,
    SchemaFailed,
    TableMissing,
    TargetFull,
    TargetInterrupted,
    TargetPermissionDenied,
    ValueRefused,
    WhimbrelError,
)

errors = pytest.importorskip("firebolt.utils.exception")
WHERE = {"account_name": "acme", "engine": "loads", "database": "shop"}
CONFLICT = (
    "Failed to commit transaction, error: 'detected 2 conflicts with 1 transactions on transaction commit', code: 9"
)


def structured(text: str) -> Exception:
    made: Exception = errors.FireboltStructuredError({"errors": [{"description": text, "name": "E"}]})
    return made


def http(status: int, **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "https://engine.example.net/?database=shop&query_label=hidden")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status, headers=headers))


def because(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("text", "leaf", "retryable"),
    [
        (CONFLICT, TargetInterrupted, True),
        ("Transaction 0a does not exist, or has ended", TargetInterrupted, True),
        ("cannot COMMIT transaction: no transaction is in progress", TargetInterrupted, True),
        ("Object t does not exist or not authorized.", TableMissing, False),
        ("Database 'shop' does not exist or not authorized.", DatabaseMissing, False),
        ("Engine 'loads' is not running", TargetInterrupted, True),
        ("Location 'moves' does not exist", LoaderFailed, False),
        ("multipart/form-data requests are not supported", LoaderFailed, False),
        ("User lacks privilege INSERT on t", TargetPermissionDenied, False),
        ("No space left on device", TargetFull, True),
        ("Query was canceled", TargetInterrupted, True),
        ("syntax error at or near X", SchemaFailed, False),
        ("MERGE command cannot affect row a second time", ValueRefused, False),
        ("something that nobody knows", LoaderFailed, False),
    ],
)
def test_words(text: str, leaf: type[WhimbrelError], retryable: bool) -> None:
    found = server_refusal(structured(text))
    assert (type(found), found.retryable, is_conflict(found)) == (leaf, retryable, text == CONFLICT)
    assert found.how_to_fix


@pytest.mark.parametrize(
    "text",
    [
        "Unable to cast text 'a secret' to integer",
        "numeric value out of range: a secret",
        "null mismatch: a secret",
        "invalid byte sequence for encoding UTF8: a secret",
        "something that nobody knows of 'a secret'",
        "Unable to cast TEXT 'a secret engine is starting now' to integer",
    ],
)
def test_values_never_enter_a_message(text: str) -> None:
    found = server_refusal(structured(text))
    assert type(found) is (LoaderFailed if "nobody" in text else ValueRefused)
    assert "secret" not in str(found.to_json())


@pytest.mark.parametrize(
    ("error", "leaf"),
    [
        (http(401), AuthenticationFailed),
        (http(403), TargetPermissionDenied),
        (http(413), LoaderFailed),
        (http(429), TargetInterrupted),
        (http(500), TargetInterrupted),
        (http(503), TargetInterrupted),
        (httpx.ReadError("gone"), TargetInterrupted),
        (errors.QueryTimeoutError(), TargetInterrupted),
        (errors.OperationalError("Error executing query: oops"), TargetInterrupted),
        (errors.OperationalError("Failed to read response stream."), TargetInterrupted),
        (errors.DataError("Invalid query data format"), TargetInterrupted),
    ],
)
def test_statuses_and_links(error: Exception, leaf: type[WhimbrelError]) -> None:
    found = server_refusal(error)
    assert type(found) is leaf
    assert "hidden" not in str(found.to_json())


@pytest.mark.parametrize(
    ("error", "leaf"),
    [
        (errors.AuthorizationError(), AuthenticationFailed),
        (errors.AccountNotFoundOrNoAccessError("acme"), ConnectionRefused),
        (structured("Engine 'loads' does not exist or is not authorized."), ConnectionRefused),
        (structured("Database 'shop' does not exist or is not authorized."), DatabaseMissing),
        (http(503), HostUnreachable),
        (http(429), HostUnreachable),
        (because(errors.AuthenticationError("HTTPStatusError"), http(503)), HostUnreachable),
        (because(errors.AuthenticationError("HTTPStatusError"), http(403)), AuthenticationFailed),
        (structured("Account system engine resources usage limit exceeded"), HostUnreachable),
        (structured("what nobody knows"), HostUnreachable),
        (httpx.ConnectError("no route"), HostUnreachable),
    ],
)
def test_logins(error: Exception, leaf: type[WhimbrelError]) -> None:
    assert type(login_refusal(error, WHERE)) is leaf


def test_only_what_was_turned_away_unread_is_sent_again() -> None:
    assert is_throttled(http(429, **{"Retry-After": "3"})) == 3.0
    assert is_throttled(http(429)) == 0.0
    assert is_throttled(http(503)) is None
    assert is_throttled(httpx.ReadError("gone")) is None
