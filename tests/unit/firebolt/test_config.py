"""The parameters of a Firebolt endpoint."""

from __future__ import annotations

import json
from typing import Any

import pytest

from whimbrel.connectors.firebolt.config import is_core, parse, stage_credentials
from whimbrel.errors import InvalidRequest

CORE = {"url": "http://core.example.net:3473", "database": "shop"}
ACCOUNT = {"account_name": "acme", "engine": "loads", "database": "shop", "client_id": "i", "client_secret": "s"}
STAGED = {**ACCOUNT, "staging": "s3://lake/moves", "staging_location": "moves"}
KEYS = {"access_key_id": "a", "secret_access_key": "s"}


def test_core_and_accounts_and_buckets() -> None:
    assert parse({**CORE, "url": "http://core.example.net:3473/", "batch_seconds": "0.5"}) == {
        **CORE,
        "batch_seconds": 0.5,
    }
    account = parse({**{k: v for k, v in STAGED.items() if k != "engine"}, "engine_name": "loads"})
    assert (account["engine"], is_core(account), stage_credentials(account)) == ("loads", False, {})
    opened = parse({**STAGED, "stage_credentials": json.dumps({**KEYS, "region": "eu-west-1"})})
    assert stage_credentials(opened)["region"] == "eu-west-1"
    assert is_core(parse(CORE))


@pytest.mark.parametrize(
    ("given", "change", "field"),
    [
        (CORE, {"database": None}, "database"),
        (CORE, {"url": None}, "account_name"),
        (CORE, {"url": "core.example.net"}, "url"),
        (CORE, {"url": "http://user:pass@core.example.net"}, "url"),
        (CORE, {"url": "http://core.example.net:99999"}, "url"),
        (CORE, {"client_secret": "s"}, "client_secret"),
        (CORE, {"schemas": "some"}, "schemas"),
        (CORE, {"batch_seconds": 3601}, "batch_seconds"),
        (CORE, {"schema": "a\0b"}, "schema"),
        (CORE, {"warehouse": "x"}, "warehouse"),
        (ACCOUNT, {"engine": "a b"}, "engine"),
        (ACCOUNT, {"account": "twice"}, "account"),
        (ACCOUNT, {"client_secret": "s\u2026"}, "client_secret"),
        (ACCOUNT, {"database": 'a"b'}, "database"),
        (ACCOUNT, {"api_endpoint": "http://api.example.net"}, "api_endpoint"),
        (ACCOUNT, {"staging": "s3://lake"}, "staging_location"),
        (ACCOUNT, {"staging_location": "moves"}, "staging"),
        (ACCOUNT, {"stage_credentials": "{}"}, "stage_credentials"),
        (STAGED, {"staging": "gs://lake"}, "staging"),
        (STAGED, {"stage_credentials": "secret"}, "stage_credentials"),
        (STAGED, {"stage_credentials": '{"access_key_id": "a"}'}, "stage_credentials"),
    ],
)
def test_what_cannot_be_right_names_its_field(given: dict[str, Any], change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse({**given, **change})
    assert refused.value.extra["field"] == f"parameters.{field}"
