"""The log that a source keeps: sampled now and then, warned of once, and no reason to fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from tests.suite.running import Watch
from whimbrel.connectors.protocols import Retained, Source
from whimbrel.errors import SourceInterrupted, WhimbrelError
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.position import Position
from whimbrel.pipeline.retention import Expiry, Retention

END = Endpoint("e", "postgres", {})
JOB = Job("m", "op", END, END, (), Path("unused"))
SAFE, NEAR = Retained(10, "reserved"), Retained(90, "unreserved", "it is about to be lost")


class Answers:
    """A source that gives these answers in turn."""

    def __init__(self, *answers: Retained | WhimbrelError | None) -> None:
        self.left = list(answers)

    def retained(self, job: Job) -> Retained | None:
        assert job is JOB
        answer = self.left.pop(0)
        if isinstance(answer, WhimbrelError):
            raise answer
        return answer


def looked(*answers: Retained | WhimbrelError | None) -> Watch:
    watch = Watch()
    retention = Retention(cast(Source, cast(Any, Answers(*answers))), JOB, watch, every=0)
    for _ in answers:
        retention.look()
    return watch


def test_a_danger_is_told_once_and_when_it_is_over() -> None:
    watch = looked(SAFE, NEAR, Retained(95, "unreserved", "it is about to be lost"), SAFE, SAFE, NEAR)
    assert watch.kept == 90
    assert watch.lines == [
        ("extractor", "warning: it is about to be lost"),
        ("extractor", "the source keeps 10 bytes of log for us, which is safe again"),
        ("extractor", "warning: it is about to be lost"),
    ]


def test_a_source_that_keeps_its_log_for_nobody() -> None:
    watch = looked(None, None)
    assert (watch.kept, watch.lines) == (None, [])


def test_what_cannot_be_asked_is_said_once_and_fails_nothing() -> None:
    watch = looked(SourceInterrupted("no answer"), SourceInterrupted("no answer"), SAFE)
    assert watch.kept == 10
    assert watch.lines == [("extractor", "how much log the source keeps for us is not known: no answer")]


def test_it_asks_no_more_often_than_it_should() -> None:
    source = Answers(SAFE, NEAR)
    retention = Retention(cast(Source, cast(Any, source)), JOB, Watch(), every=60)
    retention.look()
    retention.look()
    assert source.left == [NEAR]


class Ages:
    """A source whose log behind the position has so many seconds left, in turn."""

    def __init__(self, *left: float | None) -> None:
        self.left = list(left)

    def expires_in(self, position: Position) -> float | None:
        assert position is HERE
        return self.left.pop(0)


HERE = Position("mysql", "s", "binlog.000001:4", (1, 4))


def test_an_age_is_warned_of_once_at_each_bound() -> None:
    left = (None, 9000.0, 3500.0, 3400.0, 800.0, 790.0, 0.0, 90_000.0, 100.0)
    watch = Watch()
    expiry = Expiry(cast(Source, cast(Any, Ages(*left))), watch, every=0)
    for _ in left:
        expiry.look(lambda: HERE)
    told = [line for _, line in watch.lines]
    assert [line.partition(" the log")[0] for line in told if line.startswith("warning: ")] == [
        "warning: the source may remove in 58 minutes",
        "warning: the source may remove in 13 minutes",
        "warning: the source may remove at any moment",
        "warning: the source may remove in 100 s",
    ]
    assert told[3] == "the log that is not applied yet is not about to be removed any more"
