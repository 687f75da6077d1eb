"""POST /v1/queues/test."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import connectors
from api.bodies import EndpointBody
from api.documented import responses
from api.envelope import answer, failure
from api.results import QueueReachable
from api.services import Deps
from whimbrel.errors import ConnectionRefused, DriverMissing

router = APIRouter(prefix="/v1/queues", tags=["Queues"])
_EXAMPLE = {"ok": True, "message": "broker reachable, topic 'shop-changes' found"}


@router.post("/test", responses=responses(QueueReachable, _EXAMPLE, ConnectionRefused, far_end=(ConnectionRefused,)))
async def test_queue(body: EndpointBody, request: Request, services: Deps) -> Response:
    """Try broker and topic of a queue without saving it. What cannot be reached or found answers 200 with success
    false."""
    connectors.require_queue(body.type)
    record = connectors.parse("target", "test", body.type, body.parameters)
    try:
        message = await services.slow.run_for(request, connectors.test, "target", record)
    except DriverMissing:
        raise
    except ConnectionRefused as e:
        return failure(request.scope, e, status=200)
    return answer(request, {"ok": True, "message": message})
