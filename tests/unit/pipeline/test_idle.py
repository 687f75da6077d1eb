"""Beside a source at rest, the stored position follows what was read, also when nothing more comes."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.suite.running import Watch
from whimbrel.connectors.protocols import Pace
from whimbrel.errors import Interrupted
from whimbrel.model.change import Segment
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.position import Position
from whimbrel.pipeline.changes import feeds, replication

BEGUN, READ = (Position("mysql", "server", str(n), (n,)) for n in (1, 2))


class Source:
    def current_position(self) -> Position:
        return READ

    def expires_in(self, position: Position) -> None:
        return None

    def retained(self, job: Job) -> None:
        """Keeps nothing for us alone."""


class Capture:
    """Hands over one segment that only moves the position, then nothing."""

    def __init__(self) -> None:
        self.segments = deque([Segment(1, (), READ, True, 0, 0, {}, 0)])

    def receive(self, timeout: float) -> Segment | None:
        return self.segments.popleft() if self.segments else None

    def applied(self, committed: Position | None) -> None: ...


class Applier:
    """Remembers commits, and ends the operation with the one waited for."""

    def __init__(self, watch: Watch) -> None:
        self.watch, self.stored = watch, BEGUN

    def commit(self, epoch: int, position: Position) -> None:
        self.stored = position
        self.watch.stop.set()


@pytest.mark.parametrize("idle", [0.0, 2 * feeds.IDLE_COMMIT])
def test_a_position_that_came_just_behind_a_commit_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, idle: float
) -> None:
    """At the target's pace, where it has a slower one."""
    watch = Watch()
    applier = Applier(watch)
    pair: Any = SimpleNamespace(
        source=Source(), target=SimpleNamespace(pace=Pace(idle=idle)), tables=(), target_tables=()
    )
    feed = feeds.DatabaseFeed(pair, watch, applier, 1, BEGUN, keys_wait=False)  # type: ignore[arg-type]
    feed._committed_at = time.monotonic()  # there was a commit a moment ago
    end = Endpoint("e", "mysql", {})
    work: Any = replication._Work(Source(), (), feed, None)  # type: ignore[arg-type]
    capture: Any = Capture()
    changes = replication._Changes(Job("m", "op", end, end, (), tmp_path), work, watch, capture, BEGUN)
    began = feed._committed_at
    given_up = time.monotonic() + 3 * feeds.IDLE_COMMIT

    def check() -> None:
        if watch.stop.is_set() or time.monotonic() > given_up:
            raise Interrupted

    monkeypatch.setattr(watch, "check", check)
    with pytest.raises(Interrupted):
        changes.run(lambda: None)
    assert applier.stored == READ
    assert time.monotonic() - began >= idle
