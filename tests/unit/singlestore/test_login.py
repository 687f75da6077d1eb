"""What a server, or who plays it, learns of the password: never the password itself, unless its certificate was
verified."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.emulators.singlestore import wire
from tests.servers.certificates import authority
from whimbrel.errors import AuthenticationFailed, TlsFailed, WhimbrelError

pytest.importorskip("singlestoredb")

from whimbrel.connectors.singlestore import config
from whimbrel.connectors.singlestore.connection import connect

PASSWORD = "4929-secret-password"
SALT = bytes(range(1, 21))
MORE, FULL = b"\x01", b"\x01\x04"  # what a server adds to a login; the whole password, please


def switch(plugin: str) -> bytes:
    return b"\xfe" + plugin.encode() + b"\0" + SALT + b"\0"


class Asking:
    """A server for one login, which names ``plugin`` in its greeting, says each of ``answers`` in turn, and refuses in
    the end. ``heard`` is all that it was told, out of TLS."""

    def __init__(self, plugin: str, answers: Sequence[bytes], tls: ssl.SSLContext | None) -> None:
        self._plugin, self._answers, self._tls = plugin, answers, tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(20)
        self.port = int(self._listening.getsockname()[1])
        self.heard = b""

    def serve(self) -> None:
        with suppress(OSError), closing(self._listening.accept()[0]) as plain:
            plain.settimeout(20)
            greeting = wire.greeting(SALT, 1, tls=self._tls is not None).replace(wire.PLUGIN, self._plugin.encode())
            self._say(plain, greeting, 0)
            number = self._hear(plain)
            if self._tls is None:
                self._ask(plain, number)
            else:
                with closing(self._tls.wrap_socket(plain, server_side=True)) as secure:
                    self._ask(secure, self._hear(secure))

    def _ask(self, sock: socket.socket, number: int) -> None:
        for answer in self._answers:
            self._say(sock, answer, number + 1)
            number = self._hear(sock)
        self._say(sock, wire.error(1045, "Access denied"), number + 1)

    def _hear(self, sock: socket.socket) -> int:
        header = self._exactly(sock, 4)
        self.heard += self._exactly(sock, int.from_bytes(header[:3], "little"))
        return header[3]

    def _exactly(self, sock: socket.socket, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = sock.recv(count - len(found))
            if not part:
                raise ConnectionError
            found += part
        return found

    def _say(self, sock: socket.socket, payload: bytes, number: int) -> None:
        sock.sendall(len(payload).to_bytes(3, "little") + bytes([number]) + payload)

    def close(self) -> None:
        self._listening.close()


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS, and the file of who signed its certificate, whom nobody trusts unless told to."""
    folder = tmp_path_factory.mktemp("tls")
    ours = authority(folder, "ours")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*ours.server(folder, "127.0.0.1"))
    return context, ours.ca


@contextmanager
def asking(plugin: str, answers: Sequence[bytes], tls: ssl.SSLContext | None) -> Iterator[Asking]:
    server = Asking(plugin, answers, tls)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        thread.join(30)
        server.close()


def refusal(server: Asking, mode: str, **more: str) -> WhimbrelError:
    given = {
        "host": "127.0.0.1",
        "port": str(server.port),
        "user": "mover",
        "password": PASSWORD,
        "database": "shop",
        "ssl_mode": mode,
    }
    with pytest.raises(WhimbrelError) as refused:
        connect(config.parse({**given, **more}), "login")
    return refused.value


@pytest.mark.parametrize("mode", ["required", "preferred", "disabled"])
@pytest.mark.parametrize(
    ("plugin", "answers"),
    [
        ("sha256_password", [switch("sha256_password")]),
        ("sha256_password", [MORE]),
        ("caching_sha2_password", [FULL]),
        ("caching_sha2_password", [switch("caching_sha2_password"), FULL]),
        ("mysql_native_password", [FULL]),
        ("mysql_native_password", [switch("sha256_password")]),
        ("mysql_native_password", [switch("mysql_clear_password")]),
        ("mysql_clear_password", []),
        ("mysql_native_password", [switch("dialog"), b"\x01Password: "]),
    ],
)
def test_a_server_that_was_not_verified_is_not_told(
    certified: tuple[ssl.SSLContext, Path], mode: str, plugin: str, answers: list[bytes]
) -> None:
    with asking(plugin, answers, None if mode == "disabled" else certified[0]) as server:
        refused = refusal(server, mode)
    assert b"mover" in server.heard, "it came to a login"
    assert PASSWORD.encode() not in server.heard
    assert type(refused) is (TlsFailed if answers else AuthenticationFailed)
    assert PASSWORD not in str(refused.to_json())


def test_a_server_that_was_verified_may_ask_for_it(certified: tuple[ssl.SSLContext, Path]) -> None:
    with asking("mysql_native_password", [switch("mysql_clear_password")], certified[0]) as server:
        refused = refusal(server, "verify_identity", ssl_ca=str(certified[1]))
    assert type(refused) is AuthenticationFailed
    assert PASSWORD.encode() in server.heard
