"""What Spanner's errors become, by their codes and as its emulator words them; none of a row's values is told."""

from __future__ import annotations

import pytest

grpc = pytest.importorskip("grpc")
pytest.importorskip("google.cloud.spanner_v1")
from whimbrel.connectors.spanner.refusals import definition_refusal, login_refusal, server_refusal  # noqa: E402
from whimbrel.errors import (  # noqa: E402
    AuthenticationFailed,
    DatabaseMissing,
    HostUnreachable,
    LoaderFailed,
    SchemaFailed,
    TableMissing,
    TargetInterrupted,
    TargetPermissionDenied,
    ValueRefused,
    WhimbrelError,
)

PARAMETERS = {"project": "p", "instance": "ii", "database": "db", "credentials_json": "a secret"}


class Said(Exception):
    def __init__(self, code: str, text: str) -> None:
        self._code, self._text = grpc.StatusCode[code], text

    def code(self) -> object:
        return self._code

    def details(self) -> str:
        return self._text


@pytest.mark.parametrize(
    ("code", "text", "leaf", "mark"),
    [
        ("ABORTED", "Transaction 3 aborted due to active transaction 2.", TargetInterrupted, "aborted"),
        ("NOT_FOUND", "Session not found: projects/p/instances/i/databases/d/sessions/s", TargetInterrupted, "aborted"),
        ("UNAVAILABLE", "Socket closed", TargetInterrupted, "busy"),
        ("RESOURCE_EXHAUSTED", "Quota exceeded", TargetInterrupted, "busy"),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", TargetInterrupted, "busy"),
        (
            "INVALID_ARGUMENT",
            "The transaction contains too many mutations. Insert and update",
            LoaderFailed,
            "too_large",
        ),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (5 vs. 4)", LoaderFailed, "too_large"),
        ("ALREADY_EXISTS", 'Table s.t: Row {String("secret")} already exists.', ValueRefused, "exists"),
        ("ALREADY_EXISTS", "Row [secret] in table t already exists", ValueRefused, "exists"),
        ("NOT_FOUND", "Table s.t: Row {Int64(99)} not found.", ValueRefused, "row_missing"),
        (
            "ALREADY_EXISTS",
            'UNIQUE violation on index t_note,  duplicate key: {String("secret")} in this transaction.',
            ValueRefused,
            "constraint",
        ),
        (
            "FAILED_PRECONDITION",
            "Foreign key constraint `child_n` is violated on table `child`. Cannot find values in parent(id).",
            ValueRefused,
            "constraint",
        ),
        (
            "FAILED_PRECONDITION",
            "Foreign key `u_n` constraint violation when deleting or updating referenced key `{secret}` in table `t`.",
            ValueRefused,
            "constraint",
        ),
        (
            "FAILED_PRECONDITION",
            "Foreign key constraint violation when deleting or updating referenced row(s): referencing row(s) found in "
            "table `u`.",
            ValueRefused,
            "constraint",
        ),
        ("FAILED_PRECONDITION", "Could not parse secret as an integer", ValueRefused, None),
        ("OUT_OF_RANGE", "Invalid input to PARSE_JSON: secret", ValueRefused, None),
        (
            "FAILED_PRECONDITION",
            "New value exceeds the maximum size limit for this column: t.note, size: 41, limit: 40.",
            ValueRefused,
            None,
        ),
        ("NOT_FOUND", "Table not found: s.nope", TableMissing, None),
        ("PERMISSION_DENIED", "Caller is missing IAM permission", TargetPermissionDenied, None),
        ("UNAUTHENTICATED", "Request had invalid authentication credentials", TargetPermissionDenied, None),
        ("INVALID_ARGUMENT", "Syntax error: secret", SchemaFailed, None),
    ],
)
def test_each_error_is_a_leaf(code: str, text: str, leaf: type[WhimbrelError], mark: str | None) -> None:
    found = server_refusal(Said(code, text))
    assert type(found) is leaf
    if mark is not None:
        assert found.details.get(mark)
    assert "secret" not in str(found.to_json())
    assert found.how_to_fix


@pytest.mark.parametrize(
    ("code", "leaf"),
    [
        ("UNAUTHENTICATED", AuthenticationFailed),
        ("PERMISSION_DENIED", AuthenticationFailed),
        ("NOT_FOUND", DatabaseMissing),
        ("UNAVAILABLE", HostUnreachable),
    ],
)
def test_a_login_that_fails_says_why(code: str, leaf: type[WhimbrelError]) -> None:
    found = login_refusal(Said(code, "no"), PARAMETERS)
    assert type(found) is leaf
    assert "a secret" not in str(found.to_json())


def test_definitions_are_told_by_the_vendors_words_but_for_rows() -> None:
    found = definition_refusal(Said("INVALID_ARGUMENT", "Table name not valid: _t."), ["CREATE TABLE _t (a INT64)"])
    assert "Table name not valid" in found.message
    found = definition_refusal(
        Said("FAILED_PRECONDITION", "Found uniqueness violation on index t_n, which is UNIQUE, for key {secret}"),
        ["CREATE"],
    )
    assert "secret" not in found.message
    found = definition_refusal(
        Said("FAILED_PRECONDITION", "Schema change operation in progress, try again"), ["CREATE"]
    )
    assert found.retryable
