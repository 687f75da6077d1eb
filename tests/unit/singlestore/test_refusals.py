"""What an error of the server means, by its number; its words may hold values, which ours never do."""

from __future__ import annotations

import ssl

import pytest

from whimbrel import errors
from whimbrel.connectors.singlestore.refusals import login_refusal, server_refusal, value_refusal

SECRET = "4929-secret-value"
WHERE = {"host": "h", "port": 3306}


class Server(Exception):
    pass


@pytest.mark.parametrize(
    ("number", "leaf", "retryable"),
    [
        (1062, errors.ValueRefused, False),
        (1264, errors.ValueRefused, False),
        (1406, errors.ValueRefused, False),
        (1205, errors.TargetInterrupted, True),
        (1317, errors.TargetInterrupted, True),
        (2013, errors.TargetInterrupted, True),
        (0, errors.TargetInterrupted, True),
        (1290, errors.TargetInterrupted, True),
        (1114, errors.TargetFull, None),
        (1142, errors.TargetPermissionDenied, False),
        (1146, errors.TableMissing, False),
        (1054, errors.SchemaMismatch, False),
        (1706, errors.SchemaFailed, False),
        (1148, errors.LoaderFailed, False),
        (31337, errors.LoaderFailed, False),
    ],
)
def test_each_number_has_its_leaf(number: int, leaf: type[errors.WhimbrelError], retryable: bool | None) -> None:
    found = server_refusal(Server(number, "something of the server's"))
    assert type(found) is leaf
    assert retryable is None or found.retryable == retryable
    assert found.how_to_fix


@pytest.mark.parametrize("number", [1062, 1064, 1264, 1292, 1366, 1406, 31337])
def test_no_value_enters_a_message(number: int) -> None:
    found = server_refusal(Server(number, f"Incorrect value: '{SECRET}' for column 'pin' at row 7"))
    assert SECRET not in str(found.to_json())


def test_column_and_row_are_named() -> None:
    found = value_refusal(1406, "Data too long for column 'title' at row 3", "shop.orders")
    assert found.message == "shop.orders, column title: a value that is too long"
    assert (found.extra["column"], found.extra["line"], found.extra["table"]) == ("title", 3, "shop.orders")


def test_why_nobody_was_let_in() -> None:
    assert type(login_refusal(Server(1045, "Access denied"), WHERE)) is errors.AuthenticationFailed
    assert type(login_refusal(Server(1049, "Unknown database"), WHERE)) is errors.DatabaseMissing
    assert type(login_refusal(Server(2003, "Can't connect"), WHERE)) is errors.HostUnreachable
    assert type(login_refusal(ssl.SSLError("certificate verify failed"), WHERE)) is errors.TlsFailed
