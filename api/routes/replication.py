"""Replication into the database target: start, pause, resume."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.bodies import EmptyBody, Name, ReplicationBody
from api.documented import responses
from api.envelope import answer
from api.results import Paused, Started
from api.services import Deps, RequestId
from api.views import started_view
from api.work import check_position, pause_or_resume, require_extracted, with_file_target
from whimbrel.catalog.records import Mode
from whimbrel.errors import (
    InvalidRequest,
    MigrationNotFound,
    OperationConflict,
    OperationNotFound,
    OperationTimeout,
    OrchestratorFailed,
)

router = APIRouter(prefix="/v1/migrations/{name}/replication", tags=["Replication"])
PAUSABLE = frozenset({Mode.CHANGE, Mode.DATA_REPLICATION})
_ERRORS = (InvalidRequest, MigrationNotFound, OperationConflict, OrchestratorFailed)
_PAUSE_ERRORS = (InvalidRequest, MigrationNotFound, OperationNotFound, OperationTimeout, OrchestratorFailed)
_EXAMPLE = {
    "operation_id": "6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10",
    "status": "running",
    "started_at": "2026-11-23T09:00:00.000000Z",
}


@router.post("", responses=responses(Started, _EXAMPLE, *_ERRORS))
async def start_replication(
    name: Name, request: Request, services: Deps, request_id: RequestId, body: ReplicationBody | None = None
) -> Response:
    """Replicate changes into the target. The schema must have been extracted before. Answers at once."""
    asked = (body or ReplicationBody()).model_dump()

    async def prepare() -> dict[str, Any]:
        await with_file_target(services, name)
        await require_extracted(services, name)
        await check_position(services, name, asked)
        return asked

    record = await services.dispatcher.start(name, Mode.CHANGE, asked, request_id, prepare)
    return answer(request, started_view(record), operation=record.id)


@router.post("/pause", responses=responses(Paused, {"migration": "shop", "action": "paused"}, *_PAUSE_ERRORS))
async def pause(name: Name, request: Request, services: Deps, body: EmptyBody | None = None) -> Response:
    """Bring the running replication to rest between two transactions; answers once it rests."""
    return await pause_or_resume(request, services, name, PAUSABLE, True)


@router.post("/resume", responses=responses(Paused, {"migration": "shop", "action": "resumed"}, *_PAUSE_ERRORS))
async def resume(name: Name, request: Request, services: Deps, body: EmptyBody | None = None) -> Response:
    """Let a paused replication go on; answers once it does."""
    return await pause_or_resume(request, services, name, PAUSABLE, False)
