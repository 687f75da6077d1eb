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


OF_ROWS = [1062, 1064, 1264, 1292, 1366, 1406, 31337]
OF_OTHERS = [1021, 1114, 1205, 1213, 1290, 1317, 1696, 1712, 1744, 1777, 1792, 1815, 1821, 1927, 1970, 2245]


@pytest.mark.parametrize("number", OF_ROWS + OF_OTHERS)
def test_no_value_enters_a_message(number: int) -> None:
    """A lock that was waited for is told with the statement that holds it, an error of a node in the node's words."""
    found = server_refusal(Server(number, f"Incorrect value: '{SECRET}' for column 'pin' at row 7"))
    assert SECRET not in str(found.to_json())
    assert found.extra["errno"] == number


def test_what_the_driver_says_of_the_line_is_told() -> None:
    assert "Lost connection" in server_refusal(Server(2013, "Lost connection to MySQL server during query")).message
    assert "timed out" in server_refusal(TimeoutError("timed out")).message


def test_column_and_row_are_named() -> None:
    found = value_refusal(1406, "Data too long for column 'title' at row 3", "shop.orders")
    assert found.message == "shop.orders, column title: a value that is too long"
    assert (found.extra["column"], found.extra["line"], found.extra["table"]) == ("title", 3, "shop.orders")


def test_why_nobody_was_let_in() -> None:
    assert type(login_refusal(Server(1045, "Access denied"), WHERE)) is errors.AuthenticationFailed
    assert type(login_refusal(Server(1049, "Unknown database"), WHERE)) is errors.DatabaseMissing
    assert type(login_refusal(Server(2003, "Can't connect"), WHERE)) is errors.HostUnreachable
    assert type(login_refusal(ssl.SSLError("certificate verify failed"), WHERE)) is errors.TlsFailed
