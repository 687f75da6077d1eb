"""How far the target is behind, told truthfully: by what the source had when asked and what the target has since."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from whimbrel.model.position import Position

WINDOW = 10.0  # seconds over which the rate of events is averaged


class Lag:
    """Compares samples of the source's newest position with what has been applied.

    Lag is 0 as soon as everything that the source had at the latest sample is applied. Otherwise it is the time since
    the oldest moment at which the target is known to have been behind, and never 0: clocks of the servers do not come
    into it. ``unknown`` is for how many seconds nobody knows that the target was not behind: if it is at the first
    sample, it has been all that time.
    """

    def __init__(self, source_position: Callable[[], Position], every: float = 1.0, unknown: float = 0.0) -> None:
        self._ask = source_position
        self._every = every
        self._asked = float("-inf")
        self._unknown = unknown
        self._behind: deque[tuple[float, Position]] = deque()
        self._events: deque[tuple[float, int]] = deque()
        self.source: Position | None = None
        self.seconds = 0.0
        self.bytes = 0

    def update(self, applied: Position) -> bool:
        """Ask the source if it is time to, and compare. True when a new sample was taken."""
        now = time.monotonic()
        sampled = now - self._asked >= self._every
        if sampled:
            self._asked = now
            self.source = self._ask()
            self._behind.append((now - self._unknown, self.source))
            self._unknown = 0.0
        self.compare(applied)
        return sampled

    def compare(self, applied: Position) -> None:
        """Compare with the samples there are."""
        while self._behind and self._behind[0][1] <= applied:
            self._behind.popleft()
        since = self._behind[0][0] if self._behind else None
        self.seconds = 0.0 if since is None else max(0.001, round(time.monotonic() - since, 3))
        self.bytes = distance(applied, self.source) if self._behind and self.source else 0

    def count(self, events: int) -> None:
        self._events.append((time.monotonic(), events))

    @property
    def events_per_second(self) -> float:
        """Row changes applied per second over the last ten seconds."""
        since = time.monotonic() - WINDOW
        while self._events and self._events[0][0] < since:
            self._events.popleft()
        return round(sum(n for _, n in self._events) / WINDOW, 1)


def distance(behind: Position, ahead: Position) -> int:
    """Bytes of log between two positions; where files lie between them, the bytes known of the last one (at least)."""
    if behind.order[:-1] == ahead.order[:-1]:
        return max(0, ahead.order[-1] - behind.order[-1])
    return max(1, ahead.order[-1]) if behind.order < ahead.order else 0
