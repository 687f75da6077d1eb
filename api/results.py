"""What the answers hold, for OpenAPI and for the tests that compare every answer with it."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from whimbrel.errors import leaves

T = TypeVar("T")
CODES = sorted({kind.code for kind in leaves()})


class Shape(BaseModel):
    """An answer has all of a shape's fields and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ErrorBody(Shape):
    """``code`` is in docs/errors.md; ``details`` has ``reason`` and ``remedy``, and what the error names."""

    code: Annotated[str, Field(json_schema_extra={"enum": list(CODES)})]
    message: str
    details: dict[str, Any]


class Envelope(Shape, Generic[T]):
    """The one shape of every answer. ``duration`` is Go's text: ``850ms``, ``2m15s``."""

    success: bool
    result: T | None
    error: ErrorBody | None
    logs: dict[str, str] | None = None
    duration: str


class Health(Shape):
    status: Literal["ok"]
    version: str
    catalog: Literal["ok", "unreachable"]
    temporal: Literal["ok", "unreachable"]
    worker: Literal["polls", "busy", "missing", "unknown"]


class NameAndType(Shape):
    name: str
    type: str


class EndpointView(NameAndType):
    """Secrets are ``"***"``."""

    parameters: dict[str, Any]


class Sources(Shape):
    sources: list[EndpointView]


class Targets(Shape):
    targets: list[EndpointView]


class Deleted(Shape):
    name: str
    deleted: Literal[True]


class DeletedMigration(Deleted):
    """``left``: what stays in the queue and why, a sentence each; only there when something does."""

    left: list[str] | None = None


class Connected(Shape):
    connected: Literal[True]
    message: str


class QueueReachable(Shape):
    ok: Literal[True]
    message: str


class MigrationSummary(Shape):
    name: str
    source: str
    fileTarget: str | None
    queueTarget: str | None
    tables: int


class Migrations(Shape):
    migrations: list[MigrationSummary]


class MigrationView(Shape):
    name: str
    source: str
    tables: list[str]
    fileTarget: str | None
    queueTarget: str | None
    threads: int
    rows_per_file: int
    schema_rename: dict[str, str]
    case: str
    column_types: dict[str, str]
    value_policy: str
    logDetail: str


class StatementView(Shape):
    sql: str
    why: str
    restart: bool


class SideStatements(Shape):
    type: str
    statements: list[StatementView]


class Prerequisites(Shape):
    source: SideStatements
    target: SideStatements


class CheckView(Shape):
    id: str
    status: Literal["ok", "warn", "fail"]
    message: str
    remedy: str


class SideChecks(Shape):
    checks: list[CheckView]


class Validity(Shape):
    valid: bool
    source: SideChecks
    target: SideChecks


class Loose(BaseModel):
    """What an operation's workflow recorded: these fields, perhaps more."""

    model_config = ConfigDict(extra="allow")


class SchemaExtracted(Loose):
    """``notes``: declared lossy mappings, one line each."""

    sql_file: str
    tables: int
    notes: list[str] = []


class SchemaApplied(Loose):
    tables_created: int


class ObjectView(Shape):
    name: str
    kind: str
    status: Literal["ok", "failed"]
    error: ErrorBody | None


class ObjectsApplied(Loose):
    objects_succeeded: int
    objects_failed: int
    objects: list[ObjectView]


class ResetDone(Loose):
    """The figures are those of the mode. ``tables_left``: those that the migration neither made nor loaded."""

    mode: Literal["drop", "truncate", "metadata"]
    tables_dropped: int = 0
    drop_failed: int = 0
    tables_truncated: int = 0
    truncate_failed: int = 0
    tables_left: list[str] = []


class ComparedTable(Loose):
    """``samples``: at most 100 rows of a kind (missing, extra, different)."""

    table: str
    source_rows: int
    target_rows: int
    missing: int
    extra: int
    different: int
    checked_rows: int
    method: str
    status: Literal["equal", "different", "unsettled"]
    samples: list[dict[str, Any]]


class RepairedTable(Loose):
    """Of the rows that a report has named: how many were equal when looked at, were repaired, and are left."""

    table: str
    named: int
    already_equal: int
    repaired: int
    left: int
    unnamed: int
    samples: list[dict[str, Any]]


class DataValidated(Loose):
    """``repaired`` and ``report``, the id of the comparison that was gone by, are there after a repair."""

    valid: bool
    sample_percent: int
    tables: list[ComparedTable] | list[RepairedTable]
    repaired: int = 0
    report: str = ""


class Started(Shape):
    """``status`` is running, or how it ended when the request was made before."""

    operation_id: str
    status: str
    started_at: str


class Paused(Shape):
    migration: str
    action: Literal["paused", "resumed"]


class TableFigures(Shape):
    table: str
    status: str
    rows_total: int | None
    rows_extracted: int | None
    rows_loaded: int | None
    files_done: int | None
    files_total: int | None
    inserts: int
    updates: int
    deletes: int
    errors: int


class Progress(Shape):
    """``percent`` never goes back. ``tables`` is null where operations are listed."""

    percent: float | None
    eta_seconds: float | None
    tables_total: int | None
    tables_done: int | None
    rows_total: int | None
    rows_extracted: int | None
    rows_loaded: int | None
    bytes_extracted: int | None
    rows_per_second: float | None
    tables: list[TableFigures] | None


class Change(Shape):
    position: str
    source_position: str
    lag_seconds: float
    lag_bytes: int
    transactions: int
    inserts: int
    updates: int
    deletes: int
    truncates: int
    ddl: int
    events_per_second: float
    last_commit_at: str | None


class WorkflowReference(Shape):
    id: str
    run_id: str | None
    url: str | None


class Operation(Shape):
    operation_id: str
    migration: str
    mode: str
    status: Literal["running", "completed", "failed", "cancelled", "stopped"]
    paused: bool
    phase: str | None
    started_at: str
    finished_at: str | None
    duration: str
    progress: Progress | None
    change: Change | None
    workflow: WorkflowReference
    result: dict[str, Any] | None
    error: ErrorBody | None
    logs: dict[str, str] | None


class Operations(Shape):
    operations: list[Operation]
    next_page_token: str | None
    total: int


class Held(Shape):
    """A replication slot that nobody follows, and the log that the source keeps for it, as last seen.

    ``release`` says how to let it go. Engines that keep their log for everybody (MySQL, MariaDB) hold nothing.
    """

    slot: str
    retained_bytes: int
    seen_at: str
    age_seconds: float
    release: str


class LetGo(Shape):
    """A slot that was dropped by itself, because it retained more than an idle migration may."""

    slot: str
    retained_bytes: int
    at: str
    why: str


class OperationEnded(Shape):
    """``held``: what the source keeps for a later operation that goes on with ``resume``."""

    operation_id: str
    status: str
    held: Held | None


class MigrationStatus(Shape):
    migration: str
    state: Literal["idle", "running", "paused"]
    operation: Operation | None
    last_operation: Operation | None
    held: Held | None
    let_go: LetGo | None
