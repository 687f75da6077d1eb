"""What a stand-in stumbles over fails the tests that ran on it, at their end."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.servers.fleet import Fleet
from tests.servers.process import Process

TOLD = "ready\nTraceback (most recent call last):\n  File x\nKeyError: 'y'\n"


@pytest.mark.parametrize(
    ("name", "told", "fails"), [("snowflake", TOLD, True), ("snowflake", "ready\n", False), ("mysql", TOLD, False)]
)
def test_a_traceback_of_a_stand_in_is_told_when_it_is_stopped(
    tmp_path: Path, name: str, told: str, fails: bool
) -> None:
    log = tmp_path / "server.log"
    log.write_text(told)
    fleet, stopped = Fleet(frozenset(), {}), []
    running: Any = SimpleNamespace(process=Process([], log), stop=lambda: stopped.append(name))
    fleet._running[name] = running
    with pytest.raises(AssertionError, match="KeyError: 'y'") if fails else nullcontext(), fleet:
        pass
    assert stopped == [name]
