"""Which connections stay when there are too many."""

from __future__ import annotations

import gc
import resource
import time

import pytest

from api import connections
from api.connections import Connections, raise_descriptors


class Line:
    def __init__(self) -> None:
        self.in_hand = self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def opened(among: Connections, count: int) -> list[Line]:
    lines = [Line() for _ in range(count)]
    for line in lines:
        among.arrived(line)
        among.opened(line)
    return lines


def test_the_one_that_rests_longest_goes() -> None:
    among = Connections(3)
    first, second, third = opened(among, 3)
    among.rests(first)
    (fourth,) = opened(among, 1)
    assert [line.aborted for line in (first, second, third, fourth)] == [False, True, False, False]
    among.closed(third)
    opened(among, 1)
    assert not any(line.aborted for line in (first, third, fourth))


def test_what_is_answered_to_a_key_stays_and_then_the_new_one_goes() -> None:
    among = Connections(2)
    lines = opened(among, 2)
    for line in lines:
        line.in_hand = True
    (late,) = opened(among, 1)
    assert [line.aborted for line in (*lines, late)] == [False, False, True]
    lines[0].in_hand = False
    assert not opened(among, 1)[0].aborted
    assert lines[0].aborted


def test_handshakes_have_a_bound_and_end_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    among = Connections(2)
    shaking = [Line(), Line()]
    for line in shaking:
        among.arrived(line)
    with pytest.raises(ConnectionAbortedError):
        among.arrived(Line())
    del shaking[0], line
    gc.collect()
    among.arrived(late := Line())
    with pytest.raises(ConnectionAbortedError):
        among.arrived(Line())
    now = time.monotonic() + connections.ARRIVING_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: now)
    among.arrived(late)


def test_a_process_takes_the_descriptors_that_it_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: wanted.append(limits))
    raise_descriptors()
    assert wanted == [(4096, 4096)]
    assert Connections()._most == (1024 - 256) // 2
