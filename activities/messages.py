"""What goes into and comes out of every activity: names, references and figures; all of it stays in Temporal's history.

Never rows, secrets, schemas or lists that grow with the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """A step that needs nothing but its operation; body and migration are read from the catalog."""

    operation: str
    migration: str


@dataclass(frozen=True)
class CopyData:
    """``capture``: changes will be replayed from the snapshot on. ``resume``: keep what an earlier operation loaded."""

    operation: str
    migration: str
    capture: bool
    resume: bool


@dataclass(frozen=True)
class Replicate:
    """``handoff``: the change phase of data-replication, which begins where its data phase's snapshot stands."""

    operation: str
    migration: str
    resume: bool
    position: str | None
    handoff: bool


@dataclass(frozen=True)
class CleanUp:
    """What a later operation needs in order to go on stays."""

    operation: str
    migration: str


@dataclass(frozen=True)
class SetPause:
    operation: str
    wanted: bool


@dataclass(frozen=True)
class Outcome:
    """How an operation ended. ``error`` is an ``error`` object of the envelope; ``data`` what the data phase moved."""

    operation: str
    status: str
    error: dict[str, Any] | None = None
    data: DataCopied | None = None


@dataclass(frozen=True)
class SchemaExtracted:
    tables: int


@dataclass(frozen=True)
class SchemaApplied:
    tables_created: int


@dataclass(frozen=True)
class ObjectsApplied:
    succeeded: int
    failed: int


@dataclass(frozen=True)
class TargetReset:
    mode: str


@dataclass(frozen=True)
class DataValidated:
    valid: bool


@dataclass(frozen=True)
class DataCopied:
    """``bytes`` as staged; ``seconds`` from plan to last key."""

    tables: int
    rows: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class DataState:
    """``complete``: an earlier data phase of this migration ended, so replication can take up from it."""

    complete: bool


@dataclass(frozen=True)
class PauseAnswer:
    """``action`` is 'paused' or 'resumed', and true by now."""

    action: str


@dataclass(frozen=True)
class Recorded:
    """``status`` is what the catalog holds now: the first writer wins, so perhaps another than was asked."""

    status: str


@dataclass(frozen=True)
class LookAtIdle:
    """All of them."""


@dataclass(frozen=True)
class LookedAtIdle:
    """How many migrations nobody follows, for how many of them their source keeps log, and how many were let go."""

    idle: int
    held: int
    let_go: int


@dataclass(frozen=True)
class Cleaned:
    """``held``: the slot that the source keeps its log for."""

    held: str | None = None
