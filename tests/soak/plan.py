"""Which faults come when: decided by the seed alone, every kind at least once and in a new order each round."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

KILLS = ("worker killed", "API killed", "Temporal killed", "target killed", "source killed")
LINKS = ("link cut", "link delayed", "link half-open")
KINDS = (*KILLS, *LINKS)
EVERY = (20.0, 30.0)  # seconds between the beginnings of two faults
QUIET = 5.0  # seconds before the first one


@dataclass(frozen=True)
class Fault:
    """``at`` and ``seconds`` say when it begins after the start of the soak and how long it lasts.

    ``end`` is the server whose link it is, ``kept`` the end of a half-open link that is left alone with it.
    """

    kind: str
    at: float
    seconds: float
    end: str = ""
    kept: str = ""

    @property
    def name(self) -> str:
        """As people read it: the kind, and of a link which one."""
        where = f" to the {self.end}" if self.end else ""
        return self.kind + where + (f", the {self.kept} left alone" if self.kept else "")


def plan(seed: int, seconds: float, kinds: Sequence[str] = KINDS) -> list[Fault]:
    """The faults of a soak of that length. A short one has them closer together, so that none is left out."""
    r = random.Random(seed)
    squeeze = min(1.0, (seconds - QUIET) / (len(kinds) * EVERY[1]))
    faults: list[Fault] = []
    links = 0
    at = QUIET
    round_: list[str] = []
    while at < seconds - EVERY[0] * squeeze * 0.5 or len(faults) < len(kinds):
        if not round_:
            round_ = r.sample(kinds, len(kinds))
        kind = round_.pop()
        lasting = r.uniform(3, 10) * max(squeeze, 0.5)
        if kind in KILLS:
            faults.append(Fault(kind, at, r.uniform(0, 4)))
        else:
            links += 1
            end = ("source", "target")[(links + seed + links // 3) % 2]
            kept = r.choice(("client", "server")) if kind == "link half-open" else ""
            faults.append(Fault(kind, at, lasting, end, kept))
        at += r.uniform(*EVERY) * squeeze
    return faults
