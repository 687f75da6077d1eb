"""A comparison that is not wanted any more ends on both sides, whatever one of them does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from whimbrel.errors import Interrupted, SourceInterrupted
from whimbrel.model.job import Endpoint, Job
from whimbrel.pipeline.validation import sides as comparing
from whimbrel.pipeline.validation.sides import Lines, open_lines

BOUND = 1.0


@dataclass
class Side:
    """Answers when it is cancelled; ``deaf`` ones do not hear the first so many."""

    error: Exception | None = None
    deaf: int = 0
    hangs: bool = False
    cancelled: int = 0
    closed: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    def ask(self) -> None:
        assert self.over.wait(60)

    def cancel(self) -> None:
        self.cancelled += 1
        if self.hangs:
            self.over.wait(60)
        if self.error is not None:
            raise self.error
        if self.cancelled > self.deaf:
            self.over.set()

    def close(self) -> None:
        self.closed = True


def _cancelled() -> None:
    raise Interrupted


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "CANCEL_SECONDS", BOUND)
    monkeypatch.setattr(comparing, "_AGAIN_SECONDS", 0.1)


@pytest.fixture
def sides() -> Iterator[list[Side]]:
    made: list[Side] = []
    yield made
    for side in made:
        side.over.set()


def _waited(source: Side, target: Side) -> Lines:
    threads = ThreadPoolExecutor(2)
    lines = Lines(source, target, _cancelled, lambda: None, threads)  # type: ignore[arg-type]
    began = time.monotonic()
    with pytest.raises(Interrupted):
        lines.wait(*(threads.submit(side.ask) for side in (source, target)))
    assert time.monotonic() - began < BOUND + 5
    return lines


@pytest.mark.parametrize(
    "broken",
    [Side(error=SourceInterrupted("no way there")), Side(error=ValueError("closed")), Side(hangs=True)],
    ids=["refused", "of a driver", "hangs"],
)
def test_a_source_that_cannot_be_cancelled_keeps_nobody_from_the_target(broken: Side, sides: list[Side]) -> None:
    source, target = replace(broken, over=threading.Event()), Side()
    sides += [source, target]
    assert _waited(source, target).silent
    assert target.cancelled > 0
    assert target.over.is_set()


def test_a_cancel_between_two_statements_is_sent_again(sides: list[Side]) -> None:
    source, target = Side(deaf=2), Side()
    sides += [source, target]
    assert not _waited(source, target).silent
    assert source.cancelled == 3


def test_lines_are_left_and_closed_though_a_side_never_answers(
    sides: list[Side], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, target = Side(), Side(error=SourceInterrupted("no way there"))
    sides += [source, target]

    class Engine:
        def open_comparison(self, endpoint: Endpoint, operation: str, role: str) -> Any:
            return source if role == "source" else target

    monkeypatch.setattr(comparing, "engine", lambda type: Engine())
    nowhere = Endpoint("nowhere", "postgres", {})
    job = Job("m", "op-lines", nowhere, nowhere, (), tmp_path)
    began = time.monotonic()
    with pytest.raises(Interrupted), open_lines(job, _cancelled, lambda: None) as lines:
        lines.wait(*(lines.threads.submit(side.ask) for side in (source, target)))
    assert time.monotonic() - began < BOUND + 5
    assert (source.closed, target.closed) == (True, True)
