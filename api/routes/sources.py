"""Sources: create, read, list, delete, test."""

from __future__ import annotations

import logging

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import connectors
from api.bodies import EndpointBody, Name
from api.documented import responses
from api.envelope import answer, failure
from api.results import Connected, Deleted, EndpointView, NameAndType, Sources
from api.services import Deps
from api.threads import in_thread
from api.views import endpoint_view
from whimbrel.errors import ConnectionRefused, DriverMissing, InvalidRequest, SourceNotFound

logger = logging.getLogger("api.sources")
router = APIRouter(prefix="/v1/sources", tags=["Sources"])
_NAMED = {"name": "shop-old", "type": "postgres"}
_VIEW = {**_NAMED, "parameters": {"host": "db1.example.com", "user": "mover", "password": "***", "database": "shop"}}
_DELETED = {"name": _NAMED["name"], "deleted": True}
_CONNECTED = {"connected": True, "message": "connected to PostgreSQL 15.18 at db1.example.com:5432"}


@router.post("/test", responses=responses(Connected, _CONNECTED, ConnectionRefused, far_end=(ConnectionRefused,)))
async def test_source(body: EndpointBody, request: Request, services: Deps) -> Response:
    """Try a connection without saving it. A far end that cannot be reached answers 200 with success false."""
    record = connectors.parse("source", "test", body.type, body.parameters)
    try:
        message = await services.slow.run_for(request, connectors.test, "source", record)
    except DriverMissing:
        raise
    except ConnectionRefused as e:
        return failure(request.scope, e, status=200)
    return answer(request, {"connected": True, "message": message})


@router.put("/{name}", responses=responses(NameAndType, _NAMED, InvalidRequest))
async def put_source(name: Name, body: EndpointBody, request: Request, services: Deps) -> Response:
    """Create or replace a source. A secret sent as '***' keeps its stored value.

    A slot that is held where the source led before is named in ``logs``: should that be another server, nobody looks
    after it any more, and it must be dropped there."""
    record = connectors.parse("source", name, body.type, body.parameters)
    left = await in_thread(services.catalog.put_source, record)
    lines = [
        f"warning: slot {s.slot} of migration {s.migration} is held on {s.server}; unless the source is still that "
        f"server, nobody looks after it any more: SELECT pg_drop_replication_slot('{s.slot}') there"
        for s in left
    ]
    for line in lines:
        logger.warning("source %s leads elsewhere: %s", name, line)
    logs = {"orchestrator": "\n".join(lines)} if lines else None
    return answer(request, {"name": name, "type": body.type}, logs=logs)


@router.get("/{name}", responses=responses(EndpointView, _VIEW, InvalidRequest, SourceNotFound))
async def get_source(name: Name, request: Request, services: Deps) -> Response:
    """One source, its secrets masked."""
    return answer(request, endpoint_view(await in_thread(services.catalog.get_source, name)))


@router.get("", responses=responses(Sources, {"sources": [_VIEW]}))
async def list_sources(request: Request, services: Deps) -> Response:
    """All sources by name, their secrets masked."""
    found = await in_thread(services.catalog.list_sources)
    return answer(request, {"sources": [endpoint_view(r) for r in found]})


@router.delete("/{name}", responses=responses(Deleted, _DELETED, InvalidRequest, SourceNotFound))
async def delete_source(name: Name, request: Request, services: Deps) -> Response:
    """Delete a source that no migration refers to."""
    await in_thread(services.catalog.delete_source, name)
    return answer(request, {"name": name, "deleted": True})
