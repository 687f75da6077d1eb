"""POST .../reset."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.bodies import Name, ResetBody
from api.documented import STEP_ERRORS, responses
from api.results import ResetDone
from api.services import Deps, RequestId
from api.work import run
from whimbrel.catalog.records import Mode
from whimbrel.errors import (
    InvalidRequest,
    MigrationNotFound,
    OperationConflict,
    OperationTimeout,
    OrchestratorFailed,
    ResetFailed,
)

router = APIRouter(prefix="/v1/migrations/{name}", tags=["Reset"])
_ERRORS = (InvalidRequest, MigrationNotFound, OperationConflict, OperationTimeout, OrchestratorFailed, ResetFailed)
_EXAMPLE = {"mode": "drop", "tables_dropped": 12, "drop_failed": 0, "tables_left": []}


@router.post("/reset", responses=responses(ResetDone, _EXAMPLE, *_ERRORS, *STEP_ERRORS))
async def reset(
    name: Name, request: Request, services: Deps, request_id: RequestId, body: ResetBody | None = None
) -> Response:
    """Drop or empty the target's tables, or forget only what Whimbrel noted about this migration.

    Touches tables alone that this migration made or loaded, unless ``force``; ``tables_left`` names the others.
    """
    return await run(request, services, name, Mode.RESET, (body or ResetBody()).model_dump(), request_id)
