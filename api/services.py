"""What the routes work with, made once per application."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Header, Request

from api.dispatch import Dispatcher
from api.metrics import RequestMetrics
from api.orchestrator import Orchestrator
from api.statuses import Statuses
from api.threads import SlowThreads
from whimbrel.catalog.store import Catalog
from whimbrel.errors import InvalidRequest

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
REQUEST_ID = "X-Request-Id"


@dataclass(frozen=True)
class Services:
    """``slow`` runs what may wait for a far end."""

    catalog: Catalog
    orchestrator: Orchestrator
    dispatcher: Dispatcher
    slow: SlowThreads
    statuses: Statuses
    metrics: RequestMetrics


# Asynchronous although they wait for nothing: FastAPI would send each call of a plain function through a thread.
async def _services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


async def _request_id(
    request: Request,
    given: Annotated[
        str | None,
        Header(
            alias=REQUEST_ID,
            description="A UUID. The same request with the same id finds the same operation, so it is safe to retry.",
            json_schema_extra={"format": "uuid"},
        ),
    ] = None,
) -> str | None:
    """The id in lower case. Raises InvalidRequest unless it is one UUID."""
    if given is None:
        return None
    ids = {text.strip().lower() for text in request.headers.getlist(REQUEST_ID)}
    if len(ids) > 1:
        raise InvalidRequest(f"{REQUEST_ID}: given twice", field=REQUEST_ID)
    (id,) = ids
    if not _UUID.fullmatch(id):
        raise InvalidRequest(f"{REQUEST_ID}: not a UUID like 6d1f7f0e-3c4b-4a55-9f0e-2b8a1c9d7e10", field=REQUEST_ID)
    return id


Deps = Annotated[Services, Depends(_services)]
RequestId = Annotated[str | None, Depends(_request_id)]


def is_operation_id(text: str) -> bool:
    """Whether an operation could have this id."""
    return _UUID.fullmatch(text) is not None
