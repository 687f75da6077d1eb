"""The application: routes, the gate before them, the envelope around them, the reconciler beside them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from fastapi import Depends, FastAPI
from starlette.responses import HTMLResponse

from api.auth import KeyFile
from api.dispatch import SYNC_SECONDS, Dispatcher
from api.docs_page import render
from api.envelope import register_handlers
from api.gate import Gate
from api.metrics import RequestMetrics
from api.openapi import describe
from api.orchestrator import Orchestrator
from api.queries import refuse_unknown_query
from api.reconciler import EVERY_SECONDS, reconcile_forever
from api.routes import ROUTERS
from api.services import Services
from api.statuses import Statuses, reader
from api.threads import SlowThreads
from whimbrel.catalog.home import api_keys_file
from whimbrel.catalog.store import Catalog


def create_app(
    catalog: Catalog,
    orchestrator: Orchestrator,
    keys: KeyFile | None = None,
    *,
    sync_seconds: float = SYNC_SECONDS,
    reconcile_seconds: float = EVERY_SECONDS,
) -> FastAPI:
    """The ASGI application. ``keys`` defaults to the key file of the catalog's home folder."""
    app = routed()
    furnish(app, catalog, orchestrator, keys, sync_seconds=sync_seconds, reconcile_seconds=reconcile_seconds)
    return app


def furnish(
    app: FastAPI,
    catalog: Catalog,
    orchestrator: Orchestrator,
    keys: KeyFile | None = None,
    *,
    sync_seconds: float = SYNC_SECONDS,
    reconcile_seconds: float = EVERY_SECONDS,
) -> None:
    """Put behind the routes what they work with, and the gate before them."""
    dispatcher = Dispatcher(catalog, orchestrator, sync_seconds)
    statuses, metrics = Statuses(reader(catalog, orchestrator)), RequestMetrics()
    app.state.services = Services(catalog, orchestrator, dispatcher, SlowThreads(), statuses, metrics)
    app.add_middleware(Gate, keys=keys or KeyFile(api_keys_file(catalog.home)), statuses=statuses, metrics=metrics)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        healing = asyncio.create_task(reconcile_forever(catalog, dispatcher, reconcile_seconds))
        yield
        healing.cancel()
        with suppress(asyncio.CancelledError):
            await healing

    app.router.lifespan_context = lifespan


def routed() -> FastAPI:
    """All routes, described, with nothing behind them: some tenths of a second's work that tests do once."""
    app = FastAPI(
        title="Whimbrel",
        version=version("whimbrel"),
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(refuse_unknown_query)])
    register_handlers(app)
    describe(app)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(render(app.openapi()))

    return app
