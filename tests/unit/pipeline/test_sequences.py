"""What one operation leaves, and what the next may take up of it: every sequence of up to three steps, in this process,
against the model of ``sequences``."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.unit.pipeline.ends import SHOP, Source
from tests.unit.pipeline.inprocess import Ending, connect
from tests.unit.pipeline.sequences import (
    KEYED,
    KEYLESS,
    KINDS,
    LATER,
    LOOSE,
    MODES,
    TABLES,
    Kind,
    Name,
    Operation,
    Reset,
    Step,
    begun,
    possible,
)
from whimbrel.model.names import TableName
from whimbrel.pipeline.scope import Newcomers

EVERYTHING = TableName(SHOP, "*")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    connect(monkeypatch, found)
    return found


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_sequence_of_three(kind: Kind, held: dict[str, Any]) -> None:
    runs = [begun(kind, held)]
    for length in (1, 2, 3):
        longer = []
        for run in runs:
            forks = run.forks()
            for step in possible(run):
                if length == 3 and not isinstance(step, Operation):
                    continue  # nothing would look at what it leaves
                forked = next(forks)
                forked.take(step)
                longer.append(forked)
        runs = longer
    assert len(runs) > 1000


@pytest.mark.parametrize("last", ["replication", "data-replication"])
def test_a_table_that_was_away_is_no_longer_known(last: str, held: dict[str, Any]) -> None:
    """Longer than three: what changed while nobody followed it is missing."""
    for kind in KINDS.values():
        run = begun(kind, held)
        run.take(Operation("data-replication", resume=False))
        for step in (Name(KEYED, added=False), Operation("replication", resume=True), Name(KEYED, added=True)):
            run.take(step)
        run.take(Operation(last, resume=True))


def test_a_table_that_joined_and_is_half_loaded_is_not_followed(held: dict[str, Any]) -> None:
    for kind in KINDS.values():
        run = begun(kind, held)
        run.take(Operation("data-replication", resume=False))
        run.take(Name(LATER, added=True))
        run.take(Operation("data-replication", resume=True, after=1, kill=True))
        run.take(Operation("replication", resume=True))


def test_longer_ones_too(held: dict[str, Any]) -> None:
    machine: Any = partial(Sequences, held)
    run_state_machine_as_test(machine, settings=settings(max_examples=30, stateful_step_count=10, deadline=None))


class Sequences(RuleBasedStateMachine):
    def __init__(self, held: dict[str, Any]) -> None:
        super().__init__()
        self.held = held
        self.runs = {name: begun(kind, held) for name, kind in KINDS.items()}

    def take(self, step: Step) -> None:
        for run in self.runs.values():
            run.take(step)

    @rule(mode=st.sampled_from(MODES), resume=st.booleans(), after=st.none() | st.integers(1, 8), kill=st.booleans())
    def operate(self, mode: str, resume: bool, after: int | None, kill: bool) -> None:
        self.take(Operation(mode, resume, None if mode == "replication" else after, kill))

    @rule(mode=st.sampled_from(["truncate", "metadata"]))
    def reset(self, mode: str) -> None:
        self.take(Reset(mode))

    @rule(table=st.sampled_from(list(TABLES)), added=st.booleans())
    def name(self, table: TableName, added: bool) -> None:
        named = next(iter(self.runs.values())).world.named
        if added != (table in named) and (added or len(named) > 1):
            self.take(Name(table, added))


# --- tables that nobody named ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["replication", "data-replication"])
def test_a_table_made_later_under_a_pattern_is_told_of_and_left_out(mode: str, held: dict[str, Any]) -> None:
    """Whoever goes on without being asked, as after a worker's death, must not fail because of it."""
    run = begun(KINDS["slot"], held)
    run.world.server.tables = {n: TABLES[n] for n in (KEYED, KEYLESS)}
    run.world.named = (EVERYTHING,)
    run.take(Operation("data-replication", resume=False))
    run.world.server.tables = dict(TABLES)
    run.world.absent = {LATER, LOOSE}
    run.world.server.write()
    assert run.run(Operation(mode, resume=True)) == ("ended", None)
    lines = [line for _, line in held["control"].lines]
    assert [n for n in (LATER, LOOSE) if any(f"{n} was made on the source since" in line for line in lines)]
    assert {n: Counter(run.world.target[n]) for n in (KEYED, KEYLESS)} == {
        n: Counter(run.world.server.rows[n]) for n in (KEYED, KEYLESS)
    }


def test_it_is_loaded_beside_the_others_where_it_can_be(held: dict[str, Any]) -> None:
    run = begun(KINDS["slot"], held)
    run.world.server.tables = {n: TABLES[n] for n in (KEYED, KEYLESS)}
    run.world.named = (EVERYTHING,)
    run.take(Operation("data-replication", resume=False))
    run.world.server.tables = dict(TABLES)
    run.world.server.write()
    assert run.run(Operation("data-replication", resume=True)) == ("ended", None)
    assert Counter(run.world.target[LATER]) == Counter(run.world.server.rows[LATER])
    assert LOOSE not in run.world.target
    assert any(f"{LOOSE} was made on the source since; it is not loaded" in line for _, line in held["control"].lines)


def test_it_is_told_of_while_changes_are_followed(held: dict[str, Any]) -> None:
    run = begun(KINDS["free log"], held)
    run.world.named = (EVERYTHING,)
    source: Any = Source(run.world)
    control = Ending(kill=False, after=None)
    newcomers = Newcomers(source, run.world.job("op"), [TABLES[KEYED], TABLES[KEYLESS], TABLES[LATER]], control, 0)
    for _ in range(2):
        newcomers.look()
    assert [line.split(";")[0] for _, line in control.lines] == [f"warning: {LOOSE} was made on the source since"]
