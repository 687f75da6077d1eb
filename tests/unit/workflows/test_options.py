"""How long Temporal waits by itself between two attempts."""

from __future__ import annotations

from datetime import timedelta

from workflows.options import LONG, STEP


def test_a_step_of_weeks_goes_on_at_once_however_often_a_worker_was_lost() -> None:
    """The pauses after failures come with the failure; the policy's own count every attempt since the beginning."""
    attempt = 30
    policy = LONG.retry
    assert policy.maximum_interval is not None
    wait = min(policy.initial_interval * policy.backoff_coefficient**attempt, policy.maximum_interval)
    assert wait <= timedelta(seconds=2)
    assert STEP.retry.maximum_interval == timedelta(seconds=30)
