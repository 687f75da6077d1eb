"""HTTP/1.1 as uvicorn speaks it, with our envelope around what is no HTTP request at all, and bounds on how long a
client may take over everything that it sends or reads."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import h11
from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from api.connections import Connections
from api.envelope import failure
from api.gate import KEYED
from whimbrel.errors import InvalidRequest

LINGER = 0.5  # seconds in which a client may still send; closing upon it would take the answer from it
REQUEST_SECONDS = 10.0  # for path and headers, and for the rest of a body that was answered before it was read
READING_SECONDS = 30.0  # for a client to take what it was answered
HANDSHAKE_SECONDS = 5.0
GOODBYE_SECONDS = 2.0  # for its side of TLS's goodbye

_connections: WeakKeyDictionary[ServerState, Connections] = WeakKeyDictionary()


class EnvelopeProtocol(H11Protocol):
    """Bytes that are no request never reach the application; uvicorn would answer them in plain text."""

    _refused = False
    _waiting: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._among = _connections.setdefault(server_state, Connections())
        self._among.arrived(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._among.opened(self)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._among.closed(self)
        self._waiting = _ended(self._waiting)
        self._stuck = _ended(self._stuck)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._among.rests(self)
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.call_later(READING_SECONDS, self.abort)

    def resume_writing(self) -> None:
        self._stuck = _ended(self._stuck)
        super().resume_writing()

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
            if self._answering:  # a request broke off in its body: who waits for the rest hears that it will not come
                self.cycle.disconnected = True
                self.cycle.message_event.set()
        self.loop.call_later(LINGER, self.transport.close)

    @property
    def in_hand(self) -> bool:
        """Whether a request that has shown a key is being answered."""
        return self._answering and bool(self.scope["state"].get(KEYED))

    def abort(self) -> None:
        """End the connection now, whatever is under way on it."""
        self.transport.abort()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        """Give the client its time from when an answer was complete until its next request is, however it drips."""
        if self._answering:
            self._waiting = _ended(self._waiting)
        elif self._waiting is None and not self.transport.is_closing():
            self._waiting = self.loop.call_later(REQUEST_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        if self.conn.their_state is h11.IDLE and not self._refused and self.conn.trailing_data[0]:
            self.send_400_response(f"It was not whole after {REQUEST_SECONDS:g} s.")
            self.loop.call_later(LINGER + GOODBYE_SECONDS, self.abort)
        else:
            self.abort()


def bounded_loop() -> asyncio.AbstractEventLoop:
    """An event loop whose servers bound what happens on a connection before there is a protocol: TLS's handshake."""
    loop = asyncio.SelectorEventLoop()
    bounds = {"ssl_handshake_timeout": HANDSHAKE_SECONDS, "ssl_shutdown_timeout": GOODBYE_SECONDS}
    setattr(loop, "create_server", partial(loop.create_server, **bounds))  # noqa: B010  a method, for mypy
    return loop


def _ended(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Cancel it; None, for where it stood."""
    if timer is not None:
        timer.cancel()
    return None
