"""What is heard of processes that have ended."""

from __future__ import annotations

from multiprocessing import Pipe
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from whimbrel.errors import LaneLost, LayoutChanged
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.position import Position
from whimbrel.pipeline.changes.capture import Applied, Capture, CaptureSpec, Failed, Notice
from whimbrel.pipeline.load.lanes import Lanes, _Handle

HERE = Position("postgres", "s", "0/10", (16,))


def test_the_last_word_is_heard_after_a_segment_was_given_back() -> None:
    nowhere = Endpoint("e", "postgres", {})
    lines: list[str] = []
    capture = Capture(CaptureSpec(Job("m", "op", nowhere, nowhere, (), Path("unused")), (), HERE), lines.append)
    capture.applied(HERE)
    assert capture._theirs.recv() == Applied(HERE)
    capture._theirs.send(Notice("look at s.t"))
    assert (capture.receive(5), lines) == (None, ["look at s.t"])
    capture.applied(HERE)
    capture._theirs.send(Failed(LayoutChanged("s.t: changed")))
    capture._theirs.close()
    capture.applied(HERE)
    with pytest.raises(LayoutChanged, match=r"s\.t"):
        capture.receive(5)


def test_a_lane_that_was_killed_is_lost_whoever_notices_first() -> None:
    ours, theirs = Pipe()
    theirs.close()
    nothing: Any = None
    killed: Any = SimpleNamespace(join=lambda _: None, exitcode=-9)
    lanes = Lanes(nothing, 1)
    lanes._handles.append(_Handle(killed, ours))
    takes: Any = iter([object()])
    lanes.take(lambda: next(takes, None), 1)
    with pytest.raises(LaneLost, match="-9"):
        list(lanes.events(1))
