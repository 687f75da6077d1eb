"""What every request passes before FastAPI sees it: clock, key, its whole body, and the last safety net."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import KeyFile
from api.envelope import answer_encoded, began, failure, unexpected
from api.incoming import BODY_LIMIT, ClientGone, given_twice, read_body
from api.logins import FailedLogins
from api.metrics import PATH as METRICS
from api.metrics import RequestMetrics, is_open
from api.statuses import Statuses
from whimbrel.catalog.home import NAME
from whimbrel.errors import AuthFailed, InvalidRequest, WhimbrelError

logger = logging.getLogger("api.gate")

HEADER_LIMIT = 32 * 1024
PUBLIC = "/v1/health"
KEYED = "keyed"  # in the state of a request that has shown a key
_STATUS = re.compile(f"/v1/migrations/({NAME})/status")
_STATUS_ROUTE = "/v1/migrations/{name}/status"
_BODY_HEADERS = (b"content-length", b"transfer-encoding")
LEFT = 499  # what is counted for a client that left before it had sent its request


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
        arrived, status, route = began(scope), LEFT, None

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

        if _two_lengths(scope):
            # Where it ends is not certain, and what stands behind it may be a part of it: nothing more is heeded.
            e = InvalidRequest("headers: Content-Length and Transfer-Encoding exclude each other", field="headers")
            await failure(scope, e, headers={"Connection": "close"})(scope, receive, send)
            return None
        try:
            _check_headers(scope)
            keyed = await self._authenticate(scope)
            _check_query(scope)
            at_hand = self._at_hand(scope)
            if at_hand is not None:
                await answer_encoded(scope, at_hand)(scope, receive, send)
                return _STATUS_ROUTE
            # What needs no key needs no body either: nothing is read for strangers but their headers.
            body = await read_body(receive) if keyed else b""
            inner = _as_json(scope) if body else scope
            await self._app(inner, _replay(body, receive), watched)
        except ClientGone:
            return None
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

    async def _authenticate(self, scope: Scope) -> bool:
        """Whether a key was shown; False where none is needed. Raises AuthFailed."""
        path = scope["path"]
        if not path.startswith("/v1/") and (path != METRICS or is_open()):
            return False
        if path == PUBLIC:
            return False
        address = (scope.get("client") or ("?",))[0]
        scheme, _, token = Request(scope).headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._keys.accepts(token.strip()):
            self._failed_logins.succeeded(address)
            scope["state"][KEYED] = True
            return True
        seconds = self._failed_logins.failed(address)
        shown = repr(path[:200])  # whoever has no key must not write lines of their own into the log
        logger.warning("refused %s %s from %s: no valid key", scope["method"], shown, address)
        await asyncio.sleep(seconds)
        raise AuthFailed("no bearer token, or one that is not known")


def _two_lengths(scope: Scope) -> bool:
    """Whether Content-Length and Transfer-Encoding both say where the body ends."""
    return {name for name, _ in scope["headers"]}.issuperset(_BODY_HEADERS)


def _check_headers(scope: Scope) -> None:
    """Raises InvalidRequest for more than HEADER_LIMIT bytes of headers, path and query, and for a body that will be
    too long."""
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    if headers + len(scope["path"]) + len(scope["query_string"]) > HEADER_LIMIT:
        raise InvalidRequest(f"headers: longer than {HEADER_LIMIT} bytes", field="headers")
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    if any(not value.isdigit() or int(value[:20]) > BODY_LIMIT for value in lengths):
        raise InvalidRequest(f"body: longer than {BODY_LIMIT} bytes", field="body")


def _check_query(scope: Scope) -> None:
    """Raises InvalidRequest for a parameter given twice, of which only one would be heeded."""
    if not scope["query_string"]:
        return
    names = [name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)]
    if len(set(names)) != len(names):
        raise given_twice(names)


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
