"""Telling real differences from changes in flight, while the source is written to and the target follows.

A row that differs is looked up again on both sides once the target has committed the position that the source had
when the difference was seen. The target then shows some state that the source has had since. So let W be the states
of the row that were seen in the source since just before that position was taken. If the target's row is one of W,
the row is in step. If W holds but one state and the target's row is another, the row was not changed meanwhile and
the target is wrong. Else it is moving, and is looked at again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

import pyarrow as pa

from whimbrel.connectors.protocols import Ledger, Source
from whimbrel.model.job import Job
from whimbrel.model.position import Position

# A row that goes back and forth between two values can look unchanged while it moves; not so often in a row.
CONFIRMATIONS: Final = 3
ROUNDS: Final = 40
STALLED_SECONDS: Final = 60.0  # without a commit of a replication that should run: its source or target is away
SETTLE_SECONDS: Final = 600.0
LOOKUP_KEYS: Final = 1000
WATCHED: Final = 200  # rows; so many or fewer are looked up again and again, to catch states that last a moment
LOOKS: Final = 5

Key = tuple[str | int, ...]
Rows = Counter[int]  # hash -> rows that have it; empty when there is no such row
Seen = dict[Key, Rows]


class Live(Protocol):
    """A replication that may be running from the source to the target."""

    def source_position(self) -> Position: ...

    def target_position(self) -> Position | None: ...

    def followed(self) -> bool:
        """Whether it runs, and is not paused."""


class Reached(Enum):
    """What became of waiting for the target."""

    PASSED = 1
    STALLED = 2  # it does not move, or nothing replicates
    LATE = 3  # it moves, but too slowly to wait for


@dataclass(frozen=True)
class Settled:
    """``real`` differences as (source's rows, target's rows) by key; ``moving`` counts the keys that never rested."""

    real: Mapping[Key, tuple[Rows, Rows]]
    moving: int = 0


Look = Callable[[list[Key]], Seen]


class Window:
    """The states of rows that were seen in the source since some moment."""

    def __init__(self, first: Seen) -> None:
        self.latest = first
        self.states: dict[Key, list[Rows]] = {key: [rows] for key, rows in first.items()}

    def add(self, seen: Seen) -> None:
        self.latest = seen
        for key, rows in seen.items():
            if rows not in self.states[key]:
                self.states[key].append(rows)

    def still(self, key: Key) -> bool:
        """Whether the row was the same each time."""
        return len(self.states[key]) == 1


@dataclass
class Settling:
    """Looks rows up again until each is known to be in step or not. ``check`` raises Interrupted."""

    look_source: Look
    look_target: Look
    check: Callable[[], None]
    live: Live | None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def settle(self, keys: list[Key]) -> Settled:
        """Sort out these keys. Bounded in rounds and time."""
        if self.live is None:
            return Settled(self._compared(keys, self.look_source(keys)))
        deadline = self.clock() + SETTLE_SECONDS
        real: dict[Key, tuple[Rows, Rows]] = {}
        doubts = Counter[Key]()
        for attempt in range(ROUNDS):
            window = Window(self.look_source(keys))
            position = self.live.source_position()
            reached = self.wait(position, deadline, lambda window=window: self._watch(window))  # type: ignore[misc]
            if reached is Reached.STALLED:
                return Settled({**real, **self._compared(keys, self.look_source(keys))})
            if reached is Reached.LATE:
                break
            target, in_step = self._look(window, keys)
            rested = self.live.source_position().order == position.order
            for key in in_step:
                del target[key]
            for key, rows in target.items():
                doubts[key] = doubts[key] + 1 if window.still(key) else 0
                if doubts[key] and (rested or doubts[key] >= CONFIRMATIONS):
                    real[key] = (window.latest[key], rows)
            keys = [key for key in target if key not in real]
            if not keys:
                break
            self._pause(min(0.05 * 2**attempt, 1.0))
        return Settled(real, len(keys))

    def _look(self, window: Window, keys: list[Key]) -> tuple[Seen, set[Key]]:
        """The target's rows once it has passed the window's start, and the keys among them that are in step."""
        in_step: set[Key] = set()
        target = self.look_target(keys)
        for _ in range(LOOKS if len(keys) <= WATCHED else 1):
            window.add(self.look_source(keys))
            in_step |= {key for key in keys if target[key] in window.states[key]}
            if len(in_step) == len(keys):
                break
            target = self.look_target(keys)
        window.add(self.look_source(keys))
        return target, in_step | {key for key in keys if target[key] in window.states[key]}

    def _watch(self, window: Window) -> None:
        if len(window.latest) <= WATCHED:
            window.add(self.look_source(list(window.latest)))

    def wait(self, position: Position, deadline: float, watch: Callable[[], None] = lambda: None) -> Reached:
        """Wait until the target has committed everything up to ``position``; ``watch`` is called meanwhile."""
        assert self.live is not None
        seen, since, pause = self.live.target_position(), self.clock(), 0.05
        while seen is None or not position <= seen:
            now = self.clock()
            if now - since > STALLED_SECONDS or not self.live.followed():
                return Reached.STALLED
            if now > deadline:
                return Reached.LATE
            self._pause(pause)
            pause = min(1.0, pause * 1.2)
            watch()
            latest = self.live.target_position()
            if latest != seen:
                seen, since = latest, self.clock()
        return Reached.PASSED

    def _compared(self, keys: list[Key], source: Seen) -> dict[Key, tuple[Rows, Rows]]:
        target = self.look_target(keys)
        return {key: (source[key], target[key]) for key in keys if source[key] != target[key]}

    def _pause(self, seconds: float) -> None:
        self.check()
        self.sleep(seconds)


def keys_of(differences: pa.Table) -> list[Key]:
    """The keys of what ``segments.diff`` found."""
    names = [name for name in differences.schema.names if name not in ("missing", "extra", "different")]
    return list(zip(*(differences[name].to_pylist() for name in names), strict=True))


def key_batches(keys: list[Key]) -> list[pa.RecordBatch]:
    """Keys as ``Comparison.lookup`` takes them, a bounded number at a time."""
    batches = []
    for at in range(0, len(keys), LOOKUP_KEYS):
        columns = list(zip(*keys[at : at + LOOKUP_KEYS], strict=True))
        names = ["hash"] if isinstance(columns[0][0], int) else [f"k{n}" for n in range(len(columns))]
        batches.append(pa.RecordBatch.from_arrays([pa.array(c) for c in columns], names))
    return batches


def seen_rows(keys: list[Key], found: list[pa.RecordBatch]) -> Seen:
    """What was found of each key asked for; rows of other keys are left out."""
    seen: Seen = {key: Counter() for key in keys}
    for batch in found:
        names = [name for name in batch.schema.names if name not in ("hash", "rows", "part")] or ["hash"]
        columns = [batch[name].to_pylist() for name in (*names, "hash", "rows")]
        for *key, hash, rows in zip(*columns, strict=True):
            if tuple(key) in seen:
                seen[tuple(key)][hash] += rows
    return seen


def counts(source: Rows, target: Rows) -> tuple[int, int, int]:
    """(missing, extra, different) rows of one key."""
    only_source, only_target = (source - target).total(), (target - source).total()
    different = min(only_source, only_target)
    return only_source - different, only_target - different, different


@dataclass(frozen=True)
class Replication:
    """``Live`` over the source's log and the target's progress table."""

    source: Source
    ledger: Ledger
    followed: Callable[[], bool]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def source_position(self) -> Position:
        with self.lock:
            return self.source.sent_position()

    def target_position(self) -> Position | None:
        with self.lock:
            return self.ledger.position()


def replication(job: Job, source: Source, ledger: Ledger, followed: Callable[[], bool]) -> Live | None:
    """The replication that runs while ``followed`` says so; None when the target has never followed this source, or
    cannot any more.

    A source may let go of a position as soon as the target has a newer one. So a position that is not held says
    something only if it is still the target's: one that moved on meanwhile is being followed.
    """
    position = ledger.position()
    if position is None:
        return None
    current = source.current_position()
    if (position.engine, position.server) != (current.engine, current.server):
        return None
    if source.holds(job, position):
        return Replication(source, ledger, followed)
    latest = ledger.position()
    return Replication(source, ledger, followed) if latest is not None and position < latest else None
