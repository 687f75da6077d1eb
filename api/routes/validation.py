"""POST .../validate: compare the rows of source and target."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.bodies import Name, ValidateBody
from api.documented import STEP_ERRORS, responses
from api.results import DataValidated
from api.services import Deps, RequestId
from api.work import run
from whimbrel.catalog.records import Mode
from whimbrel.errors import (
    InvalidRequest,
    MigrationNotFound,
    OperationConflict,
    OperationTimeout,
    OrchestratorFailed,
    ValidateFailed,
)

router = APIRouter(prefix="/v1/migrations/{name}", tags=["Validate data"])
_ERRORS = (InvalidRequest, MigrationNotFound, OperationConflict, OperationTimeout, OrchestratorFailed, ValidateFailed)
_TABLE = {
    "table": "public.orders",
    "source_rows": 1000000,
    "target_rows": 1000000,
    "missing": 0,
    "extra": 0,
    "different": 0,
    "checked_rows": 1000000,
    "method": "checksum",
    "status": "equal",
    "samples": [],
}
_EXAMPLE = {"valid": True, "sample_percent": 100, "tables": [_TABLE]}


@router.post("/validate", responses=responses(DataValidated, _EXAMPLE, *_ERRORS, *STEP_ERRORS))
async def validate(
    name: Name, request: Request, services: Deps, request_id: RequestId, body: ValidateBody | None = None
) -> Response:
    """Compare all rows, or a sample of them. A difference is a result, not an error.

    With ``repair``, the rows that the last comparison has named are made what the source has, also while replication
    runs; the result says by table how many were ``repaired``, were ``already_equal``, and are ``left``.
    """
    return await run(request, services, name, Mode.VALIDATE, (body or ValidateBody()).model_dump(), request_id)
