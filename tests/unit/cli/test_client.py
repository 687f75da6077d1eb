"""The envelope turned back into results, errors and exit codes."""

from __future__ import annotations

import ssl

import httpx
import pytest

from tests.servers.process import free_port
from whimbrel.cli import session, show
from whimbrel.cli.client import ApiClient, path, unwrap
from whimbrel.errors import (
    AuthFailed,
    HostUnreachable,
    InternalError,
    InvalidRequest,
    OperationConflict,
    OperationNotFound,
    ValueRefused,
    WhimbrelError,
)


def answer(status: int, body: object) -> httpx.Response:
    return httpx.Response(status, json=body, request=httpx.Request("GET", "https://api/v1/x"))


def test_a_result_is_handed_on() -> None:
    assert unwrap(answer(200, {"success": True, "result": {"a": 1}, "error": None})) == {"a": 1}


def test_an_error_becomes_its_own_class_again() -> None:
    error = ValueRefused("public.a.c holds a NUL byte", table="public.a").to_json()
    with pytest.raises(ValueRefused, match="NUL byte") as raised:
        unwrap(answer(500, {"success": False, "result": None, "error": error}))
    assert raised.value.extra == {"table": "public.a"}


def test_a_code_that_we_do_not_know_is_shown_all_the_same() -> None:
    error = {"code": "OF_TOMORROW", "message": "m", "details": {"reason": "of_tomorrow", "remedy": "r"}}
    with pytest.raises(WhimbrelError) as raised:
        unwrap(answer(500, {"success": False, "result": None, "error": error}))
    assert (raised.value.code, raised.value.how_to_fix) == ("OF_TOMORROW", "r")


@pytest.mark.parametrize("body", [[], {"hello": "world"}, "text"])
def test_what_is_no_envelope_is_no_whimbrel(body: object) -> None:
    with pytest.raises(InternalError, match="no Whimbrel API"):
        unwrap(answer(502, body))


def test_names_are_quoted_in_paths() -> None:
    assert path("sources", "a/b c") == "/v1/sources/a%2Fb%20c"


def test_an_api_that_is_not_there_has_a_remedy() -> None:
    url = f"https://127.0.0.1:{free_port()}"
    with ApiClient(url, "k", ssl.create_default_context()) as api, pytest.raises(HostUnreachable) as raised:
        api.get(path("sources"))
    assert url in raised.value.message
    assert show.exit_code(raised.value) == show.UNREACHABLE


@pytest.mark.parametrize("url", ["http://127.0.0.1:9443", "127.0.0.1:9443", "nonsense", "https://", "https://[::1"])
def test_the_key_is_sent_over_https_alone(url: str) -> None:
    with pytest.raises(InvalidRequest, match="URL"):
        ApiClient(url, "k", ssl.create_default_context())


def test_no_whimbrel_there_is_no_api_there() -> None:
    with pytest.raises(InternalError) as raised:
        unwrap(answer(200, "an index page"))
    assert show.exit_code(raised.value) == show.UNREACHABLE


def test_a_key_that_cannot_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHIMBREL_API_KEY", "k\u00e4se")
    with pytest.raises(AuthFailed, match="WHIMBREL_API_KEY"):
        session.api_key()


def test_the_remedy_of_a_refused_key_is_for_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    session.begin(session.Session())
    show.failure(AuthFailed("no bearer token, or one that is not known"))
    assert "WHIMBREL_API_KEY" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest("x"), show.REFUSED),
        (OperationNotFound("x"), show.REFUSED),
        (OperationConflict("x"), show.CONFLICT),
        (AuthFailed("x"), show.UNAUTHORISED),
        (ValueRefused("x"), show.FAILED),
        (HostUnreachable("a source that the API could not reach", host="db"), show.FAILED),
    ],
)
def test_exit_codes(error: WhimbrelError, code: int) -> None:
    assert show.exit_code(error) == code
