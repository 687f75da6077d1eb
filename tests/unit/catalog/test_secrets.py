from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.catalog.conftest import MARKER
from whimbrel.catalog.home import secret_key_file
from whimbrel.catalog.records import EndpointRecord
from whimbrel.catalog.secrets import is_secret, masked, redact
from whimbrel.catalog.store import Catalog
from whimbrel.catalog.vault import Vault, open_vault
from whimbrel.errors import SecretsUnreadable

CONTRACT = (
    *("password", "private_key", "credentials_json", "client_secret", "access_token", "sasl_password"),
    "wallet_password",
)


@pytest.mark.parametrize("name", CONTRACT)
def test_every_secret_of_the_contract_is_one(name: str) -> None:
    assert is_secret(name)
    assert masked({name: "x", "host": "h"}) == {name: "***", "host": "h"}


@pytest.mark.parametrize(
    "name", ["host", "port", "user", "database", "brokers", "topic", "sslmode", "account", "http_path"]
)
def test_other_parameters_are_shown(name: str) -> None:
    assert not is_secret(name)


def test_messages_lose_their_secrets() -> None:
    parameters = {"password": "geheim", "access_token": "geheim-lang", "host": "example"}
    assert redact("no geheim-lang, no geheim on example", parameters) == "no ***, no *** on example"


def test_no_secret_stands_in_any_file(shop: Catalog, tmp_path: Path) -> None:
    kept = shop.get_source("old").parameters
    shop.put_source(EndpointRecord("old", "postgres", {**kept, "password": "***", "database": "other"}))
    assert shop.get_source("old").parameters["password"] == MARKER
    shop.close()
    files = [f for f in tmp_path.rglob("*") if f.is_file()]
    assert files
    for file in files:
        assert MARKER.encode() not in file.read_bytes(), file
        assert file.stat().st_mode & 0o077 == 0, file


def test_no_secret_stands_in_a_dump_of_postgres(shop: Catalog, request: pytest.FixtureRequest) -> None:
    url = shop._database._engine.url
    if url.get_backend_name() != "postgresql":
        pytest.skip("SQLite is searched as a file")
    server = request.getfixturevalue("postgres18")
    dump = server.client("pg_dump", "-d", server.dsn(url.database))
    assert '"host": "a"' in dump
    assert MARKER not in dump


def test_records_do_not_show_their_secrets(shop: Catalog) -> None:
    assert MARKER not in repr(shop.get_source("old"))


def test_a_key_from_the_environment(open_catalog: Callable[[], Catalog], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHIMBREL_SECRET_KEY", base64.b64encode(b"k" * 32).decode())
    catalog = open_catalog()
    catalog.put_source(EndpointRecord("s", "mysql", {"password": MARKER}))
    assert not secret_key_file(catalog.home).exists()
    monkeypatch.setenv("WHIMBREL_SECRET_KEY", base64.b64encode(b"o" * 32).decode())
    with pytest.raises(SecretsUnreadable, match="another key"):
        open_catalog().get_source("s")


@pytest.mark.parametrize("text", ["short", base64.b64encode(b"x" * 31).decode(), "***"])
def test_what_is_no_key(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHIMBREL_SECRET_KEY", text)
    with pytest.raises(SecretsUnreadable) as refused:
        open_vault(tmp_path / "key")
    assert text not in str(refused.value)


def test_a_sealed_text_opens_for_its_owner_only() -> None:
    vault = Vault(lambda: [b"k" * 32])
    sealed = vault.seal({"password": "x"}, "source/a", vault.newest)
    assert vault.open(sealed, "source/a") == {"password": "x"}
    for text, owner in ((sealed, "source/b"), (sealed[:-8] + "AAAAAAA=", "source/a"), ("v1:x", "source/a")):
        with pytest.raises(SecretsUnreadable):
            vault.open(text, owner)
