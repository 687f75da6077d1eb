"""GET /metrics for Prometheus: text, not the envelope, and no part of the REST contract."""

from __future__ import annotations

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, generate_latest
from starlette.responses import Response

from api.metrics import PATH, Figures
from api.services import Deps
from api.threads import in_thread
from whimbrel.errors import CatalogUnreachable

router = APIRouter()


@router.get(PATH, include_in_schema=False)
async def scrape(services: Deps) -> Response:
    """This process's requests and the whole catalog's operations. An unreachable catalog is a figure, not an error."""
    registry = CollectorRegistry(auto_describe=False)
    try:
        registry.register(Figures(await in_thread(services.catalog.totals)))
    except CatalogUnreachable:
        registry.register(Figures(None))
    body = generate_latest(services.metrics.registry) + generate_latest(registry)
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")
