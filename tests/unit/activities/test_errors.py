"""What Temporal is told of an error."""

from __future__ import annotations

import errno
import json
import logging

import pytest
from temporalio.exceptions import ApplicationError

from activities.errors import DETAIL_BYTES, as_failure, classify, masked_json
from activities.masking import remember
from whimbrel.errors import (
    Fenced,
    InternalError,
    Interrupted,
    StagingFull,
    TypeRefused,
    WhimbrelError,
    from_json,
    leaves,
)


@pytest.mark.parametrize("kind", list(leaves()), ids=lambda kind: kind.__name__)
def test_every_leaf_keeps_its_class_and_its_fate(kind: type[WhimbrelError]) -> None:
    failure = as_failure(kind("public.a is not there", table="public.a"))
    assert isinstance(failure, ApplicationError)
    assert failure.type == kind.reason()
    assert failure.non_retryable is not (kind.retryable or kind is Fenced)
    again = from_json(failure.details[0])
    assert type(again) is kind
    assert again.message == "public.a is not there"
    assert again.extra == {"table": "public.a"}


def test_a_full_disk_is_known_wherever_it_is_met() -> None:
    error = classify(OSError(errno.ENOSPC, "No space left on device", "/data/x"))
    assert isinstance(error, StagingFull)
    assert "/data/x" in error.message


def test_a_bug_gets_an_id_that_the_log_has_too(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        error = classify(ZeroDivisionError("division by zero"))
    assert isinstance(error, InternalError)
    assert error.extra["id"] in caplog.text
    assert "ZeroDivisionError: division by zero" in caplog.text
    assert "division" not in error.message


def test_an_interruption_is_no_error() -> None:
    assert not issubclass(Interrupted, WhimbrelError)


def test_lists_are_cut_with_a_note_and_the_whole_stays_small() -> None:
    few = masked_json(TypeRefused("no", columns=[f"public.t.c{n}" for n in range(200)]))
    assert few["details"]["columns"][-1] == "… and 150 more"
    huge = masked_json(TypeRefused("no", remedy=None, **{f"list{n}": ["x" * 900] * 50 for n in range(50)}))
    assert len(json.dumps(huge)) < DETAIL_BYTES
    assert huge["details"]["truncated"] is True
    assert huge["details"]["reason"] == "type_refused"


def test_secrets_are_masked_in_messages_and_details() -> None:
    remember(["s3cr3t-of-the-db", "pw1"])
    payload = masked_json(TypeRefused("login u/s3cr3t-of-the-db, pw1 or pw12", dsn=["pass=s3cr3t-of-the-db"]))
    assert payload["message"] == "login u/***, *** or pw12"
    assert payload["details"]["dsn"] == ["pass=***"]
