"""TLS in front of a broker that speaks none: clients are sent back to it by every answer that names the broker."""

from __future__ import annotations

import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_HOST = b"127.0.0.1"


class _Relay(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with (
            suppress(OSError),
            self.server.tls.wrap_socket(self.request, server_side=True) as client,
            socket.create_connection(("127.0.0.1", self.server.broker_port)) as broker,
        ):
            threading.Thread(target=self._answers, args=(broker, client), daemon=True).start()
            while data := client.recv(65_536):
                broker.sendall(data)

    def _answers(self, broker: socket.socket, client: ssl.SSLSocket) -> None:
        told = _HOST + struct.pack(">i", self.server.broker_port)
        ours = _HOST + struct.pack(">i", self.server.server_address[1])
        with suppress(OSError), broker.makefile("rb") as answers:
            while len(size := answers.read(4)) == 4:
                client.sendall(size + answers.read(*struct.unpack(">i", size)).replace(told, ours))


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    tls: ssl.SSLContext
    broker_port: int

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is what is tested."""


@contextmanager
def tls_in_front(broker_port: int, tls: ssl.SSLContext) -> Iterator[str]:
    """Its address, ``host:port``, for as long as the block runs. The broker is one that names itself 127.0.0.1."""
    with _Server(("127.0.0.1", 0), _Relay) as server:
        server.tls, server.broker_port = tls, broker_port
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
