"""The rows of the catalog, as the rest of the house sees them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from whimbrel.model.job import Case, ValuePolicy


class Mode(StrEnum):
    """What an operation does; the names of the REST contract."""

    DATA = "data"
    CHANGE = "change"
    CHANGE_QUEUE = "change-queue"
    DATA_REPLICATION = "data-replication"
    SCHEMA_EXTRACT = "schema-extract"
    SCHEMA_APPLY = "schema-apply"
    OBJECTS_APPLY = "objects-apply"
    RESET = "reset"
    VALIDATE = "validate"


# A validation may run beside these: it proves a replication right while it goes on.
REPLICATING = frozenset({Mode.CHANGE, Mode.CHANGE_QUEUE, Mode.DATA_REPLICATION})


class Status(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    STOPPED = "stopped"


@dataclass(frozen=True)
class EndpointRecord:
    """A source or target as stored; ``parameters`` with secrets in clear, so it must not leave the process."""

    name: str
    type: str
    parameters: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class MigrationRecord:
    name: str
    source: str
    tables: tuple[str, ...]
    file_target: str | None = None
    queue_target: str | None = None
    threads: int = 5
    rows_per_file: int = 200_000
    schema_rename: dict[str, str] = field(default_factory=dict)
    log_detail: str = "basic"
    case: Case = "keep"
    column_types: dict[str, str] = field(default_factory=dict)
    value_policy: ValuePolicy = "refuse"


@dataclass(frozen=True)
class OperationRecord:
    """One operation. ``request_hash`` is over endpoint, migration and body, for X-Request-Id. Times are UTC.

    ``pause_wanted`` is what was asked, ``paused`` what is true. ``progress`` and ``change`` are JSON in the shapes of
    the REST contract or None; ``logs`` has a bounded tail for each role.
    """

    id: str
    migration: str
    mode: Mode
    status: Status
    request_hash: str
    body: dict[str, Any]
    started_at: datetime
    finished_at: datetime | None = None
    phase: str | None = None
    pause_wanted: bool = False
    paused: bool = False
    workflow_started: bool = False
    run_id: str | None = None
    progress: dict[str, Any] | None = None
    change: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    logs: dict[str, str] = field(default_factory=dict)
