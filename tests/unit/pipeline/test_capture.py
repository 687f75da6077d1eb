"""What the applier hears of a capture process that has ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from whimbrel.errors import LayoutChanged
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.position import Position
from whimbrel.pipeline.capture import Applied, Capture, CaptureSpec, Failed

HERE = Position("postgres", "s", "0/10", (16,))


def test_the_last_word_is_heard_after_a_segment_was_given_back() -> None:
    nowhere = Endpoint("e", "postgres", {})
    capture = Capture(CaptureSpec(Job("m", "op", nowhere, nowhere, (), Path("unused")), (), HERE))
    capture.applied(HERE)
    assert capture._theirs.recv() == Applied(HERE)
    capture.applied(HERE)
    capture._theirs.send(Failed(LayoutChanged("s.t: changed")))
    capture._theirs.close()
    capture.applied(HERE)
    with pytest.raises(LayoutChanged, match=r"s\.t"):
        capture.receive(5)
