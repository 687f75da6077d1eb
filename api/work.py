"""What all operation endpoints share: which migrations may run them, starting, and waiting for the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import Request
from starlette.responses import Response

from api import connectors
from api.dispatch import Prepare
from api.envelope import answer, failure
from api.services import Services
from api.threads import in_thread
from whimbrel.catalog.records import MigrationRecord, Mode, OperationRecord, Status
from whimbrel.errors import (
    DataFailed,
    InvalidRequest,
    NotExtracted,
    ObjectsFailed,
    OrchestratorFailed,
    ReplicationFailed,
    ResetFailed,
    SchemaFailed,
    ValidateFailed,
    WhimbrelError,
    from_json,
)

# What a synchronous call answers when its operation was cancelled or stopped by somebody else.
_UNFINISHED: Mapping[Mode, type[WhimbrelError]] = {
    Mode.DATA: DataFailed,
    Mode.DATA_REPLICATION: ReplicationFailed,
    Mode.CHANGE: ReplicationFailed,
    Mode.CHANGE_QUEUE: ReplicationFailed,
    Mode.SCHEMA_EXTRACT: SchemaFailed,
    Mode.SCHEMA_APPLY: SchemaFailed,
    Mode.OBJECTS_APPLY: ObjectsFailed,
    Mode.RESET: ResetFailed,
    Mode.VALIDATE: ValidateFailed,
}


async def with_file_target(services: Services, name: str) -> MigrationRecord:
    """The migration. Raises MigrationNotFound, InvalidRequest when it has no database to write to."""
    migration = await in_thread(services.catalog.get_migration, name)
    if migration.file_target is None:
        raise InvalidRequest(
            f"fileTarget: migration {name!r} has none",
            field="fileTarget",
            remedy="PUT the migration with a fileTarget; a queue alone is fed with POST .../replication-queue.",
        )
    return migration


def into_file_target(services: Services, name: str, body: dict[str, Any]) -> Prepare:
    """For operations that need a database to write to, and nothing more."""

    async def prepare() -> dict[str, Any]:
        await with_file_target(services, name)
        await check_position(services, name, body)
        return body

    return prepare


async def require_extracted(services: Services, name: str) -> None:
    """Raise NotExtracted before the first extract. The catalog knows it on whichever machine the files are."""
    _, extracted = await in_thread(
        services.catalog.list_operations, name, Status.COMPLETED, Mode.SCHEMA_EXTRACT, limit=1
    )
    if not extracted:
        raise NotExtracted(
            f"the schema of migration {name!r} was not extracted yet",
            remedy=f"POST /v1/migrations/{name}/schema/extract first.",
        )


async def check_position(services: Services, name: str, body: dict[str, Any]) -> None:
    """Raise InvalidRequest for a position that cannot be right; with ``resume`` none is used, so none is looked at."""
    if body.get("resume") or body.get("position") is None:
        return
    migration = await in_thread(services.catalog.get_migration, name)
    source = await in_thread(services.catalog.get_source, migration.source)
    connectors.check_position(source, body["position"])


async def run(
    request: Request,
    services: Services,
    name: str,
    mode: Mode,
    asked: dict[str, Any],
    request_id: str | None,
    prepare: Prepare | None = None,
) -> Response:
    """Start an operation, wait for its end and answer with its result or its error, and its logs."""
    ready = prepare or into_file_target(services, name, asked)
    started = await services.dispatcher.start(name, mode, asked, request_id, ready)
    record = await services.dispatcher.ended(started.id)
    if record.status is Status.COMPLETED:
        return answer(request, record.result or {}, logs=record.logs, operation=record.id)
    return failure(request.scope, error_of(record), logs=record.logs, headers={"X-Request-Id": record.id})


async def pause_or_resume(
    request: Request, services: Services, name: str, modes: frozenset[Mode], wanted: bool
) -> Response:
    """Bring what replicates to rest, or let it go on; answer once that is true."""
    record = await services.dispatcher.set_pause(name, modes, wanted)
    logs = await in_thread(services.catalog.logs, record.id)
    result = {"migration": name, "action": "paused" if wanted else "resumed"}
    return answer(request, result, logs=logs, operation=record.id)


def error_of(record: OperationRecord) -> WhimbrelError:
    """Why an ended operation has no result; its id is in details."""
    if record.error is not None:
        found = from_json(record.error)
    elif record.status is Status.FAILED:
        found = OrchestratorFailed(f"the {record.mode} operation failed without saying why")
    else:
        found = _UNFINISHED[record.mode](
            f"the {record.mode} operation was {record.status}", remedy="Send the request again with a new X-Request-Id."
        )
    found.extra["operation_id"] = record.id
    return found
