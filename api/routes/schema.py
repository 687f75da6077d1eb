"""Schema extract and apply."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.bodies import EmptyBody, Name, SchemaApplyBody
from api.documented import STEP_ERRORS, responses
from api.results import SchemaApplied, SchemaExtracted
from api.services import Deps, RequestId
from api.sql_files import allowed_sql_file, configured_folders
from api.threads import in_thread
from api.work import require_extracted, run, with_file_target
from whimbrel.catalog.records import Mode
from whimbrel.errors import (
    InvalidRequest,
    MigrationNotFound,
    OperationConflict,
    OperationTimeout,
    OrchestratorFailed,
    SchemaFailed,
)

router = APIRouter(prefix="/v1/migrations/{name}/schema", tags=["Schema"])
_ERRORS = (InvalidRequest, MigrationNotFound, OperationConflict, OperationTimeout, OrchestratorFailed, SchemaFailed)
_EXTRACTED = {"sql_file": "/home/mover/.whimbrel/migrations/shop/tables-schema.sql", "tables": 12, "notes": []}


@router.post("/extract", responses=responses(SchemaExtracted, _EXTRACTED, *_ERRORS, *STEP_ERRORS))
async def extract(
    name: Name, request: Request, services: Deps, request_id: RequestId, body: EmptyBody | None = None
) -> Response:
    """Write tables-schema.sql, objects-schema.sql and drop-tables.sql into the migration's working directory."""
    return await run(request, services, name, Mode.SCHEMA_EXTRACT, {}, request_id)


@router.post("/apply", responses=responses(SchemaApplied, {"tables_created": 12}, *_ERRORS, *STEP_ERRORS))
async def apply(
    name: Name, request: Request, services: Deps, request_id: RequestId, body: SchemaApplyBody | None = None
) -> Response:
    """Create the tables on the target. Doing it twice is no error.

    Without a ``sql_file`` the schema must have been extracted before.
    """
    asked = (body or SchemaApplyBody()).model_dump()

    async def prepare() -> dict[str, Any]:
        await with_file_target(services, name)
        if asked["sql_file"] is None:
            await require_extracted(services, name)
            return asked
        workdir = services.catalog.workdir(name)
        return {"sql_file": str(await in_thread(allowed_sql_file, asked["sql_file"], workdir, configured_folders()))}

    return await run(request, services, name, Mode.SCHEMA_APPLY, asked, request_id, prepare)
