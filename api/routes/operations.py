"""Operations of all migrations: list, read, cancel, stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.bodies import EndBody, OperationFilter, OperationId
from api.documented import responses
from api.envelope import answer
from api.releasing import release_held, require_releasable
from api.results import Operation, OperationEnded, Operations
from api.services import Deps, Services, is_operation_id
from api.threads import in_thread
from api.views import held_view, operation_view
from whimbrel.catalog.operations import not_found
from whimbrel.catalog.records import OperationRecord
from whimbrel.errors import (
    ConnectionRefused,
    InvalidRequest,
    OperationConflict,
    OperationNotFound,
    OperationTimeout,
    OrchestratorFailed,
)

router = APIRouter(prefix="/v1/operations", tags=["Operations"])
_ENDING_ERRORS = (
    InvalidRequest,
    OperationNotFound,
    OperationConflict,
    OperationTimeout,
    OrchestratorFailed,
    ConnectionRefused,
)
EXAMPLE: dict[str, Any] = {
    "operation_id": "6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10",
    "migration": "shop",
    "mode": "data-replication",
    "status": "running",
    "paused": False,
    "phase": "data",
    "started_at": "2026-11-23T09:00:00.000000Z",
    "finished_at": None,
    "duration": "42.5s",
    "progress": {
        "percent": 63.2,
        "eta_seconds": 24.8,
        "tables_total": 12,
        "tables_done": 9,
        "rows_total": 1000000,
        "rows_extracted": 655360,
        "rows_loaded": 632000,
        "bytes_extracted": 98304000,
        "rows_per_second": 14870.6,
        "tables": None,
    },
    "change": None,
    "workflow": {"id": "6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10", "run_id": None, "url": None},
    "result": None,
    "error": None,
    "logs": None,
}


def _ended(status: str) -> dict[str, Any]:
    held = {
        "slot": "whimbrel_shop",
        "retained_bytes": 33554432,
        "seen_at": "2026-11-23T09:30:00.000000Z",
        "age_seconds": 0.1,
        "release": f'POST /v1/operations/{EXAMPLE["operation_id"]}/cancel with {{"release": true}}, '
        "POST /v1/migrations/shop/reset, or DELETE /v1/migrations/shop",
    }
    return {"operation_id": EXAMPLE["operation_id"], "status": status, "held": held}


@router.get("", responses=responses(Operations, {"operations": [EXAMPLE], "next_page_token": None, "total": 1}))
async def list_operations(wanted: Annotated[OperationFilter, Query()], request: Request, services: Deps) -> Response:
    """One page, newest first. Tables and logs stand only in an operation's own page."""
    found, total = await in_thread(
        services.catalog.list_operations,
        wanted.migration,
        wanted.status,
        wanted.mode,
        wanted.page_size,
        int(wanted.page_token),
    )
    services.statuses.saw(found)
    end = int(wanted.page_token) + len(found)
    result = {
        "operations": [operation_view(r, services.orchestrator.url(r.id)) for r in found],
        "next_page_token": str(end) if found and end < total else None,
        "total": total,
    }
    return answer(request, result)


@router.get("/{id}", responses=responses(Operation, EXAMPLE, OperationNotFound))
async def get_operation(id: OperationId, request: Request, services: Deps) -> Response:
    """Everything about one operation: every table, result, error and the tails of its logs."""
    record = await in_thread(services.catalog.get_operation, _known(id))
    services.statuses.saw([record])
    view = operation_view(record, services.orchestrator.url(record.id), logs=True)
    return answer(request, view, logs=record.logs)


@router.post("/{id}/cancel", responses=responses(OperationEnded, _ended("cancelled"), *_ENDING_ERRORS))
async def cancel(id: OperationId, request: Request, services: Deps, body: EndBody | None = None) -> Response:
    """Let it finish the file or transaction in hand, clean up and end; answers once it has ended.

    What a later operation needs in order to go on (``held``) stays on the source, unless ``release`` is asked for.
    """
    return await _end(request, services, _known(id), body, services.dispatcher.cancel)


@router.post("/{id}/stop", responses=responses(OperationEnded, _ended("stopped"), *_ENDING_ERRORS))
async def stop(id: OperationId, request: Request, services: Deps, body: EndBody | None = None) -> Response:
    """End it at once and clean up behind it; answers once that is done. ``release`` and ``held``: see cancel."""
    return await _end(request, services, _known(id), body, services.dispatcher.stop)


async def _end(
    request: Request,
    services: Services,
    id: str,
    body: EndBody | None,
    end: Callable[[str], Awaitable[OperationRecord]],
) -> Response:
    release = body is not None and body.release
    if release:
        await require_releasable(services, id)
    record = await end(id)
    if release:
        await release_held(services, record)
    logs = await in_thread(services.catalog.logs, record.id)
    held = held_view(await in_thread(services.catalog.held.find, record.migration), record.id)
    return answer(request, {"operation_id": record.id, "status": record.status.value, "held": held}, logs=logs)


def _known(id: str) -> str:
    """Raises OperationNotFound for what cannot be an operation's id."""
    if not is_operation_id(id.lower()):
        raise not_found(id)
    return id.lower()
