"""Parameters of endpoints: from files, pairs and the environment, never a secret from argv."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from whimbrel.catalog.secrets import is_secret
from whimbrel.cli.parameters import SECRETS, definition
from whimbrel.errors import InvalidRequest


def test_pairs_and_secrets_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PW", "p=w")
    monkeypatch.setenv("PK", "pem")
    body = definition("postgres", None, ["host=db", "port=5432", "options=a=b"], ["private_key=PK"], "PW", False)
    parameters = {"host": "db", "port": "5432", "options": "a=b", "private_key": "pem", "password": "p=w"}
    assert body == {"type": "postgres", "parameters": parameters}


def test_a_password_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(" spaced \nrest"))
    assert definition("mysql", None, [], [], None, True)["parameters"] == {"password": " spaced "}


@pytest.mark.parametrize("content", [{"type": "mysql", "parameters": {"host": "a"}}, {"type": "mysql", "host": "a"}])
def test_a_file_with_or_without_the_outer_shape(tmp_path: Path, content: dict[str, object]) -> None:
    file = tmp_path / "source.json"
    file.write_text(json.dumps(content))
    assert definition(None, file, ["host=b"], [], None, False) == {"type": "mysql", "parameters": {"host": "b"}}


@pytest.mark.parametrize("secret", sorted(SECRETS))
def test_a_secret_in_the_command_line_is_refused(secret: str) -> None:
    with pytest.raises(InvalidRequest, match="everybody on this machine") as raised:
        definition("postgres", None, [f"{secret}=abc"], [], None, False)
    assert "abc" not in str(raised.value.to_json())


def test_our_list_of_secrets_is_the_catalogs() -> None:
    assert all(is_secret(name) for name in SECRETS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, None, [], [], None, False), "type"),
        (("mysql", None, ["host"], [], None, False), "key=value"),
        (("mysql", None, [], [], "NOT_SET_ANYWHERE", False), "NOT_SET_ANYWHERE"),
        (("mysql", Path("/nowhere.json"), [], [], None, False), "--file"),
    ],
)
def test_what_is_wrong_is_named(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        definition(*arguments)  # type: ignore[arg-type]  # a row of the table above
