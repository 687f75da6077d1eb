"""Runs pipeline steps as a worker would, in a thread, and watches them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from tests.servers.process import wait_until
from tests.suite.world import World
from whimbrel.errors import Interrupted, WhimbrelError
from whimbrel.model.progress import ChangeProgress, Earlier, TableChangeTotals, TableProgress
from whimbrel.pipeline.changes.replication import replicate

_following: list[World] = []  # the worlds whose changes are followed now


class Watch:
    """A Control that remembers what it was told, and tells what attempts ``before`` it told. ``stop`` and ``pause`` are
    set by the test."""

    def __init__(self, before: Earlier | None = None) -> None:
        self.stop = threading.Event()
        self.pause = threading.Event()
        self.resting = threading.Event()
        self.phases: list[str] = []
        self.tables: dict[str, TableProgress] = {}
        self.totals: dict[str, TableChangeTotals] = {}
        self.last: ChangeProgress | None = None
        self.told: list[ChangeProgress] = []
        self.lines: list[tuple[str, str]] = []
        self.troubles: list[WhimbrelError] = []
        self.before = before or Earlier()
        self.kept: int | None = None

    def check(self) -> None:
        if self.stop.is_set():
            raise Interrupted

    def pause_wanted(self) -> bool:
        return self.pause.is_set()

    def followed(self) -> bool:
        return bool(_following)

    def at_rest(self, resting: bool) -> None:
        if resting:
            self.resting.set()
        else:
            self.resting.clear()

    def phase(self, name: str) -> None:
        self.phases.append(name)

    def table(self, progress: TableProgress) -> None:
        self.tables[progress.table] = progress

    def all_tables(self, progress: Sequence[TableProgress]) -> None:
        for p in progress:
            self.table(p)

    def earlier(self) -> Earlier:
        return self.before

    def change_totals(self, totals: TableChangeTotals) -> None:
        self.totals[totals.table] = totals

    def change(self, progress: ChangeProgress) -> None:
        self.last = progress
        self.told.append(progress)

    def retained(self, bytes: int) -> None:
        self.kept = bytes

    def waits_for(self, error: WhimbrelError) -> None:
        self.troubles.append(error)

    def log(self, role: str, line: str) -> None:
        self.lines.append((role, line))

    def afterwards(self, age: float) -> Earlier:
        """What a later attempt hears from the catalog after so many seconds."""
        return Earlier(dict(self.tables), dict(self.totals), self.last, age)

    @property
    def caught_up(self) -> bool:
        return self.last is not None and self.last.source_position != "" and self.last.lag_bytes == 0


class Running:
    """A step in a thread. ``error`` is what ended it, None as long as it runs or when it was stopped."""

    def __init__(self, work: Callable[[Watch], object], before: Earlier | None = None) -> None:
        self.watch = Watch(before)
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[Watch], object]) -> None:
        try:
            work(self.watch)
        except Interrupted:
            pass
        except BaseException as e:
            self.error = e

    def wait(self, condition: Callable[[], bool], seconds: float, what: str, every: float = 0.05) -> None:
        """Until true; what ended the step meanwhile is raised here."""

        def met() -> bool:
            if self.error is not None:
                raise self.error
            return condition()

        wait_until(met, seconds, what, every)

    def end(self, seconds: float = 60) -> None:
        """Ask it to stop and wait for it."""
        self.watch.stop.set()
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the step did not stop"
        if self.error is not None:
            raise self.error

    def wait_ended(self, seconds: float) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the step did not end"
        if self.error is not None:
            raise self.error


def position_order(text: str) -> tuple[int, ...]:
    """What users see of a position, so that it can be compared: ``0/16B3748`` or ``binlog.000042:1234``."""
    if ":" in text:
        file, _, offset = text.rpartition(":")
        return int(file.rpartition(".")[2]), int(offset)
    return tuple(int(part, 16) for part in text.split("/"))


@contextmanager
def replicating(
    world: World,
    operation: str,
    *,
    resume: bool = False,
    position: str | None = None,
    handoff: bool = True,
    before: Earlier | None = None,
    verbose: bool = False,
) -> Iterator[Running]:
    """The change phase, for as long as the block runs."""
    job = replace(world.job(operation), verbose=verbose)
    running = Running(lambda watch: replicate(job, watch, resume=resume, position=position, handoff=handoff), before)
    _following.append(world)
    try:
        yield running
    finally:
        _following.remove(world)
        running.end()


def settled(world: World, running: Running, seconds: float = 30) -> None:
    """Wait until the two ends are equal, as their own clients see it."""

    def equal() -> bool:
        return running.watch.caught_up and not world.differing()

    try:
        running.wait(equal, seconds, "source and target to be equal", every=0.3)  # each look starts eight clients
    except TimeoutError:
        assert world.differences() == []
        raise
