"""Errors of the driver: each has its leaf, and no value is told."""

from __future__ import annotations

import pytest

exceptions = pytest.importorskip("google.api_core.exceptions")

from whimbrel.connectors.bigquery.refusals import login_refusal, raised, server_refusal  # noqa: E402
from whimbrel.errors import (  # noqa: E402
    AuthenticationFailed,
    ConnectionRefused,
    HostUnreachable,
    InternalError,
    LoaderFailed,
    SchemaFailed,
    TableMissing,
    TargetFull,
    TargetInterrupted,
    TargetPermissionDenied,
    ValueRefused,
)

PARAMETERS = {"project": "my-project", "dataset": "shop", "credentials_json": "a secret"}
CONFLICT = "Transaction is aborted due to concurrent update against table p:d.t. Transaction ID: 1"


def error(status: int, reason: str, message: str = "said") -> Exception:
    made: Exception = exceptions.from_http_status(status, message, errors=[{"reason": reason, "message": message}])
    return made


@pytest.mark.parametrize(
    ("given", "leaf"),
    [
        (error(400, "invalidQuery", CONFLICT), TargetInterrupted),
        (error(403, "rateLimitExceeded"), TargetInterrupted),
        (error(403, "jobRateLimitExceeded"), TargetInterrupted),
        (error(503, "backendError"), TargetInterrupted),
        (error(400, "stopped"), TargetInterrupted),
        (error(403, "quotaExceeded"), TargetFull),
        (error(403, "billingNotEnabled"), TargetFull),
        (error(403, "accessDenied"), TargetPermissionDenied),
        (error(401, "authError"), TargetPermissionDenied),
        (error(404, "notFound", "Not found: Table p:d.t was not found in location EU"), TableMissing),
        (error(400, "invalidQuery", "Syntax error: Unexpected identifier"), SchemaFailed),
        (error(409, "duplicate", "Already Exists: Table p:d.t"), SchemaFailed),
        (error(400, "invalidQuery", "UPDATE/MERGE must match at most one source row for each row"), ValueRefused),
        (error(400, "invalidQuery", "Required field id cannot be null"), ValueRefused),
        (error(400, "invalidQuery", "Field s: STRING(3) has maximum length 3 but got 'a secret'"), ValueRefused),
        (error(400, "invalidQuery", "int64 overflow: 'a secret' + 1"), ValueRefused),
        (error(400, "somethingNew", "about 'a secret'"), LoaderFailed),
        (ConnectionResetError("reset"), TargetInterrupted),
        (KeyError("a secret"), InternalError),
    ],
)
def test_each_error_has_its_leaf(given: Exception, leaf: type[Exception]) -> None:
    found = server_refusal(given)
    assert type(found) is leaf
    assert "a secret" not in str(found.to_json())


def test_only_a_job_that_is_over_is_sent_again() -> None:
    for given in (error(400, "invalidQuery", CONFLICT), error(403, "rateLimitExceeded")):
        assert server_refusal(given, done_nothing=True).details["for_a_moment"]
        assert not server_refusal(given).details["for_a_moment"]
    for reason in ("backendError", "internalError"):  # which may come behind the commit
        assert not server_refusal(error(503, reason), done_nothing=True).details["for_a_moment"]
    assert "for_a_moment" not in server_refusal(error(403, "quotaExceeded"), done_nothing=True).details


def test_what_our_scripts_end_with_is_read() -> None:
    found = server_refusal(error(400, "invalidQuery", "Query error: whimbrel:written:3:-1:7 at [4:2]"))
    assert raised(found) == ("written", (3, -1, 7))
    assert raised(server_refusal(error(400, "invalidQuery", "whimbrel:fenced"))) == ("fenced", ())
    for other in ("something else", "Bad int64 value: whimbrel:recorded", "whimbrel:written:3:a"):
        assert raised(server_refusal(error(400, "invalidQuery", other))) is None


@pytest.mark.parametrize(
    ("given", "leaf"),
    [
        (error(401, "authError"), AuthenticationFailed),
        (error(403, "accessDenied"), AuthenticationFailed),
        (error(503, "backendError"), HostUnreachable),
        (error(400, "invalid"), ConnectionRefused),
        (ConnectionRefusedError("no"), HostUnreachable),
        (ValueError("a secret"), AuthenticationFailed),
    ],
)
def test_a_login_that_fails_is_told_without_the_key(given: Exception, leaf: type[Exception]) -> None:
    found = login_refusal(given, PARAMETERS)
    assert type(found) is leaf
    assert "a secret" not in str(found.to_json())
