"""What a load makes of an attempt before it that may still bring rows: nothing is recorded, and the table is empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.suite.running import Watch
from tests.unit.pipeline.ends import Progress, Server, Source, Target, World, table
from whimbrel.connectors.protocols import LoadState
from whimbrel.model.chunk import Chunk
from whimbrel.model.names import TableName
from whimbrel.model.table import Table
from whimbrel.pipeline.load import plan as load_plan
from whimbrel.pipeline.load.plan import TableWork, plan_load
from whimbrel.pipeline.pair import Pair

T = table("t", keyed=True)


@dataclass
class Announcing(Progress):
    """Where the load of a file and its record are two transactions."""

    announced: set[TableName] = field(default_factory=set)

    def state(self) -> LoadState:
        state = super().state()
        tables = {n: replace(load, announced=n in self.announced) for n, load in state.tables.items()}
        return replace(state, tables=tables)


@dataclass
class Emptied(Target):
    emptied: list[TableName] = field(default_factory=list)

    def truncate(self, epoch: int, source: TableName, target: TableName) -> None:
        super().truncate(epoch, source, target)
        self.emptied.append(target)


@dataclass
class Moved(Source):
    """Whose rows may lie elsewhere than when they were planned."""

    holds_plan: bool = True

    def plan_holds(self, table: Table, chunks: Sequence[Chunk]) -> bool:
        return self.holds_plan


def planned(*, announced: bool, resume: bool, holds_plan: bool = True) -> tuple[list[TableWork], list[TableName]]:
    server = Server(slots=False, tables={T.name: T}, rows={T.name: [(n, n) for n in range(4)]})
    world = World(server, named=(T.name,))
    source, target = Moved(world, holds_plan=holds_plan), Emptied(world)
    ledger = Announcing(operation="op", snapshots=1, kept=server.now)
    world.progress = ledger
    ledger.save_plan(1, T, source.plan(T, 1, 1))
    ledger.announced |= {T.name} if announced else set()
    pair = Pair(world.job("another"), source, target, (T,), (T,), {})  # type: ignore[arg-type]
    kept: Any = ledger
    work = plan_load(pair, Watch(), kept, 1, capture=True, resume=resume)
    return work, target.emptied


@pytest.fixture(autouse=True)
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_plan, "remove_packet", lambda folder: None)


@pytest.mark.parametrize("announced", [True, False])
def test_a_new_beginning_empties_it(announced: bool) -> None:
    _, emptied = planned(announced=announced, resume=False)
    assert emptied == [T.name] * announced


@pytest.mark.parametrize("announced", [True, False])
def test_another_plan_empties_it(announced: bool) -> None:
    (work,), emptied = planned(announced=announced, resume=True, holds_plan=False)
    assert emptied == [T.name] * announced
    assert not work.upsert


@pytest.mark.parametrize("announced", [True, False])
def test_a_second_snapshot_brings_rows_by_their_keys(announced: bool) -> None:
    (work,), emptied = planned(announced=announced, resume=True)
    assert (work.upsert, emptied) == (announced, [])
