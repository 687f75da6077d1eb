"""What one operation leaves, and what the next may take up of it, on real servers: drawn sequences of four steps, from
fixed seeds, against the model of ``tests.unit.pipeline.sequences``.

Where the target stands and what it holds is read by the servers' own clients.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import running_server
from tests.engines import Side, side_of
from tests.servers.fleet import SERVERS, Fleet
from tests.servers.process import wait_until
from tests.suite.running import position_order
from tests.unit.pipeline.ends import SHOP, Rows, Server, World
from tests.unit.pipeline.inprocess import Ending, Killed
from tests.unit.pipeline.sequences import KEYED, KEYLESS, KINDS, TABLES, Model, Operation, Run, Step, possible
from whimbrel.errors import Interrupted
from whimbrel.model.change import INSERT
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.progress import ChangeProgress, TablePhase, TableProgress

SEQUENCES = 60
LENGTH = 4
BRIEF = 3  # of the sixty, in `make test`
BEFORE = 4  # writes before the first step
PAD = "x" * 2600  # three rows a block: a few rows are a few chunks
_numbers = itertools.count(1)


def _place(side: Side, *, before: bool) -> tuple[int, ...]:
    """Where the source's log ends: a point that is not behind what is committed next, or not before what was last."""
    if not side.is_postgres:
        file, offset = side.run("show binary log status").split("\t")[:2]
        return position_order(f"{file}:{offset}")
    return position_order(side.run(f"select pg_current_wal_{'insert' if before else 'flush'}_lsn()").strip())


class Writer(Server):
    """The source: what is written goes to the server, and is noted with the place in its log."""

    def __init__(self, side: Side) -> None:
        self.side, self.slots, self.tables = side, side.is_postgres, dict(TABLES)
        self.rows, self.log, self.numbers = {}, [], itertools.count(1)
        self.written: list[tuple[tuple[int, ...], int]] = []  # where a transaction begins at the earliest, what it ends

    def write(self) -> None:
        before, already = _place(self.side, before=True), len(self.log)
        super().write()
        statements = [
            f"insert into {name} (id, v) values ({n}, {v})"
            if op == INSERT
            else f"update {name} set v = {v} where id = {n}"
            for name, op, (n, v) in self.log[already:]
        ]
        self.side.run("begin;" + ";".join(statements) + ";commit")
        self.written.append((before, len(self.log)))

    def length_at(self, place: tuple[int, ...]) -> int:
        """How much of ``log`` lies before a place."""
        return max((end for before, end in self.written if before < place), default=0)

    @property
    def slot(self) -> int | None:  # type: ignore[override]
        query = f"select count(*) from pg_replication_slots where database = '{self.side.database}'"
        return 0 if self.side.is_postgres and self.side.run(query).strip() != "0" else None


class Moved(World):
    """Both ends on servers."""

    server: Writer

    def __init__(self, source: Side, target: Side, workdir: Path) -> None:
        self.server, self.end, self.workdir = Writer(source), target, workdir
        self.named, self.absent = (KEYED, KEYLESS), set()
        self.migration = f"sequence{next(_numbers)}"
        for side in (source, target):
            side.run(f"create schema {SHOP}" if side.is_postgres else f"create database {SHOP}")
            for name, table in TABLES.items():
                key = ", primary key (id)" if table.key else ""
                side.run(f"create table {name} (id int not null, v int, pad varchar(3000) default '{PAD}'{key})")
                if side.is_postgres:
                    side.run(f"alter table {name} alter pad set storage plain, replica identity full")
        for _ in range(BEFORE):
            self.server.write()

    def job(self, operation: str) -> Job:
        ends = (self.server.side.endpoint("source"), self.end.endpoint("target"))
        return Job(self.migration, operation, *ends, self.named, self.workdir, threads=1, rows_per_file=2)

    @property
    def target(self) -> dict[TableName, Rows]:  # type: ignore[override]
        parts = (f"select '{name.table}', id, v, length(pad) from {name}" for name in TABLES)
        held: dict[TableName, Rows] = {name: [] for name in TABLES}
        for line in self.end.run(" union all ".join(parts) + " order by 1, 2, 3").splitlines():
            name, *values = line.replace("|", "\t").split("\t")
            n, v, length = map(int, values)
            assert length == len(PAD)
            held[TableName(SHOP, name)].append((n, v))
        return held

    @property
    def progress(self) -> Any:  # type: ignore[override]
        """What the next operation finds: whose chunks are all there, and how much of the log is applied."""
        ours = f"where migration = '{self.migration}'"
        whole = self.end.run(
            f"select source_table from whimbrel.chunks c {ours} group by source_schema, source_table having count(*) = "
            f"(select count(*) from whimbrel.loaded l {ours} and l.source_table = c.source_table)"
        )
        text = "json_value(position, '$.text')" if not self.end.is_postgres else "position::json->>'text'"
        at = self.end.run(f"select coalesce({text}, '') from whimbrel.progress {ours}").strip()
        kept = SimpleNamespace(order=(self.server.length_at(position_order(at)),)) if at else None
        return SimpleNamespace(finished={TableName(SHOP, t) for t in whole.split()}, kept=kept)


class Told(Ending):
    """Ends an operation by what it tells of itself, and writes to the source when its snapshot stands and when its
    changes begin to be followed."""

    def __init__(self, server: Writer, *, kill: bool, after: int | None) -> None:
        super().__init__(kill=kill, after=after)
        self.server = server
        self.until: tuple[int, ...] | None = None

    @property
    def _building(self) -> bool:
        return any(t.status == TablePhase.INDEXING.value for t in self.tables.values())

    def check(self) -> None:
        if not self._building:
            super().check()

    def pause_wanted(self) -> bool:
        return self.after == 0  # nothing more is begun

    def phase(self, name: str) -> None:
        super().phase(name)
        if name == "data":
            self.server.write()
        if name == "indexes" and self.after == 0:
            wait_until(lambda: not self._building, 30, "indexes of the last table")
            raise Killed if self.kill else Interrupted

    def table(self, progress: TableProgress) -> None:
        before = self.tables.get(progress.table)
        super().table(progress)
        if before and before.files_done < progress.files_done and self.after:
            self.chunk_loaded()

    def change(self, progress: ChangeProgress) -> None:
        super().change(progress)
        if self.until is None:
            self.server.write()
            self.until = _place(self.server.side, before=False)
        elif progress.lag_bytes == progress.lag_seconds == 0:
            self.caught_up_with = position_order(progress.source_position) >= self.until


@dataclass
class OnServers(Run):
    def ending(self, step: Operation) -> Ending:
        assert isinstance(self.world, Moved)
        return Told(self.world.server, kill=step.kill, after=step.after)


def drawn(run: Run, draw: random.Random) -> Iterator[Step]:
    """Steps of all kinds, operations twice as often as others; the last is an operation, which sees what is left."""
    for number in range(LENGTH):
        steps = list(possible(run))
        operations = [s for s in steps if isinstance(s, Operation)]
        others = [s for s in steps if not isinstance(s, Operation)]
        step = draw.choice(operations if number == LENGTH - 1 or draw.random() < 0.65 else others)
        if isinstance(step, Operation):
            after = step.after and draw.randint(1, 5)
            step = Operation(step.mode, step.resume, after, kill=draw.random() < 0.5)
        yield step


@pytest.fixture(params=[("postgres18", "mysql"), ("mysql", "postgres18")], ids=lambda pair: "-".join(pair))
def ends(request: pytest.FixtureRequest, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Side, Side]]:
    source, target = (
        side_of(running_server(fleet, name), SERVERS[name], f"sequences_{role}", SHOP)
        for name, role in zip(request.param, ("source", "target"), strict=True)
    )
    monkeypatch.setattr("whimbrel.pipeline.load.lanes.IN_HAND", 1)  # "after so many chunks" is exact
    for side in (source, target):
        side.drop_leftovers()
    yield source, target
    for side in (source, target):
        side.drop_leftovers()


@pytest.mark.parametrize(
    "seed", [n if n < BRIEF else pytest.param(n, marks=pytest.mark.long) for n in range(SEQUENCES)]
)
def test_sequences(ends: tuple[Side, Side], seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    kind = "free log" if not ends[0].is_postgres else draw.choice(["slot", "slot released"])
    run = OnServers(Moved(*ends, tmp_path), Model(KINDS[kind]), {})
    for step in drawn(run, draw):
        run.take(step)
    print(f"{kind}: {run.told()}")
