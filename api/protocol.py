"""HTTP/1.1 as uvicorn speaks it, with our envelope around what is no HTTP request at all."""

from __future__ import annotations

import h11
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.envelope import failure
from whimbrel.errors import InvalidRequest

LINGER = 0.5  # seconds in which a client may still send; closing upon it would take the answer from it


class EnvelopeProtocol(H11Protocol):
    """Bytes that are no request never reach the application; uvicorn would answer them in plain text."""

    _refused = False

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Answer, heed nothing more, and close. Nothing is sent where an answer has begun already."""
        self._refused = True
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            scope: Scope = {"type": "http"}
            answer = failure(scope, InvalidRequest(f"request: {msg}", field="request"))
            headers = [*answer.raw_headers, (b"connection", b"close")]
            for event in (
                h11.Response(status_code=answer.status_code, headers=headers, reason=b"Bad Request"),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.loop.call_later(LINGER, self.transport.close)
