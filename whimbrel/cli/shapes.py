"""What the API takes and gives; made from /openapi.json by ``python docs/make_client.py``, do not edit."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class Change(TypedDict):
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


class CheckView(TypedDict):
    id: str
    status: Literal["ok", "warn", "fail"]
    message: str
    remedy: str


class ComparedTable(TypedDict):
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


class Connected(TypedDict):
    connected: Literal[True]
    message: str


class DataBody(TypedDict):
    resume: NotRequired[bool]


class DataValidated(TypedDict):
    valid: bool
    sample_percent: int
    tables: list[ComparedTable] | list[RepairedTable]
    repaired: NotRequired[int]
    report: NotRequired[str]


class Deleted(TypedDict):
    name: str
    deleted: Literal[True]


class DeletedMigration(TypedDict):
    name: str
    deleted: Literal[True]
    left: NotRequired[list[str] | None]


class EmptyBody(TypedDict):
    pass


class EndBody(TypedDict):
    release: NotRequired[bool]


class EndpointBody(TypedDict):
    type: str
    parameters: dict[str, Any]


class EndpointView(TypedDict):
    name: str
    type: str
    parameters: dict[str, Any]


class ErrorBody(TypedDict):
    code: Literal[
        "AUTH_FAILED",
        "CONNECTION_REFUSED",
        "DATA_FAILED",
        "EXTRACTOR_FAILED",
        "FIREBOLT_SCHEMA_PUBLIC_ONLY",
        "INTERNAL_ERROR",
        "INVALID_REQUEST",
        "LOADER_FAILED",
        "METHOD_NOT_ALLOWED",
        "MIGRATION_NOT_FOUND",
        "NOT_FOUND",
        "OBJECTS_APPLY_FAILED",
        "OPERATION_CONFLICT",
        "OPERATION_NOT_FOUND",
        "OPERATION_TIMEOUT",
        "ORCHESTRATOR_FAILED",
        "REPLICATION_FAILED",
        "RESET_FAILED",
        "SCHEMA_APPLY_FAILED",
        "SOURCE_NOT_FOUND",
        "TARGET_NOT_FOUND",
        "VALIDATE_FAILED",
    ]
    message: str
    details: dict[str, Any]


class Health(TypedDict):
    status: Literal["ok"]
    version: str
    catalog: Literal["ok", "unreachable"]
    temporal: Literal["ok", "unreachable"]
    worker: Literal["polls", "busy", "missing", "unknown"]


class Held(TypedDict):
    slot: str
    retained_bytes: int
    seen_at: str
    age_seconds: float
    release: str


class LetGo(TypedDict):
    slot: str
    retained_bytes: int
    at: str
    why: str


class MigrationBody(TypedDict):
    source: str
    tables: list[str]
    fileTarget: NotRequired[str | None]
    queueTarget: NotRequired[str | None]
    threads: NotRequired[int]
    rows_per_file: NotRequired[int]
    schema_rename: NotRequired[dict[str, str] | str | None]
    case: NotRequired[Literal["keep"]]
    column_types: NotRequired[dict[str, str]]
    value_policy: NotRequired[Literal["refuse"]]
    logDetail: NotRequired[Literal["basic", "verbose"]]


class MigrationStatus(TypedDict):
    migration: str
    state: Literal["idle", "running", "paused"]
    operation: Operation | None
    last_operation: Operation | None
    held: Held | None
    let_go: LetGo | None


class MigrationSummary(TypedDict):
    name: str
    source: str
    fileTarget: str | None
    queueTarget: str | None
    tables: int


class MigrationView(TypedDict):
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


class Migrations(TypedDict):
    migrations: list[MigrationSummary]


class NameAndType(TypedDict):
    name: str
    type: str


class ObjectView(TypedDict):
    name: str
    kind: str
    status: Literal["ok", "failed"]
    error: ErrorBody | None


class ObjectsApplied(TypedDict):
    objects_succeeded: int
    objects_failed: int
    objects: list[ObjectView]


class Operation(TypedDict):
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


class OperationEnded(TypedDict):
    operation_id: str
    status: str
    held: Held | None


class Operations(TypedDict):
    operations: list[Operation]
    next_page_token: str | None
    total: int


class Paused(TypedDict):
    migration: str
    action: Literal["paused", "resumed"]


class Prerequisites(TypedDict):
    source: SideStatements
    target: SideStatements


class PrerequisitesBody(TypedDict):
    source: str | EndpointBody
    target: str | EndpointBody
    mode: Literal["data", "replication", "data+replication"]
    tables: NotRequired[list[str]]
    schema_rename: NotRequired[dict[str, str] | str | None]


class Progress(TypedDict):
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


class QueueReachable(TypedDict):
    ok: Literal[True]
    message: str


class RepairedTable(TypedDict):
    table: str
    named: int
    already_equal: int
    repaired: int
    left: int
    unnamed: int
    samples: list[dict[str, Any]]


class ReplicationBody(TypedDict):
    resume: NotRequired[bool]
    position: NotRequired[str | None]


class ResetBody(TypedDict):
    mode: NotRequired[Literal["drop", "truncate", "metadata"]]
    force: NotRequired[bool]


class ResetDone(TypedDict):
    mode: Literal["drop", "truncate", "metadata"]
    tables_dropped: NotRequired[int]
    drop_failed: NotRequired[int]
    tables_truncated: NotRequired[int]
    truncate_failed: NotRequired[int]
    tables_left: NotRequired[list[str]]


class SchemaApplied(TypedDict):
    tables_created: int


class SchemaApplyBody(TypedDict):
    sql_file: NotRequired[str | None]


class SchemaExtracted(TypedDict):
    sql_file: str
    tables: int
    notes: NotRequired[list[str]]


class SideChecks(TypedDict):
    checks: list[CheckView]


class SideStatements(TypedDict):
    type: str
    statements: list[StatementView]


class Sources(TypedDict):
    sources: list[EndpointView]


class Started(TypedDict):
    operation_id: str
    status: str
    started_at: str


class StartedQueue(TypedDict):
    operation_id: str
    status: str
    started_at: str
    mode: str


class StatementView(TypedDict):
    sql: str
    why: str
    restart: bool


class TableFigures(TypedDict):
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


class Targets(TypedDict):
    targets: list[EndpointView]


class ValidateBody(TypedDict):
    sample_percent: NotRequired[int]
    repair: NotRequired[bool]


class Validity(TypedDict):
    valid: bool
    source: SideChecks
    target: SideChecks


class WorkflowReference(TypedDict):
    id: str
    run_id: str | None
    url: str | None
