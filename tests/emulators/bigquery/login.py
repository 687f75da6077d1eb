"""Tokens for service accounts' signed claims, and what is refused without one; and the faults that tests order."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any
from urllib.parse import parse_qs

from google.auth import jwt

from tests.emulators.bigquery.mends import Faults


class Door:
    """In front of the application, which knows no login."""

    def __init__(self, app: Any, accounts: dict[str, str], seconds: float, faults: Faults) -> None:
        self._app, self._accounts, self._seconds, self._faults = app, accounts, seconds, faults
        self._tokens: dict[str, float] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/token":
            await _answer(send, *self._token(await _body(receive)))
        elif scope["path"] == "/_stand/faults":
            self._faults.order(json.loads(await _body(receive)))
            await _answer(send, 200, {})
        elif not self._known(dict(scope["headers"]).get(b"authorization", b"").decode()):
            await _answer(send, 401, _error(401, "authError", "Request had invalid authentication credentials."))
        elif refused := self._faults.of_request(scope["method"], scope["path"]):
            await _answer(send, refused[0], _error(*refused))
        else:
            await self._app(scope, receive, send)

    def _token(self, body: bytes) -> tuple[int, dict[str, Any]]:
        asserted = parse_qs(body.decode()).get("assertion", [""])[0]
        try:
            account = jwt.decode(asserted, verify=False)["iss"]
            jwt.decode(asserted, certs=self._accounts[account], audience=None)
        except (ValueError, KeyError):
            return 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        token = secrets.token_hex(16)
        self._tokens[token] = time.monotonic() + self._seconds
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": int(self._seconds)}

    def _known(self, header: str) -> bool:
        kind, _, token = header.partition(" ")
        return kind == "Bearer" and self._tokens.get(token, 0) > time.monotonic()


async def _body(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def _answer(send: Any, status: int, body: dict[str, Any]) -> None:
    head = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def _error(status: int, reason: str, message: str) -> dict[str, Any]:
    one = {"reason": reason, "message": message, "domain": "global"}
    return {"error": {"code": status, "message": message, "errors": [one]}}
