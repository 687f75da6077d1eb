"""Schema extract and apply."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.bodies import EmptyBody, Name, SchemaApplyBody
from api.documented import responses
from api.results import SchemaApplied, SchemaExtracted
from api.services import Deps, RequestId
from api.sql_files import allowed_sql_file, configured_folders
from api.threads import in_thread
from api.work import run, with_file_target
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
_EXTRACTED = {"sql_file": "/home/mover/.whimbrel/migrations/shop/tables-schema.sql", "tables": 12}


@router.post("/extract", responses=responses(SchemaExtracted, _EXTRACTED, *_ERRORS))
async def extract(
    name: Name, request: Request, services: Deps, request_id: RequestId, body: EmptyBody | None = None
) -> Response:
    """Write tables-schema.sql, objects-schema.sql and drop-tables.sql into the migration's working directory."""
    await with_file_target(services, name)
    return await run(request, services, name, Mode.SCHEMA_EXTRACT, {}, request_id)


@router.post("/apply", responses=responses(SchemaApplied, {"tables_created": 12}, *_ERRORS))
async def apply(
    name: Name, request: Request, services: Deps, request_id: RequestId, body: SchemaApplyBody | None = None
) -> Response:
    """Create the tables on the target. Doing it twice is no error."""
    await with_file_target(services, name)
    sql_file = None
    if body is not None and body.sql_file is not None:
        workdir = services.catalog.workdir(name)
        sql_file = str(await in_thread(allowed_sql_file, body.sql_file, workdir, configured_folders()))
    return await run(request, services, name, Mode.SCHEMA_APPLY, {"sql_file": sql_file}, request_id)
