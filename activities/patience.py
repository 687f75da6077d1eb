"""How long a step that runs for weeks keeps trying when it fails again and again.

Temporal counts the attempts of a whole activity, which says nothing here: a replication may live through a hundred
restarts of its source in a month. What counts are failures in a row, without progress in between. They travel from
attempt to attempt as heartbeat details.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

LIMIT = timedelta(hours=6)
LONGEST_WAIT = 30.0  # seconds


@dataclass(frozen=True)
class Trouble:
    """``failures`` in a row without progress; ``since`` is the Unix time of the first."""

    failures: int = 0
    since: float = 0.0

    @classmethod
    def from_heartbeat(cls, details: Sequence[Any]) -> Trouble:
        """What the attempt before left; none when it left nothing that can be read."""
        if details and isinstance(details[0], dict):
            return cls(int(details[0].get("failures", 0)), float(details[0].get("since", 0.0)))
        return cls()

    def after_failure(self) -> Trouble:
        return Trouble(self.failures + 1, self.since or time.time())

    @property
    def wait(self) -> timedelta:
        """Before the next attempt: 1, 2, 4 … 30 seconds."""
        return timedelta(seconds=min(LONGEST_WAIT, 2.0 ** max(0, min(self.failures, 10) - 1)))

    @property
    def exhausted(self) -> bool:
        return self.failures > 1 and time.time() - self.since > LIMIT.total_seconds()
