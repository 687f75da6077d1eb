from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from api import logins
from api.auth import KeyFile, create_key, digest, list_keys, revoke_key
from tests.api.conftest import Client
from whimbrel.catalog.home import api_keys_file
from whimbrel.catalog.store import Catalog
from whimbrel.errors import InvalidRequest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "api_keys.json"


def test_a_token_is_not_kept_in_clear(file: Path) -> None:
    token = create_key("default", file)
    text = file.read_text()
    assert token not in text
    assert digest(token) in json.loads(text)["keys"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert [k["name"] for k in list_keys(file)] == ["default"]


def test_the_file_is_read_again_when_it_changes(file: Path) -> None:
    keys = KeyFile(file)
    assert not keys.accepts("anything")
    first = create_key("first", file)
    assert keys.accepts(first)
    second = create_key("second", file)
    assert keys.accepts(first)
    assert keys.accepts(second)
    revoke_key("first", file)
    assert not keys.accepts(first)
    assert keys.accepts(second)


def test_a_token_in_clear_is_accepted_too(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps({"keys": {"k_a1b2c3": {"name": "by hand", "created_at": "2026-04-24T00:00:00Z"}}}))
    keys = KeyFile(file)
    assert keys.accepts("k_a1b2c3")
    assert not keys.accepts("k_a1b2c")
    assert not keys.accepts("k_a1b2c34")


@pytest.mark.parametrize("kept", ["", digest("")])
def test_an_empty_token_lets_nobody_in(file: Path, kept: str) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps({"keys": {kept: {"name": "by hand"}, "k_1": {"name": "another"}}}))
    keys = KeyFile(file)
    assert not keys.accepts("")
    assert keys.accepts("k_1")


def test_a_digest_written_by_hand_may_have_capitals(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps({"keys": {"sha256:" + digest("k_1")[7:].upper(): {"name": "by hand"}}}))
    assert KeyFile(file).accepts("k_1")


def test_the_digest_itself_is_no_token(file: Path) -> None:
    token = create_key("default", file)
    assert not KeyFile(file).accepts(digest(token))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"keys": []}', '{"keys": {"a": 1}}', "{}"])
def test_a_broken_file_lets_nobody_in(file: Path, text: str) -> None:
    token = create_key("default", file)
    keys = KeyFile(file)
    assert keys.accepts(token)
    file.write_text(text)
    assert not keys.accepts(token)


def test_a_file_that_others_can_read_is_told_of(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    token = create_key("default", file)
    os.chmod(file, 0o644)
    assert KeyFile(file).accepts(token)
    assert "chmod 600" in caplog.text


def test_names_of_keys_are_unique(file: Path) -> None:
    create_key("a", file)
    with pytest.raises(InvalidRequest):
        create_key("a", file)
    with pytest.raises(InvalidRequest):
        revoke_key("b", file)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic {key}", "{key}", "Bearer {key}x"]
)
async def test_what_does_not_let_in(anonymous: Client, key: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.format(key=key)}
    assert (await anonymous.refused("GET", "/v1/sources", headers=headers))[:2] == (401, "AUTH_FAILED")
    assert (await anonymous.http.get("/v1/sources", headers=headers)).headers["WWW-Authenticate"] == "Bearer"


async def test_a_refused_request_is_not_read(anonymous: Client) -> None:
    """Without a key a broken body is AUTH_FAILED, not INVALID_REQUEST, and paths do not tell whether they exist."""
    assert (await anonymous.refused("PUT", "/v1/sources/a", content=b"{"))[1] == "AUTH_FAILED"
    assert (await anonymous.refused("GET", "/v1/nothing"))[1] == "AUTH_FAILED"


async def test_failed_logins_are_logged_without_the_token(anonymous: Client, caplog: pytest.LogCaptureFixture) -> None:
    await anonymous.refused("GET", "/v1/sources", headers={"Authorization": "Bearer guessed-token"})
    assert "refused GET '/v1/sources'" in caplog.text
    assert "guessed-token" not in caplog.text


async def test_a_revoked_key_stops_working(client: Client, catalog: Catalog) -> None:
    await client.ok("GET", "/v1/sources")
    revoke_key("tests", api_keys_file(catalog.home))
    assert (await client.refused("GET", "/v1/sources"))[1] == "AUTH_FAILED"


async def test_nobody_without_a_key_writes_lines_into_the_log(
    anonymous: Client, caplog: pytest.LogCaptureFixture
) -> None:
    await anonymous.refused("GET", "/v1/x%0a2026-11-23%20INFO%20all%20is%20well" + "x" * 1000)
    assert all("\n" not in r.getMessage() and len(r.getMessage()) < 400 for r in caplog.records)


def test_each_further_refusal_from_one_address_waits_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    failed = logins.FailedLogins()
    assert [failed.failed("a") for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    assert failed.failed("b") == 0.2
    failed.succeeded("a")
    assert failed.failed("a") == 0.2
    assert failed.failed("a") == 0.4
    now += logins.FORGOTTEN_SECONDS
    assert failed.failed("a") == 0.2


def test_addresses_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "ADDRESSES", 3)
    failed = logins.FailedLogins()
    for address in ("a", "b", "c", "a", "d"):
        failed.failed(address)
    assert list(failed._failures) == ["c", "a", "d"]


async def test_a_refusal_that_waits_holds_nobody_up(
    client: Client, anonymous: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many guesses wait, from the address of the client too; its own requests do not."""
    monkeypatch.setattr(logins, "FIRST_SECONDS", 3.0)
    guesses = [asyncio.create_task(anonymous.refused("GET", "/v1/sources")) for _ in range(20)]
    await asyncio.sleep(0.05)
    async with asyncio.timeout(2):
        await client.ok("GET", "/v1/sources")
    assert not any(guess.done() for guess in guesses)
    for guess in guesses:
        guess.cancel()
    await asyncio.gather(*guesses, return_exceptions=True)
