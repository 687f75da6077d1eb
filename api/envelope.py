"""The one shape of every answer, and how errors of the house become it."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from api.durations import go_duration
from whimbrel.errors import (
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    SourceNotFound,
    TargetNotFound,
    WhimbrelError,
)

logger = logging.getLogger("api")


class EnvelopeResponse(Response):
    """JSON as UTF-8. Raises ValueError for NaN and infinity, which are not JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encoded(content) + b"\n"  # so that a terminal's prompt stands below it


def answer(
    request: Request,
    result: Any,
    *,
    logs: Mapping[str, str] | None = None,
    operation: str | None = None,
) -> EnvelopeResponse:
    """A success. ``operation`` is sent back as X-Request-Id."""
    body = _body(request.scope, result, None, logs)
    return EnvelopeResponse(body, headers={"X-Request-Id": operation} if operation else None)


def encoded(value: Any) -> bytes:
    """The JSON of an answer or a part of one. Raises ValueError for NaN and infinity, which are not JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def answer_encoded(scope: Scope, result: bytes) -> Response:
    """A success whose result is JSON already."""
    tail = f',"error":null,"duration":"{_duration(scope)}"}}\n'.encode()
    return Response(b'{"success":true,"result":' + result + tail, media_type="application/json")


def failure(
    scope: Scope,
    error: WhimbrelError,
    *,
    status: int | None = None,
    logs: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> EnvelopeResponse:
    """An error with its registered status, unless the caller knows a better one."""
    scope.setdefault("state", {})["error_code"] = error.code
    body = _body(scope, None, error.to_json(), logs)
    return EnvelopeResponse(body, status_code=status or status_of(error), headers=dict(headers or {}))


def unexpected(scope: Scope, error: BaseException) -> EnvelopeResponse:
    """Log the traceback under a new id and answer with that id alone."""
    error_id = uuid.uuid4().hex
    logger.error("error %s in %s %s", error_id, scope.get("method"), scope.get("path"), exc_info=error)
    return failure(scope, InternalError("an unexpected error; the log tells more under this id", error_id=error_id))


def status_of(error: WhimbrelError) -> int:
    """The HTTP status: the registered one, but 400 where a body names a source or target that does not exist."""
    if isinstance(error, SourceNotFound | TargetNotFound) and "field" in error.extra:
        return 400
    return error.status


def began(scope: Scope) -> float:
    """When the request arrived, by ``time.monotonic``."""
    return float(scope.setdefault("state", {}).setdefault("began", time.monotonic()))


def register_handlers(app: FastAPI) -> None:
    """Let every error that FastAPI and Starlette know leave in the envelope."""
    app.add_exception_handler(WhimbrelError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)


async def _on_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, WhimbrelError):
        raise error
    if isinstance(error, InternalError):
        error.extra.setdefault("error_id", uuid.uuid4().hex)
        logger.error("error %s: %s", error.extra["error_id"], error.message)
    return failure(request.scope, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    # Pydantic's "input" is left out on purpose: it may be a secret.
    problems = [{"field": _field(e["loc"]), "message": e["msg"]} for e in error.errors()]
    message = "; ".join(f"{p['field']}: {p['message']}" for p in problems[:5])
    return failure(request.scope, InvalidRequest(message, field=problems[0]["field"], errors=problems[:50]))


async def _on_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    path = f"{request.method} {request.url.path[:200]}"
    found: WhimbrelError
    if error.status_code == 404:
        found = NotFound(f"there is no {path}")
    elif error.status_code == 405:
        found = MethodNotAllowed(f"{path}: this path does not have this method")
        return failure(request.scope, found, headers={"Allow": ", ".join(_methods(request))})
    elif error.status_code < 500:
        found = InvalidRequest(f"{path}: {error.detail}")
    else:
        return unexpected(request.scope, error)
    return failure(request.scope, found, headers=error.headers)


def _methods(request: Request) -> list[str]:
    """All methods of a path. Starlette would name those of one route."""

    def has(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    return [method for method in ("DELETE", "GET", "HEAD", "POST", "PUT") if has(method)]


_UNION_TAGS = ("inline", "saved")  # parts of pydantic's locations that no client has written


def _field(location: tuple[int | str, ...]) -> str:
    parts = [str(p) for p in location if p not in _UNION_TAGS]
    return ".".join(parts[1:] if len(parts) > 1 else parts)


def _body(scope: Scope, result: Any, error: dict[str, Any] | None, logs: Mapping[str, str] | None) -> dict[str, Any]:
    body: dict[str, Any] = {"success": error is None, "result": result, "error": error}
    if logs is not None:
        body["logs"] = dict(logs)
    return {**body, "duration": _duration(scope)}


def _duration(scope: Scope) -> str:
    return go_duration(time.monotonic() - began(scope))
