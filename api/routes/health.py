"""GET /v1/health, the only path that needs no key."""

from __future__ import annotations

import asyncio
from importlib.metadata import version

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.documented import responses
from api.envelope import answer
from api.results import Health
from api.services import Deps, Services
from api.threads import in_thread
from whimbrel.errors import CatalogUnreachable

router = APIRouter(prefix="/v1", tags=["Health"])
_EXAMPLE = {"status": "ok", "version": "0.1.0", "catalog": "ok", "temporal": "ok", "worker": "polls"}


@router.get("/health", responses=responses(Health, _EXAMPLE))
async def health(request: Request, services: Deps) -> Response:
    """Whether the API runs, and what it sees of its catalog, of Temporal and of workers. Public.

    With ``worker`` at ``missing`` operations are accepted and wait: start one. ``busy``: workers live, but each has as
    many long steps as it takes at once, and has had them for a minute; what is started waits until one ends, or until
    another worker is started. ``unknown``: Temporal does not say.
    """
    orchestrator = services.orchestrator
    catalog, temporal, workers = await asyncio.gather(
        _catalog(services), orchestrator.reachable(), orchestrator.workers()
    )
    result = {
        "status": "ok",
        "version": version("whimbrel"),
        "catalog": "ok" if catalog else "unreachable",
        "temporal": "ok" if temporal else "unreachable",
        "worker": workers,
    }
    return answer(request, result)


async def _catalog(services: Services) -> bool:
    try:
        await in_thread(services.catalog.ping)
    except CatalogUnreachable:
        return False
    return True
