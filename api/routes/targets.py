"""Targets: create, read, list, delete, test."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import connectors
from api.bodies import EndpointBody, Name
from api.documented import responses
from api.envelope import answer, failure
from api.migration_rules import check_place
from api.results import Connected, Deleted, EndpointView, NameAndType, Targets
from api.services import Deps
from api.threads import in_thread
from api.views import endpoint_view
from whimbrel.errors import (
    ConnectionRefused,
    DriverMissing,
    FireboltSchemaPublicOnly,
    InvalidRequest,
    TargetNotFound,
)

router = APIRouter(prefix="/v1/targets", tags=["Targets"])
_NAMED = {"name": "shop-new", "type": "postgres"}
_VIEW = {**_NAMED, "parameters": {"host": "db1.example.com", "user": "mover", "password": "***", "database": "shop"}}
_DELETED = {"name": _NAMED["name"], "deleted": True}
_CONNECTED = {"connected": True, "message": "connected to PostgreSQL 15.18 at db1.example.com:5432"}


@router.post("/test", responses=responses(Connected, _CONNECTED, ConnectionRefused, far_end=(ConnectionRefused,)))
async def test_target(body: EndpointBody, request: Request, services: Deps) -> Response:
    """Try a connection without saving it. A far end that cannot be reached answers 200 with success false."""
    connectors.refuse_queue(body.type)
    record = connectors.parse("target", "test", body.type, body.parameters)
    try:
        message = await services.slow.run_for(request, connectors.test, "target", record)
    except DriverMissing:
        raise
    except ConnectionRefused as e:
        return failure(request.scope, e, status=200)
    return answer(request, {"connected": True, "message": message})


@router.put("/{name}", responses=responses(NameAndType, _NAMED, FireboltSchemaPublicOnly))
async def put_target(name: Name, body: EndpointBody, request: Request, services: Deps) -> Response:
    """Create or replace a target. A secret sent as '***' keeps its stored value."""
    record = connectors.parse("target", name, body.type, body.parameters)
    await in_thread(check_place, services.catalog, name, body.type, record.parameters)
    await in_thread(services.catalog.put_target, record)
    return answer(request, {"name": name, "type": body.type})


@router.get("/{name}", responses=responses(EndpointView, _VIEW, InvalidRequest, TargetNotFound))
async def get_target(name: Name, request: Request, services: Deps) -> Response:
    """One target, its secrets masked."""
    return answer(request, endpoint_view(await in_thread(services.catalog.get_target, name)))


@router.get("", responses=responses(Targets, {"targets": [_VIEW]}))
async def list_targets(request: Request, services: Deps) -> Response:
    """All targets by name, their secrets masked."""
    found = await in_thread(services.catalog.list_targets)
    return answer(request, {"targets": [endpoint_view(r) for r in found]})


@router.delete("/{name}", responses=responses(Deleted, _DELETED, InvalidRequest, TargetNotFound))
async def delete_target(name: Name, request: Request, services: Deps) -> Response:
    """Delete a target that no migration refers to."""
    await in_thread(services.catalog.delete_target, name)
    return answer(request, {"name": name, "deleted": True})
