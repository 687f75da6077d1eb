"""Which sequences of operations a user may run on one migration, and a model of what must be there after each.

A step is an operation (data, replication or data-replication, with resume or without), ended in the middle of its load
or once its changes are applied; a reset; or a table that is added or removed. The model says of each operation whether
it must run or be refused and by which error, and what the target holds afterwards. It knows neither how the ends are
made nor where they are: in memory (``ends``) or on servers.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from tests.unit.pipeline.ends import SHOP, Rows, Server, World, put, table
from tests.unit.pipeline.inprocess import Ending, Killed
from whimbrel.errors import (
    DataFailed,
    Interrupted,
    PositionLost,
    ReplicationFailed,
    TableNotLoaded,
    TargetNotEmpty,
    WhimbrelError,
)
from whimbrel.model.names import TableName
from whimbrel.pipeline.changes.replication import replicate
from whimbrel.pipeline.cleanup import clean_up
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.packet import data_is_complete
from whimbrel.pipeline.reset import reset_target

KEYED, KEYLESS, LATER, LOOSE = (TableName(SHOP, n) for n in ("keyed", "keyless", "later", "loose"))
TABLES = {n: table(n.table, keyed=n in (KEYED, LATER)) for n in (KEYED, KEYLESS, LATER, LOOSE)}


@dataclass(frozen=True)
class Kind:
    """A source that keeps its log for everybody, for a slot that outlives operations, or for one that does not."""

    slots: bool
    released: bool = False


KINDS = {"free log": Kind(False), "slot": Kind(True), "slot released": Kind(True, released=True)}


@dataclass(frozen=True)
class Operation:
    mode: str
    resume: bool
    after: int | None = None  # chunks, then killed; None: asked to leave once all changes are applied
    kill: bool = False

    def __str__(self) -> str:
        end = f"stopped after {self.after} chunks" if self.after is not None else "killed" if self.kill else "cancelled"
        return f"{self.mode} resume={self.resume} {end}"


@dataclass(frozen=True)
class Reset:
    mode: str


@dataclass(frozen=True)
class Name:
    table: TableName
    added: bool


Step = Operation | Reset | Name
MODES = ("data", "data-replication", "replication")
OPERATIONS = [
    Operation(mode, resume, after, after is not None)
    for mode in MODES
    for resume in (False, True)
    for after in ((None,) if mode == "replication" else (None, 3))
] + [Operation("replication", resume, kill=True) for resume in (False, True)]
OTHERS = [Reset("truncate"), Reset("metadata")]


# --- what must be there ---------------------------------------------------------------------------------------------


@dataclass
class Model:
    """What the migration is entitled to. ``at`` is the place in the log up to which the target is whole."""

    kind: Kind
    stored: str = "nothing"  # nothing, a load in 'part' or 'whole', or a mere 'position'
    at: int | None = None
    known: set[TableName] = field(default_factory=set)
    unloaded: set[TableName] = field(default_factory=set)  # of those known
    slot: bool = False
    ours: frozenset[TableName] = frozenset()  # loaded by it at some time: what a reset may empty

    def expects(self, step: Operation, world: World) -> type[WhimbrelError] | None:
        """The error that must refuse it; None when it must run."""
        new = {t.name for t in world.tables} - self.known
        if step.mode == "replication":
            if not step.resume:
                return None
            if self.stored == "nothing":
                return ReplicationFailed
            half = self.stored == "whole" and self.unloaded & {t.name for t in world.tables}
            if self.stored == "part" or new or half:
                return TableNotLoaded
            return None if self.held else PositionLost
        loading = self.stored in ("part", "whole") and step.resume
        capture = step.mode == "data-replication"
        if loading and self.stored == "whole":
            if new & {n for n, rows in world.target.items() if rows}:
                return TargetNotEmpty
            missing = new | self.unloaded
            if missing and not (capture and self.held and all(TABLES[n].key for n in missing)):
                return TableNotLoaded
            return None if not capture or self.held else PositionLost
        if loading and new & {n for n, rows in world.target.items() if rows}:
            return TargetNotEmpty
        if loading and self.mixes(step, world):  # a load whose rows are all there becomes whole, and is found too late
            return None if not capture or self.held else PositionLost
        ours = self.known if self.stored == "part" else set()
        foreign = {t.name for t in world.tables if world.target.get(t.name)} - ours
        return TargetNotEmpty if foreign else None

    def mixes(self, step: Operation, world: World) -> bool:
        """Whether a second snapshot completes the first."""
        missing = ({t.name for t in world.tables} - self.known) | self.unloaded & {t.name for t in world.tables}
        if not missing:
            return True
        return step.mode == "data-replication" and self.held and all(TABLES[n].key for n in missing)

    @property
    def held(self) -> bool:
        return self.at is not None and (self.slot or not self.kind.slots)


# --- doing it -------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    world: World
    model: Model
    held: dict[str, Any]
    steps: tuple[Step, ...] = ()

    def forks(self) -> Iterator[Run]:
        whole = pickle.dumps((self.world, self.model))
        while True:
            world, model = pickle.loads(whole)
            yield replace(self, world=world, model=model)

    def take(self, step: Step) -> None:
        self.steps += (step,)
        self.world.server.write()
        if isinstance(step, Name):
            left = tuple(n for n in self.world.named if n != step.table)
            self.world.named = (*left, step.table) if step.added else left
        elif isinstance(step, Reset):
            self.reset(step)
        else:
            self.operate(step)

    def told(self) -> str:
        return " / ".join(map(str, self.steps))

    def reset(self, step: Reset) -> None:
        self.held.update(world=self.world, control=Ending(kill=False, after=None))
        before = {t.name: self.world.target.get(t.name) for t in self.world.tables}
        result = reset_target(self.world.job(f"op{len(self.steps)}"), self.held["control"], step.mode)
        self.model = Model(self.model.kind, ours=self.model.ours)
        for name, rows in before.items():
            left = self.world.target.get(name)
            if step.mode == "metadata" or str(name) in result["tables_left"]:
                assert left == rows, self.told()
                assert step.mode == "metadata" or name not in self.model.ours, self.told()
            else:
                assert not left, self.told()

    def operate(self, step: Operation) -> None:
        world, model = self.world, self.model
        expected, before = model.expects(step, world), {n: list(rows) for n, rows in world.target.items()}
        names = {t.name for t in world.tables}
        goes_on = step.resume and expected is None and (step.mode == "replication" or model.stored != "position")
        goes_on = goes_on and (model.stored == "whole" or step.mode == "replication" or model.mixes(step, world))
        goes_on = goes_on and model.stored != "nothing"
        start = model.at if goes_on else len(world.server.log)
        end, error = self.run(step)
        assert (type(error) if error else None) is expected, f"{self.told()}: {error!r}, not {expected}"
        if error is not None:
            assert world.target == before, self.told()
            if isinstance(error, PositionLost):
                model.known &= names
                model.unloaded &= names
                model.stored = "whole" if model.stored == "part" else model.stored
            self.tidy(step)
            return
        if step.mode != "replication":
            model.ours |= names
        self.follow(step, end, before, start, goes_on=goes_on)
        if step.mode != "data" or not goes_on:
            model.slot = world.server.slot is not None
        self.tidy(step)

    def run(self, step: Operation) -> tuple[str, WhimbrelError | None]:
        control = self.ending(step)
        self.held.update(world=self.world, control=control)
        job = self.world.job(f"op{len(self.steps)}")
        try:
            if step.mode != "replication":
                capture = step.mode == "data-replication"
                if not (capture and step.resume and data_is_complete(job)):
                    copy_data(job, control, capture=capture, resume=step.resume)
                control.after = None
            if step.mode != "data":
                handoff = step.mode != "replication"
                replicate(job, control, resume=step.resume or handoff, position=None, handoff=handoff)
        except (Interrupted, Killed):
            return "ended", None
        except (WhimbrelError, DataFailed) as e:
            return "refused", e
        return "completed", None

    def ending(self, step: Operation) -> Ending:
        return Ending(kill=step.kill, after=step.after)

    def tidy(self, step: Operation) -> None:
        """Cancel and stop clean up behind an operation."""
        released = self.model.kind.released and step.mode != "data"
        clean_up(self.world.job(f"op{len(self.steps)}"), remove_capture=released)
        self.model.slot = self.world.server.slot is not None

    def follow(
        self, step: Operation, end: str, before: dict[TableName, Rows], start: int | None, *, goes_on: bool
    ) -> None:
        """Compare the target with what it must hold, and note what is stored now."""
        world, model = self.world, self.model
        names = {t.name for t in world.tables}
        progress = world.progress
        fresh = names - model.known if goes_on else names
        fresh = (fresh | model.unloaded) & names
        model.known = names
        if step.mode == "replication":
            model.stored = model.stored if step.resume else "position"
            fresh = set()
        elif end == "ended" and not self.held["control"].caught_up_with:  # in the middle of the load
            whole = model.stored == "whole" and goes_on
            model.stored = "whole" if whole else "part"
            model.unloaded = names - progress.finished
            model.at = progress.kept.order[0] if progress.kept else None
            return
        else:
            model.stored, model.unloaded = "whole", set()
        assert progress.kept is not None
        model.at = progress.kept.order[0]
        for name in names:
            if step.mode == "data":
                wanted = before[name] if name not in fresh else _as_of(world.server, name, model.at)
            elif name in fresh:
                wanted = world.server.rows[name]
            else:
                wanted = list(before.get(name, []))
                for changed, _, row in world.server.log[start:]:
                    if changed == name:
                        put(wanted, bool(TABLES[name].key), row)
            found = world.target.get(name, [])
            assert Counter(found) == Counter(wanted), f"{self.told()}: {name} has {found}, not {wanted}"


def _as_of(server: Server, name: TableName, place: int) -> Rows:
    rows: Rows = []
    for changed, _, row in server.log[:place]:
        if changed == name:
            put(rows, bool(server.tables[name].key), row)
    return rows


def begun(kind: Kind, held: dict[str, Any]) -> Run:
    world = World(Server(kind.slots, dict(TABLES)), named=(KEYED, KEYLESS))
    for _ in range(3):
        world.server.write()
    return Run(world, Model(kind), held)


def possible(run: Run) -> Iterator[Step]:
    yield from OPERATIONS
    yield from OTHERS
    for name in (LATER, LOOSE):
        if name not in run.world.named:
            yield Name(name, added=True)
    yield Name(KEYED, added=KEYED not in run.world.named)
