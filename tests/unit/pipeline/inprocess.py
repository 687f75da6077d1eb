"""Runs whole steps of the pipeline in this process and thread, between the ends of ``ends``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from tests.suite.running import Watch
from tests.unit.pipeline.ends import Rows, Source, Target, World, nothing
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.errors import Interrupted, PositionLost
from whimbrel.model.change import Segment
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.pipeline import cleanup, packet, reset
from whimbrel.pipeline.changes import replication
from whimbrel.pipeline.load import data
from whimbrel.pipeline.load.lane import Extracted, Loaded, Take
from whimbrel.pipeline.pair import Pair


class Killed(BaseException):
    """The process is gone: nothing is ended gracefully."""


class Ending(Watch):
    """Ends an operation: ``after`` so many loaded chunks of a load, or once its changes are applied; as one that is
    asked to leave does, or ``kill``ed."""

    def __init__(self, *, kill: bool, after: int | None) -> None:
        super().__init__()
        self.kill, self.after = kill, after
        self.caught_up_with = False

    def check(self) -> None:
        if self.after == 0 or self.caught_up_with:
            raise Killed if self.kill else Interrupted

    def chunk_loaded(self) -> None:
        if self.after is not None:
            self.after -= 1


class _Lanes:
    """In place of processes: chunks are loaded one by one, and the source is written to meanwhile."""

    def __init__(self, world: World, control: Ending, spec: Any) -> None:
        self.world, self.control, self.tables = world, control, spec.tables
        self.hand: list[Take] = []
        self.view: Mapping[TableName, Rows] = {}

    def __enter__(self) -> _Lanes:
        return self

    def __exit__(self, *_: object) -> None: ...

    def started(self, check: object) -> None: ...

    def join(self, token: Any, check: object, tell: object) -> None:
        self.view = token
        self.world.server.write()

    def take(self, next_take: Callable[[], Take | None], most: int) -> None:
        if most and not self.hand and (found := next_take()) is not None:
            self.hand.append(found)

    def working(self, most: int) -> int:
        return max(most, len(self.hand))

    @property
    def in_hand(self) -> int:
        return len(self.hand)

    def events(self, timeout: float) -> Iterator[Extracted | Loaded]:
        take = self.hand.pop()
        rows = Target(self.world).load(self.tables[take.table][0], take, self.view)
        self.control.chunk_loaded()
        yield Extracted(take.table, take.chunk, rows, 1)
        yield Loaded(take.table, take.chunk, rows)


class _Capture:
    """In place of a process: one segment with all that the log has from the start on."""

    def __init__(self, world: World, control: Ending, spec: Any) -> None:
        self.world, self.control = world, control
        server, place = world.server, spec.start.order[0]
        missing = [t.name for t in spec.tables if t.name not in server.published]
        if server.slots and (server.slot is None or server.slot > place or missing):
            raise PositionLost(f"no slot at {place}, or not published: {missing}")
        server.write()
        builder = SegmentBuilder(spec.start)
        captured = {t.name for t in spec.tables}
        for at, (name, op, row) in enumerate(server.log[place:], start=place):
            if name in captured and (not server.slots or at >= server.published[name]):
                buffer = builder.buffer(name, ("id", "v"))
                for column, value in zip(buffer.columns, row, strict=True):
                    column.put(b"%d" % value)
                buffer.row(op)
        builder.commit(server.now, 1)
        self.segment: Segment | None = builder.cut()

    def __enter__(self) -> _Capture:
        return self

    def __exit__(self, *_: object) -> None: ...

    def receive(self, timeout: float) -> Segment | None:
        found, self.segment = self.segment, None
        self.control.caught_up_with = found is None
        return found

    def applied(self, committed: Position) -> None:
        if self.world.server.slot is not None:
            self.world.server.slot = max(self.world.server.slot, committed.order[0])


class _Unwatched:
    """In place of a thread that looks for dead links."""

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> _Unwatched:
        return self

    def __exit__(self, *_: object) -> None: ...

    def sign(self) -> None: ...

    def check(self) -> None: ...


class _AtOnce:
    """An executor without threads."""

    def __init__(self, **_: object) -> None: ...

    def __enter__(self) -> _AtOnce:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done


def connect(monkeypatch: Any, held: dict[str, Any]) -> None:
    """Put these ends where the pipeline opens its own: of ``held["world"]``, watched by ``held["control"]``."""

    @contextmanager
    def pair(job: Job) -> Iterator[Pair]:
        world = held["world"]
        source: Any = Source(world)
        target: Any = Target(world)
        yield Pair(job, source, target, world.tables, world.tables, {})

    @contextmanager
    def source(job: Job) -> Iterator[Any]:
        yield Source(held["world"])

    @contextmanager
    def target(job: Job) -> Iterator[Any]:
        yield Target(held["world"])

    openers = {"open_pair": pair, "open_source": source, "open_target": target}
    for module in (cleanup, data, packet, replication, reset):
        for name in [n for n in openers if hasattr(module, n)]:
            monkeypatch.setattr(module, name, openers[name])
        for name in ("write_packet", "remove_packet"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, nothing)
    staging = SimpleNamespace(open=nothing, remove=nothing)
    monkeypatch.setattr(data, "Staging", lambda job: staging)
    monkeypatch.setattr(cleanup, "Staging", lambda job: staging)
    monkeypatch.setattr("whimbrel.pipeline.load.plan.remove_packet", nothing)
    monkeypatch.setattr(data, "ThreadPoolExecutor", _AtOnce)
    monkeypatch.setattr(data, "Stalls", _Unwatched)
    monkeypatch.setattr(replication, "Stalls", _Unwatched)
    monkeypatch.setattr(data, "Lanes", lambda spec, count: _Lanes(held["world"], held["control"], spec))
    monkeypatch.setattr(replication, "Capture", lambda spec, tell: _Capture(held["world"], held["control"], spec))
