"""Records of the catalog in the shapes of the contract."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from api.durations import go_duration
from whimbrel.catalog.held import HeldRecord
from whimbrel.catalog.progress import rfc3339
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, OperationRecord
from whimbrel.catalog.secrets import masked


def endpoint_view(record: EndpointRecord) -> dict[str, Any]:
    """A source or target with its secrets masked."""
    return {"name": record.name, "type": record.type, "parameters": masked(record.parameters)}


def migration_view(record: MigrationRecord) -> dict[str, Any]:
    """The whole configuration."""
    return {
        "name": record.name,
        "source": record.source,
        "tables": list(record.tables),
        "fileTarget": record.file_target,
        "queueTarget": record.queue_target,
        "threads": record.threads,
        "rows_per_file": record.rows_per_file,
        "schema_rename": record.schema_rename,
        "case": record.case,
        "column_types": record.column_types,
        "value_policy": record.value_policy,
        "logDetail": record.log_detail,
    }


def migration_summary(record: MigrationRecord) -> dict[str, Any]:
    """What PUT and the list show: the tables as their count."""
    return {
        "name": record.name,
        "source": record.source,
        "fileTarget": record.file_target,
        "queueTarget": record.queue_target,
        "tables": len(record.tables),
    }


def started_view(record: OperationRecord) -> dict[str, Any]:
    """What starting asynchronous work answers."""
    return {"operation_id": record.id, "status": record.status.value, "started_at": rfc3339(record.started_at)}


def held_view(record: HeldRecord | None, operation: str) -> dict[str, Any] | None:
    """What a source keeps for a migration that nobody follows; ``operation`` is an ended one of it."""
    if record is None or record.let_go_at is not None:
        return None
    return {
        "slot": record.slot,
        "retained_bytes": record.retained_bytes,
        "seen_at": rfc3339(record.seen_at),
        "age_seconds": round(record.age_seconds, 1),
        "release": f'POST /v1/operations/{operation}/cancel with {{"release": true}}, '
        f"POST /v1/migrations/{record.migration}/reset, or DELETE /v1/migrations/{record.migration}",
    }


def let_go_view(record: HeldRecord | None) -> dict[str, Any] | None:
    """What was let go by itself, until the migration is followed again."""
    if record is None or record.let_go_at is None:
        return None
    return {
        "slot": record.slot,
        "retained_bytes": record.retained_bytes,
        "at": rfc3339(record.let_go_at),
        "why": f"nobody followed slot {record.slot}, and {record.retained_bytes} bytes of log were kept for it: it was "
        "dropped, so that the disk of the source does not fill. Nothing can be resumed; start with resume=false",
    }


def operation_view(record: OperationRecord, url: str | None, *, logs: bool = False) -> dict[str, Any]:
    """The contract's operation; parts that do not apply are null. ``logs`` stand only in an operation's own page."""
    end = record.finished_at or datetime.now(UTC)
    return {
        "operation_id": record.id,
        "migration": record.migration,
        "mode": record.mode.value,
        "status": record.status.value,
        "paused": record.paused,
        "phase": record.phase,
        "started_at": rfc3339(record.started_at),
        "finished_at": rfc3339(record.finished_at),
        "duration": go_duration((end - record.started_at).total_seconds()),
        "progress": record.progress,
        "change": record.change,
        "workflow": {"id": record.id, "run_id": record.run_id, "url": url},
        "result": record.result,
        "error": record.error,
        "logs": record.logs if logs else None,
    }
