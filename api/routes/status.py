"""GET .../status: what runs now, and what ran last."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.bodies import Name
from api.documented import responses
from api.envelope import answer
from api.results import MigrationStatus
from api.routes.operations import EXAMPLE
from api.services import Deps, Services
from api.threads import in_thread
from api.views import operation_view
from whimbrel.catalog.records import OperationRecord
from whimbrel.catalog.store import Catalog
from whimbrel.errors import InvalidRequest, MigrationNotFound

router = APIRouter(prefix="/v1/migrations/{name}", tags=["Status"])
_EXAMPLE = {"migration": "shop", "state": "running", "operation": EXAMPLE, "last_operation": None}


@router.get("/status", responses=responses(MigrationStatus, _EXAMPLE, InvalidRequest, MigrationNotFound))
async def status(name: Name, request: Request, services: Deps) -> Response:
    """Live progress of the running operation, and the last one that ended. Logs stand in the operation's own page."""
    running, last = await in_thread(_both, services.catalog, name)
    state = "idle" if running is None else "paused" if running.paused else "running"
    result = {
        "migration": name,
        "state": state,
        "operation": _view(services, running),
        "last_operation": _view(services, last),
    }
    return answer(request, result)


def _both(catalog: Catalog, name: str) -> tuple[OperationRecord | None, OperationRecord | None]:
    catalog.get_migration(name)
    running = catalog.running_operation(name)
    last = catalog.last_operation(name)
    if running is not None:
        running = catalog.figures(running, with_tables=True)
        return running, last and catalog.figures(last, with_tables=False)
    return None, last and catalog.figures(last, with_tables=True)


def _view(services: Services, record: OperationRecord | None) -> dict[str, Any] | None:
    return None if record is None else operation_view(record, services.orchestrator.url(record.id))
