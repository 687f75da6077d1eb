"""Far ends that say nothing, say it slowly, or ask for the password: every look and every session has a bound."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from whimbrel.connectors.mysql import connection as mysql
from whimbrel.connectors.mysql import server as mysql_server
from whimbrel.connectors.postgres import connection as postgres
from whimbrel.connectors.postgres import server as postgres_server
from whimbrel.errors import HostUnreachable, TlsFailed

PASSWORD = "s3cret-marker-91aa"
Talk = Callable[[socket.socket], None]


class FarEnd:
    """Accepts, says what the script says, and keeps all that it was told."""

    def __init__(self, talk: Talk) -> None:
        self.heard, self.answered = b"", False
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lines: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self._lines.append(line)
            threading.Thread(target=self._hear, args=(line,), daemon=True).start()

    def _hear(self, line: socket.socket) -> None:
        told = _Telling(line, self)
        try:
            self._talk(told)  # type: ignore[arg-type]
            self.answered = True
            while line.recv(65536):
                pass
        except (OSError, EOFError):
            return

    def close(self) -> None:
        self._listener.close()
        for line in self._lines:
            line.close()


class _Telling:
    def __init__(self, line: socket.socket, end: FarEnd) -> None:
        self._line, self._end = line, end

    def sendall(self, data: bytes) -> None:
        self._line.sendall(data)

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._line.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
            self._end.heard += more
        return data


@contextmanager
def far_end(talk: Any) -> Iterator[FarEnd]:
    with closing(FarEnd(talk)) as end:
        yield end


# --- MySQL's side of the wire -----------------------------------------------------------------------------------------

SALT = b"12345678abcdefghijkl"
CAPABLE = 0x0001 | 0x0008 | 0x0200 | 0x8000 | 0x80000 | 0x200000  # protocol 4.1, plugins by name; no TLS
OK = b"\0\0\0\2\0\0\0"


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


def greeting(plugin: bytes) -> bytes:
    flags = struct.pack("<I", CAPABLE)
    first = b"\x0a8.0.99\0\1\0\0\0" + SALT[:8] + b"\0" + flags[:2] + b"\x2d\2\0" + flags[2:]
    return packet(0, first + bytes([21]) + bytes(10) + SALT[8:] + b"\0" + plugin + b"\0")


def read(line: Any) -> bytes:
    head = line.exactly(4)
    return bytes(line.exactly(int.from_bytes(head[:3], "little")))


def asks_in_clear(plugin: bytes, prompt: bytes = b"") -> Any:
    def talk(line: Any) -> None:
        line.sendall(greeting(b"mysql_native_password"))
        read(line)
        line.sendall(packet(2, b"\xfe" + plugin + b"\0" + prompt))
        read(line)
        line.sendall(packet(4, OK))

    return talk


def asks_for_full(line: Any) -> None:
    """caching_sha2_password, with a key of its own."""
    line.sendall(greeting(b"caching_sha2_password"))
    read(line)
    line.sendall(packet(2, b"\1\4"))
    read(line)
    line.sendall(packet(4, b"\1" + KEY))
    read(line)
    line.sendall(packet(6, OK))


def asks_sha256(line: Any) -> None:
    line.sendall(greeting(b"sha256_password"))
    read(line)
    line.sendall(packet(2, b"\1" + KEY))
    read(line)
    line.sendall(packet(4, OK))


KEY = b""


@pytest.fixture(scope="module", autouse=True)
def key() -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    made = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    globals()["KEY"] = made.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def lets_in(line: Any) -> None:
    """A quick way in, and then nothing more."""
    line.sendall(greeting(b"mysql_native_password"))
    read(line)
    line.sendall(packet(2, OK))


def answers_once(line: Any) -> None:
    """Lets us in and takes our settings, and then says nothing to what is asked."""
    lets_in(line)
    for _ in range(2):
        read(line)
        line.sendall(packet(1, OK))


def drips(line: Any) -> None:
    for byte in packet(0, b"\x0a8.0.99" + b"x" * 4000):
        line.sendall(bytes([byte]))
        time.sleep(0.05)


def silent(line: Any) -> None: ...


def raves(line: Any) -> None:
    line.sendall(packet(0, b"\x0anonsense"))


def mysql_parameters(end: FarEnd, **more: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": end.port, "user": "u", "password": PASSWORD, **more}


def postgres_parameters(end: FarEnd, **more: Any) -> dict[str, Any]:
    return {**mysql_parameters(end), "database": "d", "sslmode": "disable", **more}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mysql, "CONNECT_SECONDS", 1)
    monkeypatch.setattr(mysql, "LOGIN_SECONDS", 1.5)
    monkeypatch.setattr(mysql, "LOOK_SECONDS", 1.0)
    monkeypatch.setattr(postgres, "CONNECT_SECONDS", 2)  # the driver takes no less
    monkeypatch.setattr(postgres, "LOOK_SECONDS", 1.0)


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    with pytest.raises(HostUnreachable):
        yield
    assert time.monotonic() - began < seconds


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("talk", [silent, lets_in, answers_once, drips, raves], ids=lambda t: t.__name__)
def test_a_mysql_that_withholds_its_answers_is_given_up(talk: Any) -> None:
    with far_end(talk) as end, bounded(5):
        mysql_server.server_info(mysql_parameters(end), "test")


# --- PostgreSQL's -----------------------------------------------------------------------------------------------------


def message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack(">I", len(payload) + 4) + payload


def startup(line: Any) -> None:
    line.exactly(int.from_bytes(line.exactly(4), "big") - 4)


def hear(line: Any) -> bytes:
    line.exactly(1)
    return bytes(line.exactly(int.from_bytes(line.exactly(4), "big") - 4))


def ready(line: Any) -> None:
    version = message(b"S", b"server_version\x0015.0\0") + message(b"S", b"client_encoding\0UTF8\0")
    line.sendall(message(b"R", bytes(4)) + version + message(b"K", bytes(8)) + message(b"Z", b"I"))


def postgres_lets_in(line: Any) -> None:
    startup(line)
    ready(line)


def postgres_answers_once(line: Any) -> None:
    postgres_lets_in(line)
    for _ in range(2):
        hear(line)
        line.sendall(message(b"C", b"SET\0") + message(b"Z", b"I"))


def postgres_asks_in_clear(line: Any) -> None:
    startup(line)
    line.sendall(message(b"R", struct.pack(">I", 3)))
    hear(line)
    ready(line)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("talk", [silent, postgres_lets_in, postgres_answers_once], ids=lambda t: t.__name__)
def test_a_postgres_that_withholds_its_answers_is_given_up(talk: Any) -> None:
    with far_end(talk) as end, bounded(8):
        postgres_server.server_info(postgres_parameters(end), "test")


# --- who asks for the password ----------------------------------------------------------------------------------------


def told(end: FarEnd) -> bool:
    """Whether the far end could know the password: it heard it, or what it asked for was answered to its end."""
    return PASSWORD.encode() in end.heard or end.answered


@pytest.mark.parametrize("more", [{}, {"ssl_mode": "disabled"}, {"allow_cleartext_password": True}])
@pytest.mark.parametrize(
    "talk",
    [asks_in_clear(b"mysql_clear_password"), asks_in_clear(b"dialog", b"\4Password: "), asks_for_full, asks_sha256],
    ids=["clear", "dialog", "caching_sha2", "sha256"],
)
def test_no_mysql_is_told_the_password_without_tls(talk: Any, more: dict[str, Any]) -> None:
    with far_end(talk) as end:
        with pytest.raises(TlsFailed, match="asks for the password"):
            mysql.connect(mysql_parameters(end, **more), "test")
        assert not told(end)


@pytest.mark.parametrize("more", [{}, {"sslmode": "prefer"}, {"allow_cleartext_password": True}])
def test_no_postgres_is_told_the_password_without_tls(more: dict[str, Any]) -> None:
    def talk(line: Any) -> None:
        if more.get("sslmode") == "prefer":
            line.exactly(8)
            line.sendall(b"N")
        postgres_asks_in_clear(line)

    with far_end(talk) as end:
        with pytest.raises(TlsFailed, match="password in clear"):
            postgres.connect(postgres_parameters(end, **more), "test")
        assert not told(end)
