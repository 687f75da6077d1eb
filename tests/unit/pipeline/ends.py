"""A source and a target in memory, which the pipeline moves between without a process, a file or a server.

They do what the protocols promise and no more: a loader that meets a key twice fails, rows without a key are added as
often as they come, a slot sends what was published when it was written, and what a slot has let go is gone.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa

from whimbrel.connectors.protocols import LoadState, Pace, TableLoad
from whimbrel.errors import ValueRefused
from whimbrel.model.change import INSERT, UPDATE, Segment, TableChanges
from whimbrel.model.chunk import Chunk
from whimbrel.model.difference import Difference
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Column, ColumnType, Table
from whimbrel.pipeline.load.lane import Take

Rows = list[tuple[int, int]]  # (id, v)
SHOP = "shop"
_COLUMNS = tuple(Column(name, ColumnType(pa.int32(), "int")) for name in ("id", "v"))


def table(name: str, *, keyed: bool) -> Table:
    return Table(TableName(SHOP, name), _COLUMNS, primary_key=("id",) if keyed else ())


def put(rows: Rows, keyed: bool, row: tuple[int, int]) -> None:
    """A change arrives: over the row of its key, or beside all others."""
    if keyed:
        rows[:] = [r for r in rows if r[0] != row[0]]
    rows.append(row)


@dataclass
class Server:
    """The source. ``log`` has (table, op, row); a position is how many of them lie before it.

    ``slots``: the log is kept for whoever has a slot, as PostgreSQL does; without, it is kept for everybody.
    """

    slots: bool
    tables: dict[TableName, Table]
    rows: dict[TableName, Rows] = field(default_factory=dict)
    log: list[tuple[TableName, int, tuple[int, int]]] = field(default_factory=list)
    slot: int | None = None
    published: dict[TableName, int] = field(default_factory=dict)  # from which place of the log on
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def write(self) -> None:
        """A new row in every table, and an old one changed where there is a key."""
        for name, what in self.tables.items():
            rows, n = self.rows.setdefault(name, []), next(self.numbers)
            changed = [(UPDATE, (rows[n % len(rows)][0], n))] if what.key and rows else []
            for op, row in [(INSERT, (n, n)), *changed]:
                put(rows, bool(what.key), row)
                self.log.append((name, op, row))

    def at(self, place: int) -> Position:
        return Position("postgres" if self.slots else "mysql", "s", str(place) if place else "start", (place,))

    @property
    def now(self) -> Position:
        return self.at(len(self.log))


@dataclass
class Progress:
    """What a target keeps of a migration; see ``protocols.Ledger``."""

    epoch: int = 0
    operation: str = ""
    kept: Position | None = None
    complete: bool = False
    snapshots: int = 0
    plans: dict[TableName, tuple[Chunk, ...]] = field(default_factory=dict)
    loaded: dict[TableName, dict[int, int]] = field(default_factory=dict)
    finished: set[TableName] = field(default_factory=set)
    layouts: dict[TableName, str] = field(default_factory=dict)
    ours: set[TableName] = field(default_factory=set)

    def claim(self) -> int:
        self.epoch += 1
        return self.epoch

    def state(self) -> LoadState:
        plans = {
            name: TableLoad(self.layouts[name], chunks, dict(self.loaded.get(name, {})), name in self.finished)
            for name, chunks in self.plans.items()
        }
        return LoadState(
            self.epoch, self.operation, self.kept, self.complete, self.snapshots, plans, dict(self.layouts)
        )

    def clear(self, epoch: int, operation: str) -> None:
        self.__init__(self.epoch, operation, ours=self.ours)  # type: ignore[misc]

    def restart(self, epoch: int, operation: str, position: Position, tables: Sequence[Table]) -> None:
        self.__init__(self.epoch, operation, position, ours=self.ours)  # type: ignore[misc]
        self.save_layouts(epoch, tables)

    def forget(self, epoch: int, tables: Sequence[TableName]) -> None:
        for name in tables:
            self.finished.discard(name)
            for kept in (self.plans, self.loaded, self.layouts):
                kept.pop(name, None)

    def save_plan(self, epoch: int, table: Table, chunks: Sequence[Chunk]) -> None:
        self.forget(epoch, [table.name])
        self.plans[table.name] = tuple(chunks)
        self.layouts[table.name] = table.fingerprint

    def save_layouts(self, epoch: int, tables: Sequence[Table]) -> None:
        self.layouts |= {t.name: t.fingerprint for t in tables}

    def own(self, tables: Sequence[TableName]) -> None:
        self.ours.update(tables)

    def owned(self) -> frozenset[TableName]:
        return frozenset(self.ours)

    def disown(self, tables: Sequence[TableName]) -> None:
        self.ours.difference_update(tables)

    def snapshot_opened(self, epoch: int, position: Position, *, keep_older: bool) -> None:
        self.snapshots += 1
        self.kept = self.kept if keep_older and self.kept is not None else position

    def table_finished(self, epoch: int, table: TableName) -> None:
        self.finished.add(table)

    def data_complete(self, epoch: int) -> None:
        self.complete = True

    def position(self) -> Position | None:
        return self.kept

    def set_position(self, epoch: int, position: Position) -> None:
        self.kept = position

    def close(self) -> None: ...


@dataclass
class World:
    """Both ends, and the migration between them as its user has defined it."""

    server: Server
    target: dict[TableName, Rows] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    named: tuple[TableName, ...] = ()
    absent: set[TableName] = field(default_factory=set)  # tables that the target does not have

    def job(self, operation: str) -> Job:
        end = Endpoint("e", "postgres" if self.server.slots else "mysql", {})
        return Job("m", operation, end, replace(end, type="postgres"), self.named, Path("unused"), threads=1)

    @property
    def tables(self) -> tuple[Table, ...]:
        """What the migration's names stand for on the source now."""
        wanted: dict[TableName, None] = {}
        for name in self.named:
            wanted |= dict.fromkeys(self.server.tables) if name.is_pattern else {name: None}
        return tuple(self.server.tables[name] for name in wanted)


@dataclass
class Source:
    """See ``protocols.Source``."""

    world: World

    def resolve(self, patterns: Sequence[TableName]) -> tuple[TableName, ...]:
        return tuple(t.name for t in self.world.tables)

    def reflect(self, tables: Sequence[TableName]) -> tuple[Table, ...]:
        return tuple(self.world.server.tables[n] for n in tables)

    def plan(self, table: Table, rows_per_file: int, chunk_bytes: int) -> tuple[Chunk, ...]:
        """Two halves by number, the second one open-ended."""
        numbers = sorted(n for n, _ in self.world.server.rows[table.name])
        middle = numbers[len(numbers) // 2]
        return Chunk(table.name, 0, [None, middle], 1, 1), Chunk(table.name, 1, [middle, None], 1, 1)

    def plan_holds(self, table: Table, chunks: Sequence[Chunk]) -> bool:
        return True

    def check_capture(self, tables: Sequence[Table]) -> None: ...

    def require_unchanged(self, job: Job, tables: Sequence[Table]) -> None: ...

    def accept_columns(self, job: Job, tables: Sequence[Table]) -> tuple[TableName, ...]:
        return ()

    def open_snapshot(self, job: Job, tables: Sequence[Table], *, capture: bool, lanes: int) -> Any:
        server = self.world.server
        place = len(server.log)
        if capture and server.slots:
            place = self.prepare_changes(job, tables).order[0]
        view = {name: list(rows) for name, rows in server.rows.items()}
        calls = dict.fromkeys(("close", "release", "keepalive", "lane_opened"), nothing)
        return SimpleNamespace(**calls, position=server.at(place), token=view)

    def prepare_changes(self, job: Job, tables: Sequence[Table]) -> Position:
        server = self.world.server
        if not server.slots:
            return server.now
        if server.slot is None:
            server.slot, server.published = len(server.log), {}
        server.published = {t.name: server.published.get(t.name, len(server.log)) for t in tables}
        return server.at(server.slot)

    def holds(self, job: Job, position: Position) -> bool:
        server = self.world.server
        return not server.slots or (server.slot is not None and server.slot <= position.order[0])

    def current_position(self) -> Position:
        return self.world.server.now

    def retained(self, job: Job) -> None: ...

    def expires_in(self, position: Position) -> None: ...

    def end_sessions(self, job: Job) -> None: ...

    def cleanup(self, job: Job) -> None:
        self.world.server.slot, self.world.server.published = None, {}

    def close(self) -> None: ...


@dataclass
class Target:
    """See ``protocols.Target``, and the loader and applier of it."""

    world: World
    pending: list[Segment] = field(default_factory=list)
    pace: Pace = field(default_factory=Pace)
    finisher: None = None

    def existing(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        return tuple(n for n in names if n not in self.world.absent)

    def nonempty(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        return tuple(n for n in names if self.world.target.get(n))

    def has_ledger(self) -> bool:
        return True

    def ledger(self, migration: str) -> Progress:
        return self.world.progress

    def differences(self, tables: Sequence[Table]) -> tuple[Difference, ...]:
        return ()

    def reset(self, names: Sequence[TableName], mode: str) -> tuple[int, int]:
        for name in names:
            self.world.target.pop(name, None)
        return len(names), 0

    def cleanup(self, job: Job) -> None: ...

    def close(self) -> None: ...

    def open_loader(self, job: Job) -> Target:
        return self

    def truncate(self, epoch: int, source: TableName, target: TableName) -> None:
        self.world.target[target] = []
        self.world.progress.loaded.pop(source, None)

    def load(self, what: Table, take: Take, view: Mapping[TableName, Rows]) -> int:
        low, high = take.chunk.bounds
        rows = [r for r in view[what.name] if (low is None or r[0] >= low) and (high is None or r[0] < high)]
        held = self.world.target.setdefault(what.name, [])
        for row in rows:
            if what.key and not take.upsert and any(row[0] == r[0] for r in held):
                raise ValueRefused(f"{what.name}: a row with key {row[0]} is there")
            put(held, bool(what.key), row)
        self.world.progress.loaded.setdefault(what.name, {})[take.chunk.number] = len(rows)
        return len(rows)

    def open_applier(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Target:
        return self

    def apply(self, segment: Segment, refetch: object) -> None:
        self.pending.append(segment)

    def commit(self, epoch: int, position: Position) -> None:
        for step in itertools.chain.from_iterable(s.steps for s in self.pending):
            assert isinstance(step, TableChanges)
            rows, keyed = self.world.target.setdefault(step.table, []), bool(self.world.server.tables[step.table].key)
            for n, v in zip(*(step.data[c].to_pylist() for c in ("id", "v")), strict=True):
                put(rows, keyed, (int(n), int(v)))
        self.pending.clear()
        self.world.progress.set_position(epoch, position)

    def rollback(self) -> None:
        self.pending.clear()


def nothing(*_: object, **__: object) -> None: ...
