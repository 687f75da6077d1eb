"""``python -m tests.emulators.firebolt.serve SETTINGS``: the stand-in, until it is stopped.

Settings, as JSON: ``port``, ``folder``, ``statements`` (a file of what was asked), ``accounts`` (names), ``engines``
(names), ``clients`` (id → secret), ``token_seconds``, ``locations`` (name → bucket). Whoever comes without a token is a
client of Core; an engine of an account takes no uploads, as is reported of it.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

from tests.emulators.faults import Faults
from tests.emulators.firebolt import answers
from tests.emulators.firebolt.bucket import Bucket
from tests.emulators.firebolt.engine import Engine, Result, describe
from tests.emulators.firebolt.errors import Refused
from tests.emulators.log import Log

_USE = re.compile(r'(?i)USE\s+(DATABASE|ENGINE)\s+"([^"]+)"\s*\Z')
_BLOCK = 5000  # rows of a result in one line


class LostLink(Exception):
    pass


class Stand:
    def __init__(self, settings: dict[str, Any]) -> None:
        folder = Path(settings["folder"])
        self.settings, self.faults, self.log = settings, Faults(), Log(Path(settings["statements"]))
        self.bucket = Bucket(folder / "buckets")
        locations = {name: folder / "buckets" / bucket for name, bucket in settings["locations"].items()}
        self.engine = Engine(folder, locations)
        self._tokens: dict[str, float] = {}

    def token(self, form: dict[str, list[str]]) -> str | None:
        """A new token; None where the secret is wrong."""
        client, secret = form.get("client_id", [""])[0], form.get("client_secret", [""])[0]
        if not secret or self.settings["clients"].get(client) != secret:
            return None
        made = uuid.uuid4().hex
        self._tokens[made] = time.time() + self.settings["token_seconds"]
        return made

    def knows(self, header: str) -> bool:
        return self._tokens.get(header.removeprefix("Bearer "), 0.0) > time.time()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # an answer is sent at once
    stand: Stand

    def log_message(self, *_: Any) -> None:
        """Nothing: the log is for what goes wrong."""

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/_s3/"):
            return self._object()
        size = int(self.headers.get("Content-Length") or 0)
        if path == "/" and "multipart/form-data" in self.headers.get("Content-Type", ""):
            fault = self.stand.faults.take("upload")
            if fault and fault.status == 0:
                self.rfile.read(size // 2)
                return self._cut()
            if fault:
                self.rfile.read(size)
                return self._answer(b"", fault.status, retry_after=fault.retry_after)
        body = self.rfile.read(size)
        if path == "/_stand/faults":
            self.stand.faults.order(json.loads(body))
            return self._answer(b"{}")
        if path == "/oauth/token":
            return self._give_token(body)
        if path != "/":
            return self._answer(b"{}", 404)
        if fault := self.stand.faults.take("http"):
            return self._answer(fault.error.encode(), fault.status, content="text/plain", retry_after=fault.retry_after)
        account = "Authorization" in self.headers
        if account and not self.stand.knows(self.headers["Authorization"]):
            return self._answer(b"", 401)
        try:
            return self._statement(body, account)
        except LostLink:
            return self._cut()
        except Refused as e:
            return self._answer(json.dumps(e.body()).encode(), e.status)

    # --- statements ---------------------------------------------------------------------------------------------------

    def _statement(self, body: bytes, account: bool) -> None:
        settings = dict(parse_qsl(urlsplit(self.path).query))
        describe(settings)
        with tempfile.TemporaryDirectory() as folder:
            sql, parts = self._parts(body, Path(folder))
            if parts and account:
                raise Refused("multipart/form-data requests are not supported", status=400)
            self.stand.log.add(settings.get("query_label", ""), sql)
            if account and (found := _USE.match(sql)):
                return self._use(found[1].lower(), found[2])
            if fault := self.stand.faults.take("statement", sql):
                self.stand.engine.refuse(settings)
                raise Refused(fault.error)
            lost = self.stand.faults.take("answered", sql)
            ended = self.stand.faults.take("ended", sql)
            result = self.stand.engine.run(sql, settings, parts, end_first=bool(ended))
        if lost:
            raise LostLink
        return self._tell(result, settings.get("output_format", ""))

    def _use(self, what: str, name: str) -> None:
        if what == "engine" and name not in self.stand.settings["engines"]:
            raise Refused(f"Engine '{name}' does not exist or is not authorized.")
        if what == "database":
            self.stand.engine.run("SELECT 1", {"database": name}, {}, end_first=False)
        self._tell(Result(keep=f"{what}={name}"), "")

    def _parts(self, body: bytes, folder: Path) -> tuple[str, dict[str, Path]]:
        """The statement, and the files that came with it."""
        kind = self.headers.get("Content-Type", "")
        if "multipart/form-data" not in kind:
            return body.decode(), {}
        boundary = b"--" + re.search(r'boundary="?([^";]+)', kind)[1].encode()  # type: ignore[index]
        sql, parts = "", {}
        for part in body.split(boundary)[1:-1]:
            head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            content = content.removesuffix(b"\r\n")
            name = re.search(rb'[; ]name="([^"]+)"', head)[1].decode()  # type: ignore[index]
            if name == "sql":
                sql = content.decode()
            elif b"filename=" not in head or not re.fullmatch(r"[_0-9a-zA-Z.-]+", name):
                raise Refused(f"part {name} is not a file, or has a wrong name", status=400)
            else:
                parts[name] = folder / name
                parts[name].write_bytes(content)
        return sql, parts

    def _tell(self, result: Result, format: str) -> None:
        session = {"Firebolt-Update-Parameters": result.keep, "Firebolt-Remove-Parameters": result.forget}
        headers = {k: v for k, v in session.items() if v}
        if result.table is None:
            return self._answer(b"", headers=headers)
        meta, rows = answers.meta(result.table), answers.rows(result.table)
        done = {"elapsed": 0.001}
        if format == "JSONLines_Compact":
            ids = {"query_id": uuid.uuid4().hex, "query_label": "", "request_id": ""}
            lines: list[dict[str, Any]] = [{"message_type": "START", "result_columns": meta, **ids}]
            lines += [
                {"message_type": "DATA", "data": rows[at : at + _BLOCK]} for at in range(0, len(rows), _BLOCK) if rows
            ]
            lines.append({"message_type": "FINISH_SUCCESSFULLY", "statistics": done})
            return self._answer("\n".join(map(json.dumps, lines)).encode(), headers=headers)
        whole = {"query": {"query_id": ""}, "meta": meta, "data": rows, "rows": len(rows), "statistics": done}
        return self._answer(json.dumps(whole).encode(), headers=headers)

    # --- accounts -----------------------------------------------------------------------------------------------------

    def _give_token(self, body: bytes) -> None:
        token = self.stand.token(parse_qs(body.decode()))
        if token is None:
            return self._answer(b'{"error": "access_denied", "message": "Unauthorized"}', 401)
        made = {"access_token": token, "token_type": "Bearer", "expires_in": self.stand.settings["token_seconds"]}
        return self._answer(json.dumps(made).encode())

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/_s3/"):
            return self._object()
        found = re.fullmatch(r"/web/v3/account/([^/]+)/engineUrl", path)
        if not found or not self.stand.knows(self.headers.get("Authorization", "")):
            return self._answer(b"{}", 404 if not found else 401)
        if found[1] not in self.stand.settings["accounts"]:
            return self._answer(b"{}", 404)
        url = f"http://127.0.0.1:{self.stand.settings['port']}/?account_id={found[1]}"
        return self._answer(json.dumps({"engineUrl": url}).encode())

    # --- objects ------------------------------------------------------------------------------------------------------

    def do_PUT(self) -> None:
        self._object()

    def do_HEAD(self) -> None:
        self._object()

    def do_DELETE(self) -> None:
        if self.path == "/_stand/faults":
            self.stand.faults.clear()
            return self._answer(b"{}")
        return self._object()

    def _object(self) -> None:
        body = self._body()
        fault = self.stand.faults.take("upload", self.path) if self.command == "PUT" else None
        if fault:
            return self._answer(b"", fault.status or 503)
        answer = self.stand.bucket.answer(self.command, self.path.removeprefix("/_s3"), dict(self.headers), body)
        return self._answer(answer.body, answer.status, content="application/xml", headers=answer.headers)

    def _body(self) -> bytes:
        """Whole, or in chunks."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return found

    # --- answers ------------------------------------------------------------------------------------------------------

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _answer(
        self,
        body: bytes,
        status: int = 200,
        *,
        content: str = "application/json",
        retry_after: int | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content)
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if "Content-Length" not in (headers or {}):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main(file: str) -> None:
    settings = json.loads(Path(file).read_text())
    Handler.stand = Stand(settings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Server(("127.0.0.1", settings["port"]), Handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
