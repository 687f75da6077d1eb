"""POST .../objects/apply."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.bodies import EmptyBody, Name
from api.documented import STEP_ERRORS, responses
from api.results import ObjectsApplied
from api.services import Deps, RequestId
from api.work import require_extracted, run, with_file_target
from whimbrel.catalog.records import Mode
from whimbrel.errors import (
    InvalidRequest,
    MigrationNotFound,
    ObjectsFailed,
    OperationConflict,
    OperationTimeout,
    OrchestratorFailed,
)

router = APIRouter(prefix="/v1/migrations/{name}/objects", tags=["Objects"])
_ERRORS = (InvalidRequest, MigrationNotFound, OperationConflict, OperationTimeout, OrchestratorFailed, ObjectsFailed)
_OBJECT = {"name": "CREATE INDEX orders_day ON public.orders (day)", "kind": "index", "status": "ok", "error": None}
_EXAMPLE = {"objects_succeeded": 1, "objects_failed": 0, "objects": [_OBJECT]}


@router.post("/apply", responses=responses(ObjectsApplied, _EXAMPLE, *_ERRORS, *STEP_ERRORS))
async def apply(
    name: Name, request: Request, services: Deps, request_id: RequestId, body: EmptyBody | None = None
) -> Response:
    """Apply objects-schema.sql to the target, statement by statement; failures are reported, not fatal.

    The schema must have been extracted before.
    """

    async def prepare() -> dict[str, Any]:
        await with_file_target(services, name)
        await require_extracted(services, name)
        return {}

    return await run(request, services, name, Mode.OBJECTS_APPLY, {}, request_id, prepare)
