"""The lanes of one load, as their coordinator sees them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from whimbrel.errors import LaneLost, SourceInterrupted
from whimbrel.pipeline.load import lane
from whimbrel.pipeline.load.lane import Extracted, Failed, Join, LaneSpec, Loaded, Opened, Started, Take, Waiting
from whimbrel.pipeline.processes import Process, context

IN_HAND = 2  # chunks given to a lane at once: one loads while the next is read
LEAVING = 2.0  # seconds in which lanes with nothing in hand go by themselves; nothing is lost by ending them
OPENING = 120.0  # seconds within which a lane must stand inside the snapshot

Event = Extracted | Loaded | Waiting


@dataclass
class _Handle:
    process: Process
    pipe: Connection
    in_hand: int = 0


class Lanes:
    """Processes that copy chunks. Use as a context manager; leaving it ends them, at once if work is still in hand."""

    def __init__(self, spec: LaneSpec, count: int) -> None:
        self._spec = spec
        self._count = count
        self._handles: list[_Handle] = []

    def __enter__(self) -> Lanes:
        processes = context()
        for number in range(self._count):
            ours, theirs = processes.Pipe()
            process = processes.Process(
                target=lane.main, args=(self._spec, theirs), name=f"whimbrel-lane-{number}", daemon=True
            )
            process.start()
            theirs.close()
            self._handles.append(_Handle(process, ours))
        return self

    def __exit__(self, *_: Any) -> None:
        for handle in self._handles:
            if handle.in_hand == 0 and handle.process.is_alive():
                try:
                    handle.pipe.send(None)
                except OSError:
                    continue  # it ended between the two lines; join below collects it
        deadline = time.monotonic() + LEAVING
        for handle in self._handles:
            handle.process.join(max(0.0, deadline - time.monotonic()) if handle.in_hand == 0 else 0)
            if handle.process.is_alive():
                handle.process.kill()
                handle.process.join()
            handle.pipe.close()

    def started(self, check: Callable[[], None]) -> None:
        """Wait until every lane can join a snapshot at once: the source may be frozen until all have."""
        self._each(Started, check, lambda: None)

    def join(self, token: Any, check: Callable[[], None], tell: Callable[[], None]) -> None:
        """Wait until every lane stands inside the snapshot, calling ``tell`` once for each. Raises a lane's error."""
        for handle in self._handles:
            try:
                handle.pipe.send(Join(token))
            except OSError:
                continue  # it has ended, which is told below
        self._each(Opened, check, tell)

    def _each(self, awaited: type[Started | Opened], check: Callable[[], None], tell: Callable[[], None]) -> None:
        missing = {h.pipe for h in self._handles}
        deadline = time.monotonic() + OPENING
        while missing:
            check()
            for handle, message in self._receive(0.2):
                if isinstance(message, awaited):
                    missing.discard(handle.pipe)
                    tell()
            if time.monotonic() > deadline:
                raise SourceInterrupted(f"{len(missing)} readers could not join the snapshot within {OPENING:g} s")

    def take(self, next_take: Callable[[], Take | None], most: int) -> None:
        """Give each of the first ``most`` lanes that has a free hand something to do, as long as ``next_take`` has
        something. The others rest as soon as their hands are empty."""
        for handle in sorted(self._handles[:most], key=lambda h: h.in_hand):
            while handle.in_hand < IN_HAND:
                work = next_take()
                if work is None:
                    return
                try:
                    handle.pipe.send(work)
                except OSError:
                    return  # it has ended, which ``events`` tells
                handle.in_hand += 1

    def working(self, most: int) -> int:
        """Lanes that are at work, or may be given some when the first ``most`` may."""
        return sum(1 for number, handle in enumerate(self._handles) if number < most or handle.in_hand)

    @property
    def in_hand(self) -> int:
        """Chunks given out and not loaded yet."""
        return sum(h.in_hand for h in self._handles)

    def events(self, timeout: float) -> Iterator[Event]:
        """What the lanes have to tell, waiting at most ``timeout`` seconds for the first. Raises a lane's error."""
        for handle, message in self._receive(timeout):
            if isinstance(message, Loaded):
                handle.in_hand -= 1
            if isinstance(message, Extracted | Loaded | Waiting):
                yield message

    def _receive(self, timeout: float) -> Iterator[tuple[_Handle, Any]]:
        ready = wait([h.pipe for h in self._handles], timeout)
        for handle in [h for h in self._handles if h.pipe in ready]:
            try:
                message = handle.pipe.recv()
            except (EOFError, OSError):
                handle.process.join(5)
                code = handle.process.exitcode
                raise LaneLost(f"a lane process ended unexpectedly with exit code {code}") from None
            if isinstance(message, Failed):
                handle.in_hand = max(handle.in_hand, 1)  # its hands are not empty: it must not be waited for
                raise message.error
            yield handle, message
