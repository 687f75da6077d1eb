"""Lag compares what the source had with what is applied; it never goes below zero and ends at zero."""

from __future__ import annotations

import pytest

from whimbrel.errors import PositionForeign
from whimbrel.model.position import Position
from whimbrel.pipeline.changes.lag import Lag, distance


def at(*order: int) -> Position:
    return Position("mysql", "server", ":".join(map(str, order)), order)


def test_zero_once_the_sample_is_applied() -> None:
    newest = [at(1, 100)]
    lag = Lag(lambda: newest[0], every=0)
    lag.update(at(1, 50))
    assert lag.bytes == 50
    newest[0] = at(1, 300)
    lag.update(at(1, 100))
    assert lag.bytes == 200
    lag.update(at(1, 300))
    assert (lag.seconds, lag.bytes) == (0.0, 0)


def test_it_grows_while_nothing_is_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("whimbrel.pipeline.changes.lag.time.monotonic", lambda: clock[0])
    lag = Lag(lambda: at(1, 100), every=0)
    lag.update(at(1, 50))
    clock[0] += 7
    lag.update(at(1, 50))
    assert lag.seconds == 7.0


def test_behind_is_never_zero_seconds() -> None:
    lag = Lag(lambda: at(1, 100), every=0)
    lag.update(at(1, 50))
    assert lag.seconds > 0


def test_time_in_which_nobody_measured_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new attempt of an operation whose last sample is 20 seconds old and showed 5 seconds."""
    clock, newest = [1000.0], [at(1, 100)]
    monkeypatch.setattr("whimbrel.pipeline.changes.lag.time.monotonic", lambda: clock[0])
    lag = Lag(lambda: newest[0], every=0, unknown=25.0)
    lag.update(at(1, 50))
    assert lag.seconds == 25.0
    clock[0] += 2
    newest[0] = at(1, 200)
    lag.update(at(1, 50))
    assert lag.seconds == 27.0
    clock[0] += 1
    lag.update(at(1, 100))
    assert lag.seconds == 1.0


def test_time_in_which_nobody_measured_is_no_lag_of_one_that_is_not_behind() -> None:
    lag = Lag(lambda: at(1, 100), every=0, unknown=25.0)
    lag.update(at(1, 100))
    assert lag.seconds == 0.0


def test_distance_over_files_is_a_lower_bound() -> None:
    assert distance(at(1, 900), at(1, 1000)) == 100
    assert distance(at(1, 900), at(2, 30)) == 30
    assert distance(at(2, 30), at(1, 900)) == 0


def test_another_server_is_refused() -> None:
    lag = Lag(lambda: Position("mysql", "other", "1", (1,)), every=0)
    with pytest.raises(PositionForeign):
        lag.update(at(1, 50))
