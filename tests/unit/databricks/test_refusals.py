"""What the vendor's error classes mean to us, and that no value gets into a message."""

from __future__ import annotations

import logging

import pytest

from whimbrel.connectors.databricks.refusals import is_conflict, login_refusal, server_refusal
from whimbrel.connectors.sql.scripts import statements
from whimbrel.errors import (
    AuthenticationFailed,
    DatabaseMissing,
    HostUnreachable,
    LoaderFailed,
    SchemaFailed,
    SchemaMismatch,
    TableMissing,
    TargetFull,
    TargetInterrupted,
    TargetPermissionDenied,
    ValueRefused,
    WhimbrelError,
)

WHERE = {"server_hostname": "dbc-1.example.net", "http_path": "/sql/1.0/warehouses/0a", "catalog": "shop"}


class DatabaseError(Exception):
    """As the driver's errors: a text, and what is known of the request."""

    def __init__(self, text: str, **context: object) -> None:
        super().__init__(text)
        self.context = context


class RequestError(DatabaseError):
    pass


@pytest.mark.parametrize(
    ("text", "leaf", "retryable"),
    [
        ("[TABLE_OR_VIEW_NOT_FOUND] The table cannot be found. SQLSTATE: 42P01", TableMissing, False),
        ("[INSUFFICIENT_PERMISSIONS] User does not have MODIFY. SQLSTATE: 42501", TargetPermissionDenied, False),
        ("[UC_VOLUME_NOT_FOUND] Volume shop.whimbrel.files does not exist. SQLSTATE: 42704", LoaderFailed, False),
        ("[PARSE_SYNTAX_ERROR] Syntax error at or near 'X'. SQLSTATE: 42601", SchemaFailed, False),
        ("[DELTA_FAILED_TO_MERGE_FIELDS] Failed to merge fields 'a'. SQLSTATE: 22005", SchemaMismatch, False),
        ("[OPERATION_CANCELED] Operation has been canceled. SQLSTATE: HY008", TargetInterrupted, True),
        ("[DELTA_CONCURRENT_APPEND.WITHOUT_HINT] Files were added. SQLSTATE: 2D521", TargetInterrupted, True),
        ("[INVALID_HANDLE.SESSION_NOT_FOUND] The session was not found. SQLSTATE: HY000", TargetInterrupted, True),
        ("[QUOTA_EXCEEDED] too much SQLSTATE: 54000", TargetFull, True),
        ("Staging operation over HTTP was unsuccessful: 403-denied", TargetPermissionDenied, False),
        ("Staging operation over HTTP was unsuccessful: 503-", TargetInterrupted, True),
        ("something broke", TargetInterrupted, True),
    ],
)
def test_each_class_is_a_leaf(text: str, leaf: type[WhimbrelError], retryable: bool) -> None:
    found = server_refusal(DatabaseError(text))
    assert type(found) is leaf
    assert found.retryable is retryable
    assert is_conflict(found) == ("CONCURRENT" in text)


@pytest.mark.parametrize(
    "text",
    [
        "[CAST_INVALID_INPUT] The value 's3cret' cannot be cast. SQLSTATE: 22018",
        "[NUMERIC_VALUE_OUT_OF_RANGE] s3cret cannot be represented. SQLSTATE: 22003",
        "[DELTA_NOT_NULL_CONSTRAINT_VIOLATED] column s3cret SQLSTATE: 23502",
        "[SOMETHING_NEW] s3cret SQLSTATE: 22999",
    ],
)
def test_a_value_that_is_refused_is_not_quoted(text: str) -> None:
    found = server_refusal(DatabaseError(text))
    assert type(found) is ValueRefused
    assert "s3cret" not in str(found.to_json())


@pytest.mark.parametrize(
    ("error", "leaf"),
    [
        (RequestError("Error during request", **{"http-code": 401}), AuthenticationFailed),
        (RequestError("Error during request", **{"http-code": 403}), AuthenticationFailed),
        (RequestError("Error during request", **{"http-code": 404}), DatabaseMissing),
        (RequestError("Error during request", **{"http-code": 503}), HostUnreachable),
        (DatabaseError("[NO_SUCH_CATALOG_EXCEPTION] Catalog 'shop' was not found SQLSTATE: 42704"), DatabaseMissing),
        (ConnectionRefusedError("refused"), HostUnreachable),
    ],
)
def test_why_a_login_failed(error: Exception, leaf: type[WhimbrelError]) -> None:
    assert type(login_refusal(error, WHERE)) is leaf


def test_a_token_that_ends_under_way_says_what_to_do() -> None:
    found = server_refusal(RequestError("Error during request", **{"http-code": 401}))
    assert (type(found), found.retryable) == (TargetPermissionDenied, False)
    assert "access_token" in found.how_to_fix


def test_a_script_is_cut_where_a_statement_ends() -> None:
    script = "-- a; b\nCREATE TABLE `a;'b` (a INT);COMMENT ON TABLE `t` IS 'it\\'s;'"
    assert list(statements(script)) == ["CREATE TABLE `a;'b` (a INT)", "COMMENT ON TABLE `t` IS 'it\\'s;'"]


@pytest.mark.parametrize(
    "text",
    [
        "Max retries exceeded with url: /shop/f?X-Amz-Signature=s3cret&X-Amz-Security-Token=s3cret (Caused by x)",
        "Error during request to server: https://store.example.net/f?sig=s3cret",
        "Staging operation over HTTP was unsuccessful: 403-see https://store.example.net/f?sig=s3cret",
        "[FAILED_READ_FILE] cannot read 'abfss://c@store/f?sv=1&sig=s3cret' SQLSTATE: KD001",
    ],
)
def test_what_opens_an_address_is_not_told(text: str) -> None:
    told = [server_refusal(DatabaseError(text)), login_refusal(RequestError(text), WHERE)]
    assert [str(e.to_json()) for e in told if "s3cret" in str(e.to_json())] == []
    assert any("?…" in e.message for e in told)


def test_the_driver_logs_no_addresses(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("databricks.sql")
    import whimbrel.connectors.databricks.connection  # noqa: F401

    for name in ("databricks.sql.common.unified_http_client", "databricks.sql.cloudfetch.downloader"):
        logging.getLogger(name).error("HTTP request failed: %s", "https://store.example.net/f?sig=s3cret")
    logging.getLogger("urllib3.connectionpool").warning("Retrying: %s", "/f?sig=s3cret")
    assert caplog.text == ""
