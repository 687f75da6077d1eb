"""As much of a broker as a client sees of one that refuses its password: three requests of Kafka's protocol."""

from __future__ import annotations

import socketserver
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_HANDSHAKE, _VERSIONS, _AUTHENTICATE = 17, 18, 36
_UNSUPPORTED_VERSION, _UNSUPPORTED_MECHANISM, _FAILED = 35, 33, 58
_SPOKEN = {3: (0, 1), _HANDSHAKE: (0, 1), _VERSIONS: (0, 0), _AUTHENTICATE: (0, 0)}


class _Refusing(socketserver.StreamRequestHandler):
    """It knows the mechanism PLAIN, and nobody."""

    server: _Server

    def setup(self) -> None:
        if self.server.tls is not None:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self) -> None:
        while len(head := self.rfile.read(4)) == 4:
            size = struct.unpack(">i", head)[0]
            if size > 1_000_000:
                return  # as brokers do with what is not their protocol
            request = self.rfile.read(size)
            kind, version, number = struct.unpack_from(">hhi", request)
            answer = struct.pack(">i", number) + self._answer(kind, version, request)
            self.wfile.write(struct.pack(">i", len(answer)) + answer)

    def _answer(self, kind: int, version: int, request: bytes) -> bytes:
        if kind == _VERSIONS:
            error = _UNSUPPORTED_VERSION if version > 0 else 0
            spoken = b"".join(struct.pack(">hhh", key, *range_) for key, range_ in _SPOKEN.items())
            return struct.pack(">hi", error, len(_SPOKEN)) + spoken
        if kind == _HANDSHAKE:
            error = 0 if request.endswith(b"\0\5PLAIN") else _UNSUPPORTED_MECHANISM
            return struct.pack(">hi", error, 1) + _text(b"PLAIN")
        return struct.pack(">h", _FAILED) + _text(b"Authentication failed: no such user") + struct.pack(">i", 0)


def _text(value: bytes) -> bytes:
    return struct.pack(">h", len(value)) + value


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what is tested."""


@contextmanager
def refusing_broker(tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Its address, ``host:port``, for as long as the block runs."""
    with _Server(("127.0.0.1", 0), _Refusing) as server:
        server.tls = tls
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
