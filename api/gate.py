"""What every request passes before FastAPI sees it: clock, key, size of the body, and the last safety net."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import KeyFile
from api.envelope import answer_encoded, began, failure, unexpected
from api.logins import FailedLogins
from api.metrics import PATH as METRICS
from api.metrics import RequestMetrics, is_open
from api.statuses import Statuses
from whimbrel.catalog.home import NAME
from whimbrel.errors import AuthFailed, InvalidRequest, WhimbrelError

logger = logging.getLogger("api.gate")

BODY_LIMIT = 1024 * 1024
HEADER_LIMIT = 32 * 1024
PUBLIC = "/v1/health"
_STATUS = re.compile(f"/v1/migrations/({NAME})/status")
_STATUS_ROUTE = "/v1/migrations/{name}/status"
_BODY_HEADERS = (b"content-length", b"transfer-encoding")


class Gate:
    """ASGI middleware around the whole application.

    ``statuses``: what is at hand there is answered here, without the way through the routes, as many may poll it often;
    and before a request that may have changed something is answered, all of it is forgotten.
    """

    def __init__(self, app: ASGIApp, keys: KeyFile, statuses: Statuses, metrics: RequestMetrics) -> None:
        self._app = app
        self._keys = keys
        self._statuses = statuses
        self._metrics = metrics
        self._failed_logins = FailedLogins()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        arrived, status, route = began(scope), 0, None

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            route = await self._answer(scope, receive, counted)
        finally:
            code = scope["state"].get("error_code")
            self._metrics.answered(scope["method"], route, status, time.monotonic() - arrived, code)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> str | None:
        """Answer, and return the route's path with its placeholders; None when no route was reached."""
        sent, inner = False, scope

        async def watched(message: Message) -> None:
            nonlocal sent
            if not sent and scope["method"] != "GET":
                self._statuses.forget()
            sent = True
            await send(message)

        try:
            _check_headers(scope)
            await self._authenticate(scope)
            _check_query(scope)
            at_hand = self._at_hand(scope)
            if at_hand is not None:
                await answer_encoded(scope, at_hand)(scope, receive, send)
                return _STATUS_ROUTE
            body = await _read_body(scope, receive)
            inner = _as_json(scope) if body else scope
            await self._app(inner, _replay(body, receive), watched)
        except WhimbrelError as e:
            headers = {"WWW-Authenticate": "Bearer"} if isinstance(e, AuthFailed) else None
            await failure(scope, e, headers=headers)(scope, receive, send)
        except Exception as e:
            if sent:
                raise
            await unexpected(scope, e)(scope, receive, send)
        return getattr(inner.get("route"), "path", None)

    def _at_hand(self, scope: Scope) -> bytes | None:
        """The answer to a GET .../status without body or query, if there is one already."""
        polled = scope["method"] == "GET" and not scope["query_string"] and _STATUS.fullmatch(scope["path"])
        if not polled or any(name in _BODY_HEADERS for name, _ in scope["headers"]):
            return None
        return self._statuses.at_hand(polled[1])

    async def _authenticate(self, scope: Scope) -> None:
        path = scope["path"]
        if not path.startswith("/v1/") and (path != METRICS or is_open()):
            return
        if path == PUBLIC:
            return
        address = (scope.get("client") or ("?",))[0]
        scheme, _, token = Request(scope).headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._keys.accepts(token.strip()):
            self._failed_logins.succeeded(address)
            return
        seconds = self._failed_logins.failed(address)
        shown = repr(path[:200])  # whoever has no key must not write lines of their own into the log
        logger.warning("refused %s %s from %s: no valid key", scope["method"], shown, address)
        await asyncio.sleep(seconds)
        raise AuthFailed("no bearer token, or one that is not known")


def _check_headers(scope: Scope) -> None:
    """Raises InvalidRequest for more than HEADER_LIMIT bytes of headers, path and query."""
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    if headers + len(scope["path"]) + len(scope["query_string"]) > HEADER_LIMIT:
        raise InvalidRequest(f"headers: longer than {HEADER_LIMIT} bytes", field="headers")


def _check_query(scope: Scope) -> None:
    """Raises InvalidRequest for a parameter given twice, of which only one would be heeded."""
    if not scope["query_string"]:
        return
    names = [name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)]
    twice = next((n for n in names if names.count(n) > 1), None)
    if twice is not None:
        raise InvalidRequest(f"{twice[:80]}: given twice", field=twice[:80])


async def _read_body(scope: Scope, receive: Receive) -> bytes:
    """The whole body, which is small. Raises InvalidRequest when it is not, or is not JSON."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > BODY_LIMIT:
            raise InvalidRequest(f"body: longer than {BODY_LIMIT} bytes", field="body")
    if body:
        _check_json(bytes(body))
    return bytes(body)


def _check_json(body: bytes) -> None:
    """Refuse what Python's reader lets pass and a database would not: NaN, lone surrogates, a key given twice."""
    try:
        parsed = json.loads(body, parse_constant=_refuse_constant, object_pairs_hook=_no_duplicates)
        json.dumps(parsed, ensure_ascii=False).encode()
    except RecursionError as e:
        raise InvalidRequest("body: nested too deeply", field="body") from e
    except ValueError as e:
        # The reader's own message says where; that of a failed encoding would quote the value.
        where = f" ({e.msg} at line {e.lineno} column {e.colno})" if isinstance(e, json.JSONDecodeError) else ""
        raise InvalidRequest(f"body: not valid JSON in UTF-8{where}", field="body") from e


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(n for n in names if names.count(n) > 1)
        raise InvalidRequest(f"{twice[:80]}: given twice", field=twice[:80])
    return found


def _as_json(scope: Scope) -> Scope:
    """Bodies are JSON whatever their Content-Type says, so that ``curl -d`` works without a header."""
    headers = [(k, v) for k, v in scope["headers"] if k != b"content-type"]
    return {**scope, "headers": [*headers, (b"content-type", b"application/json")]}


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
