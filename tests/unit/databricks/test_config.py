"""The parameters of a Databricks endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from whimbrel.connectors.databricks.config import parse, volume
from whimbrel.errors import InvalidRequest

GIVEN = {"server_hostname": "dbc-1.example.net", "http_path": "/sql/1.0/warehouses/0a", "catalog": "shop"}
TOKEN = {**GIVEN, "access_token": "t"}


def test_aliases_ports_volumes_and_both_logins() -> None:
    given = {**TOKEN, "port": "8443", "batch_seconds": "0.5", "staging_volume": "lake.raw.incoming"}
    given["host"] = given.pop("server_hostname")
    given["token"] = given.pop("access_token")
    parsed = parse(given)
    assert (parsed["server_hostname"], parsed["access_token"]) == ("dbc-1.example.net", "t")
    assert (parsed["port"], parsed["batch_seconds"]) == (8443, 0.5)
    assert volume(parsed) == "/Volumes/lake/raw/incoming"
    assert volume(parse({**GIVEN, "client_id": "i", "client_secret": "s"})) == "/Volumes/shop/whimbrel/files"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"catalog": None}, "catalog"),
        ({"server_hostname": "https://dbc-1.example.net"}, "server_hostname"),
        ({"http_path": "/sql?x=1"}, "http_path"),
        ({"access_token": None}, "access_token"),
        ({"client_id": "i"}, "client_secret"),
        ({"client_secret": "s"}, "client_id"),
        ({"client_id": "i", "client_secret": "s"}, "access_token"),
        ({"access_token": "dapi\u00e9"}, "access_token"),
        ({"access_token": "dapi1\n"}, "access_token"),
        ({"access_token": None, "client_id": "a b", "client_secret": "s"}, "client_id"),
        ({"access_token": None, "client_id": "i", "client_secret": "s\u2026"}, "client_secret"),
        ({"staging_volume": "raw.incoming"}, "staging_volume"),
        ({"staging_volume": "/Volumes/a/b'c/d"}, "staging_volume"),
        ({"port": 0}, "port"),
        ({"batch_seconds": 3601}, "batch_seconds"),
        ({"scheme": "http"}, "scheme"),
        ({"scheme": "ftp"}, "scheme"),
        ({"host": "twice"}, "host"),
        ({"schema": "a\0b"}, "schema"),
        ({"warehouse": "x"}, "warehouse"),
    ],
)
def test_what_cannot_be_right_names_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse({**TOKEN, **change})
    assert refused.value.extra["field"] == f"parameters.{field}"
