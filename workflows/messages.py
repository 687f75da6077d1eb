"""What goes into and out of every workflow: names and references, never rows, secrets, schemas or chunk lists."""

from __future__ import annotations

from dataclasses import dataclass

# Workflows, and the short activities that somebody waits for: pauses, checks, cleanup, outcomes. The name is that of
# the one queue there was, so that whatever an earlier version has put there still finds a worker.
CONTROL_QUEUE = "whimbrel"
# Steps that hold their place for as long as they take: however many there are, nothing on the other queue waits.
DATA_QUEUE = f"{CONTROL_QUEUE}-data"
WORKFLOWS = {  # operation mode -> workflow type
    "data": "Data",
    "change": "Replication",
    "change-queue": "Replication",
    "data-replication": "DataReplication",
    "schema-extract": "SchemaExtract",
    "schema-apply": "SchemaApply",
    "objects-apply": "ObjectsApply",
    "reset": "Reset",
    "validate": "Validate",
}
CLEANUP_WORKFLOW = "Cleanup"
IDLE_WATCH_WORKFLOW, IDLE_WATCH_ID = "IdleWatch", "whimbrel-idle-watch"


@dataclass(frozen=True)
class Title:
    """What Temporal's UI shows and filters by. ``text``: ``old (postgres) → new (mariadb), 12 tables``; ``source`` and
    ``target`` are the names of the ends."""

    text: str
    source: str
    target: str


@dataclass(frozen=True)
class OperationRequest:
    """One operation. ``operation`` is the operation's, the request's and the workflow's id at once.

    ``title`` is only to be looked at. Everything else about it (tables, body, parameters) is read from the catalog by
    whoever needs it.
    """

    operation: str
    migration: str
    mode: str
    resume: bool = False
    position: str | None = None
    title: Title | None = None


@dataclass(frozen=True)
class IdleWatchRequest:
    """Look at idle migrations every so many seconds."""

    every_seconds: float = 300.0


@dataclass(frozen=True)
class OperationOutcome:
    """How it ended: a status of the REST contract. Result and error are in the catalog."""

    operation: str
    status: str
