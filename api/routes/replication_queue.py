"""Replication into a queue alone: start, pause, resume."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import connectors
from api.bodies import EmptyBody, Name, ReplicationBody
from api.documented import responses
from api.envelope import answer
from api.results import Paused, Started
from api.services import Deps, RequestId, Services
from api.threads import in_thread
from api.views import started_view
from api.work import check_position, pause_or_resume
from whimbrel.catalog.records import Mode
from whimbrel.errors import (
    InvalidRequest,
    MigrationNotFound,
    OperationConflict,
    OperationNotFound,
    OperationTimeout,
    OrchestratorFailed,
)

router = APIRouter(prefix="/v1/migrations/{name}/replication-queue", tags=["Replication to a queue"])
PAUSABLE = frozenset({Mode.CHANGE_QUEUE})
_ERRORS = (InvalidRequest, MigrationNotFound, OperationConflict, OrchestratorFailed)
_PAUSE_ERRORS = (InvalidRequest, MigrationNotFound, OperationNotFound, OperationTimeout, OrchestratorFailed)


class StartedQueue(Started):
    mode: str


_EXAMPLE = {
    "operation_id": "6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10",
    "status": "running",
    "started_at": "2026-11-23T09:00:00.000000Z",
    "mode": "change-queue",
}


@router.post("", responses=responses(StartedQueue, _EXAMPLE, *_ERRORS))
async def start_replication_queue(
    name: Name, request: Request, services: Deps, request_id: RequestId, body: ReplicationBody | None = None
) -> Response:
    """Replicate changes into the queue of a migration that has no database target. Answers at once."""
    asked = (body or ReplicationBody()).model_dump()

    async def prepare() -> dict[str, Any]:
        await _require_queue_only(services, name)
        await check_position(services, name, asked)
        return asked

    record = await services.dispatcher.start(name, Mode.CHANGE_QUEUE, asked, request_id, prepare)
    return answer(request, {**started_view(record), "mode": record.mode.value}, operation=record.id)


@router.post("/pause", responses=responses(Paused, {"migration": "shop", "action": "paused"}, *_PAUSE_ERRORS))
async def pause(name: Name, request: Request, services: Deps, body: EmptyBody | None = None) -> Response:
    """Bring the running replication to rest between two transactions; answers once it rests."""
    return await pause_or_resume(request, services, name, PAUSABLE, True)


@router.post("/resume", responses=responses(Paused, {"migration": "shop", "action": "resumed"}, *_PAUSE_ERRORS))
async def resume(name: Name, request: Request, services: Deps, body: EmptyBody | None = None) -> Response:
    """Let a paused replication go on; answers once it does."""
    return await pause_or_resume(request, services, name, PAUSABLE, False)


async def _require_queue_only(services: Services, name: str) -> None:
    """Raises InvalidRequest for a migration with a fileTarget, without a queueTarget, or to a queue nobody serves."""
    migration = await in_thread(services.catalog.get_migration, name)
    if migration.file_target is not None:
        raise InvalidRequest(
            f"fileTarget: migration {name!r} has one, so this endpoint is not for it",
            field="fileTarget",
            remedy=f"POST /v1/migrations/{name}/replication feeds the database and the queue.",
        )
    if migration.queue_target is None:
        raise InvalidRequest(f"queueTarget: migration {name!r} has none", field="queueTarget")
    queue = await in_thread(services.catalog.get_target, migration.queue_target)
    connectors.require_queue(queue.type)
