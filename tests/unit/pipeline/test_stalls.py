"""Nothing moves: is a server at work, or is the link dead?"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.servers.process import wait_until
from tests.suite.running import Watch
from whimbrel.connectors import live_sessions
from whimbrel.errors import HostUnreachable, SourceInterrupted, TargetInterrupted
from whimbrel.model.job import Endpoint, Job, Role
from whimbrel.pipeline import stalls
from whimbrel.pipeline.stalls import Stalls


class Session:
    def __init__(self, operation: str, role: Role = "source") -> None:
        self.ended = False
        live_sessions.track(operation, role, self, Session.end)

    def end(self) -> None:
        self.ended = True


def silent() -> int:
    raise HostUnreachable("no answer")


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    for name, value in (("QUIET", 0.2), ("LOOK", 0.02), ("ANSWER", 0.1), ("TOLD", 0.3)):
        monkeypatch.setattr(stalls, name, value)
    return Watch()


def watching(
    tmp_path: Path, watch: Watch, source: stalls.Side, target: stalls.Side | None = None, operation: str = "op"
) -> Stalls:
    end = Endpoint("e", "mysql", {})
    found = Stalls(Job("m", operation, end, end, (), tmp_path), watch)
    found._sides = {"source": source} if target is None else {"source": source, "target": target}
    found.sign()
    return found


def test_dead_links_are_cut_and_the_step_ends(tmp_path: Path, watch: Watch) -> None:
    ours, anothers = Session("op"), Session("another")
    with watching(tmp_path, watch, source=lambda: 0, target=silent) as found:
        wait_until(lambda: ours.ended, 5, "the session to be cut")
        with pytest.raises(TargetInterrupted, match="neither server does anything") as caught:
            found.check()
        assert caught.value.retryable
    assert watch.troubles[0] is caught.value
    assert any("given up" in line for _, line in watch.lines)
    assert not anothers.ended


def test_a_server_that_hangs_in_the_answer_is_not_at_work(tmp_path: Path, watch: Watch) -> None:
    never = threading.Event()
    ours = Session("op")
    with watching(tmp_path, watch, source=lambda: 0, target=lambda: never.wait(5)):
        wait_until(lambda: ours.ended, 5, "the session to be cut")
    never.set()


@pytest.mark.parametrize("busy", ["source", "target"])
def test_a_server_at_work_may_take_as_long_as_it_likes(tmp_path: Path, watch: Watch, busy: str) -> None:
    ours = Session("op")
    sides = {"source": lambda: 0, "target": lambda: 0} | {busy: lambda: 1}
    with watching(tmp_path, watch, sides["source"], sides["target"]) as found:
        wait_until(lambda: len(watch.lines) > 1, 5, "two lines about it")
        found.check()
    assert not ours.ended
    assert f"the {busy} still works on it" in watch.lines[0][1]


def test_progress_keeps_everybody_from_being_asked(tmp_path: Path, watch: Watch) -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(1)
        return 0

    with watching(tmp_path, watch, source=ask) as found:
        signs = 0

        def signed() -> bool:
            nonlocal signs
            signs += 1
            found.sign()
            return signs > 20

        wait_until(signed, 10, "twenty signs", every=0.05)
        found.check()
    assert not asked


def test_before_the_first_sign_servers_may_rest_but_must_answer(tmp_path: Path, watch: Watch) -> None:
    asked: list[int] = []
    dead = threading.Event()

    def source() -> int:
        asked.append(1)
        return silent() if dead.is_set() else 0

    read, written = Session("op"), Session("op", "target")
    with watching(tmp_path, watch, source=source, target=lambda: 0) as found:
        found._sign = None
        wait_until(lambda: len(asked) > 2 * stalls.LOOKS, 5, "some looks")
        found.check()
        dead.set()
        wait_until(lambda: read.ended, 5, "the session to be cut")
        with pytest.raises(SourceInterrupted, match="the source does not answer"):
            found.check()
    assert not written.ended


def test_beside_a_target_that_cannot_be_asked_a_silent_source_is_given_up(tmp_path: Path, watch: Watch) -> None:
    """One that answers is not: the target may be at work, and the source at rest for as long."""
    dead = threading.Event()
    read, written = Session("op"), Session("op", "target")
    with watching(tmp_path, watch, source=lambda: silent() if dead.is_set() else 0, target=lambda: None) as found:
        wait_until(lambda: len(watch.lines) > 1, 5, "two lines about it")
        found.check()
        assert "the source does nothing for it; the target cannot be asked" in watch.lines[0][1]
        assert not read.ended
        dead.set()
        wait_until(lambda: read.ended, 5, "the session to be cut")
        with pytest.raises(SourceInterrupted, match="the source does not answer"):
            found.check()
    assert not written.ended


def test_a_dead_server_that_nobody_waits_for_stops_nothing(tmp_path: Path, watch: Watch) -> None:
    asked: list[int] = []

    def target() -> int:
        asked.append(1)
        return silent()

    read = Session("reads")
    with watching(tmp_path, watch, operation="reads", source=lambda: 0, target=target) as found:
        found._sign = None
        wait_until(lambda: len(asked) > 2 * stalls.LOOKS, 5, "some looks")
        found.check()
    assert not read.ended
    assert not watch.lines


def test_a_session_that_was_collected_is_forgotten() -> None:
    Session("gone")
    assert live_sessions.cut("gone") == 0
