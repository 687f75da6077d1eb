"""What the vendor's error numbers mean to us, and that no value gets into a message."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from whimbrel.connectors.snowflake.refusals import login_refusal, server_refusal
from whimbrel.connectors.sql.scripts import statements
from whimbrel.errors import (
    AuthenticationFailed,
    HostUnreachable,
    TableMissing,
    TargetInterrupted,
    TargetPermissionDenied,
    ValueRefused,
    WhimbrelError,
)


def said(number: int, text: str) -> SimpleNamespace:
    return SimpleNamespace(errno=number, msg=text, raw_msg=None)


@pytest.mark.parametrize(
    ("number", "leaf", "retryable"),
    [
        (2003, TableMissing, False),
        (3001, TargetPermissionDenied, False),
        (606, TargetInterrupted, True),
        (625, TargetInterrupted, True),
        (390114, TargetInterrupted, True),
        (100090, ValueRefused, False),
    ],
)
def test_each_number_is_a_leaf(number: int, leaf: type[WhimbrelError], retryable: bool) -> None:
    found = server_refusal(said(number, f"{number:06} (42S02): 01b2c3d4-0000-1111-2222-333344445555: what it says"))
    assert type(found) is leaf
    assert found.retryable is retryable
    assert "01b2c3d4" not in found.message


@pytest.mark.parametrize("number", [100038, 100078, 100072, 100132])
def test_a_value_that_is_refused_is_not_quoted(number: int) -> None:
    found = server_refusal(said(number, f"{number} (22018): Numeric value 's3cret' is not recognized"))
    assert type(found) is ValueRefused
    assert "s3cret" not in str(found.to_json())


def test_why_a_login_failed() -> None:
    where = {"account": "org-acc", "host": "lake.example.net", "port": 443}
    wrong = login_refusal(said(250001, "250001 (08001): 390100 (08004): Incorrect username or password"), where)
    assert type(wrong) is AuthenticationFailed
    assert type(login_refusal(said(250001, "250001: could not connect"), where)) is HostUnreachable


def test_a_script_is_cut_where_a_statement_ends() -> None:
    script = "-- a; b\nSELECT ';', \"x;\"\"y\" /* ; */ ;\n\nCREATE TABLE t (a INT);SELECT $$;$$, 'it''s;', '\\';'"
    assert list(statements(script)) == [
        'SELECT \';\', "x;""y"',
        "CREATE TABLE t (a INT)",
        "SELECT $$;$$, 'it''s;', '\\';'",
    ]
