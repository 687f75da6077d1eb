"""``python -m tests.emulators.databricks.serve SETTINGS``: the stand-in, until it is stopped.

Settings, as JSON: ``port``, ``folder``, ``statements`` (a file of what was asked), ``tokens``, ``clients`` (id →
secret), ``token_seconds`` (how long a service principal's token lasts), ``transactions``.
"""

from __future__ import annotations

import base64
import json
import signal
import sys
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from databricks.sql.thrift_api.TCLIService import TCLIService
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.transport.TTransport import TMemoryBuffer

from tests.emulators.databricks.errors import Refused
from tests.emulators.databricks.service import LostLink, Service
from tests.emulators.databricks.volumes import Volumes
from tests.emulators.databricks.warehouse import Warehouse
from tests.emulators.faults import Faults
from tests.emulators.log import Log


class Stand:
    def __init__(self, settings: dict[str, Any]) -> None:
        folder = Path(settings["folder"])
        self.volumes, self.faults = Volumes(folder / "volumes"), Faults()
        self.warehouse = Warehouse(folder, self.volumes, transactions=settings["transactions"])
        self.service = Service(
            self.warehouse, self.faults, Log(Path(settings["statements"])), f"http://127.0.0.1:{settings['port']}"
        )
        self.processor = TCLIService.Processor(self.service)
        self._tokens = dict.fromkeys(settings["tokens"], float("inf"))
        self._clients, self._seconds = settings["clients"], settings["token_seconds"]

    def knows(self, header: str) -> bool:
        return self._tokens.get(header.removeprefix("Bearer "), 0.0) > time.time()

    def token(self, header: str) -> str | None:
        """A new token for a service principal; None where the secret is wrong."""
        client, _, secret = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
        if self._clients.get(client) != secret:
            return None
        made = uuid.uuid4().hex
        self._tokens[made] = time.time() + self._seconds
        return made

    @property
    def seconds(self) -> int:
        return int(self._seconds)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is sent at once
    stand: Stand

    def log_message(self, *_: Any) -> None:
        """Nothing: the log is for what goes wrong."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/_stand/faults":
            self.stand.faults.order(json.loads(body))
            return self._answer(b"{}")
        if self.path == "/oidc/v1/token":
            return self._give_token()
        if not self.path.startswith("/sql/"):
            return self._answer(b"{}", 404)
        if fault := self.stand.faults.take("http"):
            return self._answer(b"", fault.status, retry_after=fault.retry_after)
        if not self.stand.knows(self.headers.get("Authorization", "")):
            return self._answer(b"", 401)
        if not self.path.endswith("/warehouses/stand"):
            return self._answer(b"", 404)
        return self._thrift(body)

    def _thrift(self, body: bytes) -> None:
        into, out = TMemoryBuffer(body), TMemoryBuffer()
        try:
            with self.stand.warehouse.lock:
                self.stand.service.client = self.headers.get("User-Agent", "")
                self.stand.processor.process(TBinaryProtocol(into), TBinaryProtocol(out))
        except LostLink:
            self.close_connection = True
            self.connection.close()
            return
        self._answer(out.getvalue(), content="application/x-thrift")

    def _give_token(self) -> None:
        token = self.stand.token(self.headers.get("Authorization", ""))
        if token is None:
            return self._answer(b'{"error": "invalid_client"}', 401)
        return self._answer(json.dumps({"access_token": token, "expires_in": self.stand.seconds}).encode())

    def do_PUT(self) -> None:
        size, name = int(self.headers["Content-Length"]), self._volume_path()
        fault = self.stand.faults.take("upload", name)
        if fault and fault.status == 0:
            self.rfile.read(size // 2)
            self.close_connection = True
            self.connection.close()
            return None
        content = self.rfile.read(size)
        if fault:
            return self._answer(b"", fault.status, retry_after=fault.retry_after)
        try:
            self.stand.volumes.store(name, content)
        except Refused as e:
            return self._answer(str(e).encode(), 404)
        return self._answer(b"")

    def do_DELETE(self) -> None:
        if self.path == "/_stand/faults":
            self.stand.faults.clear()
            return self._answer(b"{}")
        try:
            path = self.stand.volumes.path(self._volume_path())
        except Refused:
            return self._answer(b"", 404)
        if not path.is_file():
            return self._answer(b"", 404)
        path.unlink()
        return self._answer(b"", 204)

    def do_GET(self) -> None:
        self._answer(b"{}", 404)

    def _volume_path(self) -> str:
        return unquote(self.path.removeprefix("/_volume"))

    def _answer(
        self, body: bytes, status: int = 200, *, content: str = "application/json", retry_after: int | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content)
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 204:
            self.wfile.write(body)
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError | ValueError):
            super().handle_error(request, client_address)


def main(file: str) -> None:
    settings = json.loads(Path(file).read_text())
    Handler.stand = Stand(settings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(("127.0.0.1", settings["port"]), Handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
