"""GET .../status: what runs now, and what ran last."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.bodies import Name
from api.documented import responses
from api.envelope import answer_encoded
from api.results import MigrationStatus
from api.routes.operations import EXAMPLE
from api.services import Deps
from whimbrel.errors import InvalidRequest, MigrationNotFound

router = APIRouter(prefix="/v1/migrations/{name}", tags=["Status"])
_EXAMPLE = {
    "migration": "shop",
    "state": "running",
    "operation": EXAMPLE,
    "last_operation": None,
    "held": None,
    "let_go": None,
}


@router.get("/status", responses=responses(MigrationStatus, _EXAMPLE, InvalidRequest, MigrationNotFound))
async def status(name: Name, request: Request, services: Deps) -> Response:
    """Live progress of the running operation, and the last one that ended. Logs stand in the operation's own page.

    ``held``: what the source keeps for a resume while nobody follows it; ``let_go``: that it was dropped by itself.
    """
    return answer_encoded(request.scope, await services.statuses.get(name))
