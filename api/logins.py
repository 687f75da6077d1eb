"""Refused keys by client address: each further one is answered later, up to a bound. Valid keys never wait."""

from __future__ import annotations

import time
from dataclasses import dataclass

FIRST_SECONDS = 0.2
MOST_SECONDS = 5.0
FORGOTTEN_SECONDS = 300.0
ADDRESSES = 10_000


@dataclass(frozen=True)
class _Failures:
    count: int
    last: float


class FailedLogins:
    """Lives on one event loop. Of more than ADDRESSES the one that failed longest ago is forgotten."""

    def __init__(self) -> None:
        self._failures: dict[str, _Failures] = {}

    def failed(self, address: str) -> float:
        """Note a failure; how many seconds its answer is to wait: twice as long each time."""
        now = time.monotonic()
        known = self._failures.pop(address, None)
        count = known.count if known is not None and now - known.last < FORGOTTEN_SECONDS else 0
        self._failures[address] = _Failures(count + 1, now)  # at the end: the dict is ordered by the last failure
        if len(self._failures) > ADDRESSES:
            del self._failures[next(iter(self._failures))]
        return float(min(MOST_SECONDS, FIRST_SECONDS * 2 ** min(count, 20)))

    def succeeded(self, address: str) -> None:
        """A valid key came from there: it is not somebody who guesses."""
        self._failures.pop(address, None)
