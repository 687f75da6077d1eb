"""How many lanes work at once in this process, however many loads there are: one budget, shared fairly.

A lane at work keeps up to a core busy here, and a session on either server. Loads share the budget in the order in
which they came: each gets one lane before any gets a second, as far as it can use them. When one more comes, those that
have more than their part let lanes rest as soon as their hands are empty; when one ends, they go on. A lane that rests
stays in its load's snapshot, so it can take up work again at once; how many a load may have is settled when it begins.

Nothing can lock up: a lane is the only thing that is waited for here, it is held for no longer than the chunks in its
hands, and the load that came first is always due one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(eq=False)
class Share:
    """One load's part. ``size``: the lanes that it could use; once it has begun, those that it has. ``held``: those of
    them that count as at work."""

    size: int
    held: int = 0
    wants: bool = True


class LaneBudget:
    """``total`` lanes for all shares. Thread-safe; no method waits."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._shares: list[Share] = []  # in the order in which they came
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        return self._total

    def resize(self, total: int) -> None:
        """For the next to come; those at work shrink or grow to it."""
        with self._lock:
            self._total = total

    @contextmanager
    def share(self, size: int) -> Iterator[Share]:
        """A place in the line, until the end of the block, however it ends."""
        made = Share(max(1, size))
        with self._lock:
            self._shares.append(made)
        try:
            yield made
        finally:
            with self._lock:
                self._shares.remove(made)

    def begin(self, share: Share, *, wants: bool = True) -> int:
        """How many lanes it may start now; 0 while it has to wait, or does not want any for the moment."""
        with self._lock:
            share.wants = wants
            part, free = self._part(share), self._free()
            if part == 0 or free <= 0:
                return 0
            share.size, share.held = part, min(part, free)
            return part

    def settle(self, share: Share, *, wants: bool, working: Callable[[int], int]) -> int:
        """How many of its lanes may be given work now, counted from the first. It ``wants`` some, or rests or has
        nothing to give them; ``working(n)`` is how many count as at work when the first n may be."""
        with self._lock:
            share.wants = wants
            most = self._part(share) if wants else 0
            bound = share.held + max(0, self._free())
            while most and working(most) > bound:  # lanes further back are still busy
                most -= 1
            share.held = working(most)
            return most

    def others(self, share: Share) -> int:
        """How many others have lanes at work."""
        with self._lock:
            return sum(1 for other in self._shares if other is not share and other.held)

    def figures(self) -> dict[str, int]:
        """``budget`` and ``working``: lanes; ``waiting``: loads that want a lane and have none."""
        with self._lock:
            return {
                "budget": self._total,
                "working": self._total - self._free(),
                "waiting": sum(1 for share in self._shares if share.wants and not share.held),
            }

    def _free(self) -> int:
        return self._total - sum(share.held for share in self._shares)

    def _part(self, share: Share) -> int:
        """Round by round, one lane to each that can use one more."""
        parts = [0] * len(self._shares)
        left = self._total
        while left > 0:
            hungry = [i for i, s in enumerate(self._shares) if s.wants and parts[i] < s.size]
            if not hungry:
                break
            for i in hungry[:left]:
                parts[i] += 1
            left -= len(hungry)
        return parts[self._shares.index(share)]


def cores() -> int:
    """As many lanes as can work side by side on this machine: beyond that they would only wait for each other."""
    return max(2, os.cpu_count() or 2)


# Enough for some loads at once: lanes wait for their servers too. WHIMBREL_WORKER_LANES has another number.
BUDGET = LaneBudget(max(8, 2 * cores()))
