"""Cleaning up: one dead end does not keep the other, or the staged files, from being cleaned."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from whimbrel.connectors.protocols import LoadState, Retained, TableLoad
from whimbrel.errors import HostUnreachable
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.pipeline import cleanup
from whimbrel.pipeline.load.staging import Staging

TABLE = TableName("public", "a")
POSITION = Position("postgres", "s/1", "0/1", (1,))
KEPT = Retained(7, "reserved", None, "whimbrel_m")
NOTHING = LoadState(1, "op", POSITION, False, 1, {TABLE: TableLoad("f", (), {}, False)})


@dataclass
class End:
    """A source or target. ``dead``: it cannot be opened."""

    dead: bool = False
    state: LoadState = NOTHING
    cleaned: int = 0
    ended: int = 0
    numbered: int = 0
    has_kept: bool = True

    @contextmanager
    def opened(self, job: Job) -> Iterator[Any]:
        if self.dead:
            raise HostUnreachable(f"no answer from {'target' if self is TARGET else 'source'}")
        yield self

    def cleanup(self, job: Job) -> None:
        self.cleaned += 1

    def end_sessions(self, job: Job) -> None:
        self.ended += 1

    def retained(self, job: Job) -> Retained | None:
        return KEPT

    @property
    def finisher(self) -> End:
        return self

    def sequences(self, source: object, target: object, patience: int) -> None:
        self.numbered += 1

    def has_ledger(self) -> bool:
        return self.has_kept

    def ledger(self, migration: str) -> Any:
        return _Ledger(self.state)


@dataclass
class _Ledger:
    kept: LoadState

    def state(self) -> LoadState:
        return self.kept

    def close(self) -> None: ...


SOURCE, TARGET = End(), End()


@contextmanager
def _pair(job: Job) -> Iterator[Any]:
    with SOURCE.opened(job), TARGET.opened(job):
        yield SimpleNamespace(target=TARGET, tables=(), target_tables=())


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    for end in (SOURCE, TARGET):
        end.__init__()  # type: ignore[misc]  # as new
    monkeypatch.setattr(cleanup, "open_source", SOURCE.opened)
    monkeypatch.setattr(cleanup, "open_target", TARGET.opened)
    monkeypatch.setattr(cleanup, "open_pair", _pair)
    endpoint = Endpoint("e", "postgres", {})
    made = Job("m", "op", endpoint, endpoint, (TABLE,), tmp_path)
    Staging(made).open()
    return made


@pytest.mark.parametrize(("dead", "alive"), [(TARGET, SOURCE), (SOURCE, TARGET)], ids=["target", "source"])
def test_the_living_end_is_cleaned_and_the_dead_one_told(job: Job, dead: End, alive: End) -> None:
    dead.dead = True
    with pytest.raises(HostUnreachable, match="no answer from"):
        cleanup.clean_up(job)
    assert alive.cleaned + alive.ended == 1
    assert not Staging(job).folder.exists()


def test_two_dead_ends_are_both_told(job: Job) -> None:
    SOURCE.dead = TARGET.dead = True
    with pytest.raises(HostUnreachable, match="target; and no answer from source"):
        cleanup.clean_up(job)
    assert not Staging(job).folder.exists()


@pytest.mark.parametrize(
    ("state", "removed"),
    [
        (NOTHING, True),
        (replace(NOTHING, position=None, snapshots=0, tables={}), True),
        (replace(NOTHING, tables={TABLE: TableLoad("f", (), {0: 5}, False)}), False),
        (replace(NOTHING, data_complete=True), False),
        (replace(NOTHING, snapshots=0, tables={}), False),
        (replace(NOTHING, operation="an earlier one"), False),
        (replace(NOTHING, operation="", position=None, snapshots=0, tables={}), True),
        (replace(NOTHING, operation="an earlier one", position=None, snapshots=0, tables={}), True),
    ],
    ids=["no row", "no snapshot", "some rows", "all rows", "replication alone", "not ours", "never", "nothing stored"],
)
def test_a_slot_stays_only_where_something_can_be_resumed(job: Job, state: LoadState, removed: bool) -> None:
    TARGET.state = state
    assert cleanup.clean_up(job) == (None if removed else KEPT)
    assert (SOURCE.cleaned, SOURCE.ended) == (int(removed), int(not removed))


@pytest.mark.parametrize(
    ("state", "numbered"),
    [
        (NOTHING, 0),
        (replace(NOTHING, data_complete=True), 1),
        (replace(NOTHING, snapshots=0, tables={}), 1),
        (replace(NOTHING, data_complete=True, position=None), 0),
    ],
    ids=["half a load", "load and changes", "changes alone", "a load alone"],
)
def test_the_target_numbers_on_where_changes_were_followed(job: Job, state: LoadState, numbered: int) -> None:
    TARGET.state = state
    cleanup.clean_up(job)
    assert TARGET.numbered == numbered


def test_a_source_that_is_away_is_told_where_the_target_cannot_number_on(job: Job) -> None:
    TARGET.state = replace(NOTHING, data_complete=True)
    SOURCE.dead = True
    told: list[str] = []
    with pytest.raises(HostUnreachable):
        cleanup.clean_up(job, tell=told.append)
    assert told == ["sequences on the target were not moved: no answer from source"]


def test_a_target_that_holds_nothing_of_ours_gets_nothing(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    TARGET.has_kept = False
    monkeypatch.setattr(End, "ledger", None)
    cleanup.clean_up(job)
    assert (TARGET.cleaned, SOURCE.cleaned, SOURCE.ended) == (1, 0, 1)
