"""Parameters of a BigQuery endpoint: checked by name, and the key is never told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from whimbrel.connectors.bigquery.config import own_dataset
from whimbrel.connectors.registry import engine
from whimbrel.errors import InvalidRequest

KEY = json.dumps({"type": "service_account", "private_key": "a secret"})
GOOD: dict[str, Any] = {"project": "my-project-123456", "dataset": "shop"}


def parsed(**more: Any) -> Any:
    return engine("bigquery").parse("bigquery", {**GOOD, **more})


def test_what_is_given_is_kept_and_read() -> None:
    assert parsed(credentials=KEY, batch_seconds="60", location=None) == {
        **GOOD,
        "credentials_json": KEY,
        "batch_seconds": 60.0,
    }
    assert json.loads(parsed(credentials_json=json.loads(KEY))["credentials_json"])["type"] == "service_account"
    assert parsed(project="example.com:old-project")["project"] == "example.com:old-project"
    assert own_dataset(parsed()) == "shop_whimbrel"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("project", "My Project"),
        ("dataset", "my-project.shop"),
        ("dataset", "a`b"),
        ("location", "EU; DROP"),
        ("credentials_json", "a secret that is no JSON"),
        ("credentials_json", '{"type": "external_account", "credential_source": {"executable": "a secret"}}'),
        ("credentials_json", '["a secret"]'),
        ("credentials_json", '{"type": "service_account", "token_uri": "http://token.example.com"}'),
        ("credentials_json", '{"type": "authorized_user", "token_uri": "ftp://127.0.0.1/token"}'),
        ("credentials_json", '{"type": "service_account", "token_uri": 7}'),
        ("endpoint", "http://bigquery.example.com"),
        ("endpoint", "ftp://127.0.0.1"),
        ("batch_seconds", -1),
        ("staging_bucket", "gs://b"),
        ("maximum_bytes_billed", 1),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=rf"parameters\.{field}") as refused:
        parsed(**{field: value})
    assert "a secret" not in str(refused.value.to_json())


@pytest.mark.parametrize("field", ["project", "dataset"])
def test_what_is_required_is_asked_for(field: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{field}: is required"):
        parsed(**{field: None})


def test_the_key_is_a_secret() -> None:
    assert engine("bigquery").secret_parameters == {"credentials_json"}
