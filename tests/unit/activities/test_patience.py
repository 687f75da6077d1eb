"""Failures in a row are counted over attempts; progress forgives them."""

from __future__ import annotations

import time

import pytest

from activities import patience
from activities.patience import Trouble


def test_waits_grow_to_half_a_minute() -> None:
    trouble, waits = Trouble(), []
    for _ in range(8):
        trouble = trouble.after_failure()
        waits.append(trouble.wait.total_seconds())
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_it_gives_up_hours_after_the_first_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    trouble = Trouble().after_failure()
    monkeypatch.setattr(time, "time", lambda: now + patience.LIMIT.total_seconds() - 60)
    trouble = trouble.after_failure()
    assert not trouble.exhausted
    monkeypatch.setattr(time, "time", lambda: now + patience.LIMIT.total_seconds() + 60)
    assert trouble.after_failure().exhausted


def test_it_travels_as_heartbeat_details() -> None:
    assert Trouble.from_heartbeat([{"failures": 3, "since": 5.0}]) == Trouble(3, 5.0)
    assert Trouble.from_heartbeat([]) == Trouble()
    assert Trouble.from_heartbeat(["of another version"]) == Trouble()
