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


class Connected(TypedDict):
    connected: Literal[True]
    message: str


class DataBody(TypedDict):
    resume: NotRequired[bool]


class DataValidated(TypedDict):
    valid: bool


class Deleted(TypedDict):
    name: str
    deleted: Literal[True]


class EmptyBody(TypedDict):
    pass


class EndpointBody(TypedDict):
    type: str
    parameters: dict[str, Any]


class EndpointView(TypedDict):
    name: str
    type: str
    parameters: dict[str, Any]


class ErrorBody(TypedDict):
    code: str
    message: str
    details: dict[str, Any]


class Health(TypedDict):
    status: Literal["ok"]
    version: str
    catalog: Literal["ok", "unreachable"]
    temporal: Literal["ok", "unreachable"]


class MigrationBody(TypedDict):
    source: str
    tables: list[str]
    fileTarget: NotRequired[str | None]
    queueTarget: NotRequired[str | None]
    threads: NotRequired[int]
    rows_per_file: NotRequired[int]
    schema_rename: NotRequired[dict[str, str] | str | None]
    logDetail: NotRequired[Literal["basic", "verbose"]]


class MigrationStatus(TypedDict):
    migration: str
    state: Literal["idle", "running", "paused"]
    operation: Operation | None
    last_operation: Operation | None


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
    logDetail: str


class Migrations(TypedDict):
    migrations: list[MigrationSummary]


class NameAndType(TypedDict):
    name: str
    type: str


class ObjectsApplied(TypedDict):
    objects_succeeded: int
    objects_failed: int


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


class ReplicationBody(TypedDict):
    resume: NotRequired[bool]
    position: NotRequired[str | None]


class ResetBody(TypedDict):
    mode: NotRequired[Literal["drop", "truncate", "metadata"]]


class ResetDone(TypedDict):
    mode: Literal["drop", "truncate", "metadata"]


class SchemaApplied(TypedDict):
    tables_created: int


class SchemaApplyBody(TypedDict):
    sql_file: NotRequired[str | None]


class SchemaExtracted(TypedDict):
    sql_file: str
    tables: int


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
