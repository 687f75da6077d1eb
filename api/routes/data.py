"""Starting a load, alone or followed by replication."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.bodies import DataBody, Name, ReplicationBody
from api.documented import responses
from api.envelope import answer
from api.results import Started
from api.services import Deps, RequestId
from api.views import started_view
from api.work import into_file_target
from whimbrel.catalog.records import Mode
from whimbrel.errors import InvalidRequest, MigrationNotFound, OperationConflict, OrchestratorFailed

router = APIRouter(prefix="/v1/migrations/{name}", tags=["Data"])
_ERRORS = (InvalidRequest, MigrationNotFound, OperationConflict, OrchestratorFailed)
_EXAMPLE = {
    "operation_id": "6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10",
    "status": "running",
    "started_at": "2026-11-23T09:00:00.000000Z",
}


@router.post("/data", responses=responses(Started, _EXAMPLE, *_ERRORS))
async def start_data(
    name: Name, request: Request, services: Deps, request_id: RequestId, body: DataBody | None = None
) -> Response:
    """Load the tables. Answers at once; poll status or the operation."""
    asked = (body or DataBody()).model_dump()
    ready = into_file_target(services, name, asked)
    record = await services.dispatcher.start(name, Mode.DATA, asked, request_id, ready)
    return answer(request, started_view(record), operation=record.id)


@router.post("/data-replication", responses=responses(Started, _EXAMPLE, *_ERRORS))
async def start_data_replication(
    name: Name, request: Request, services: Deps, request_id: RequestId, body: ReplicationBody | None = None
) -> Response:
    """Load the tables, then replicate from where the load began. Answers at once; poll status or the operation.

    ``position`` is not used, as the load itself says where replication begins; the operation's log says so.
    """
    asked = (body or ReplicationBody()).model_dump()
    ready = into_file_target(services, name, asked)
    record = await services.dispatcher.start(name, Mode.DATA_REPLICATION, asked, request_id, ready)
    return answer(request, started_view(record), operation=record.id)
