"""Requests that are none, or never become whole: drawn by a seed, sent over raw sockets into the TLS port.

Whatever would start an operation here is cut off, contradicts itself in its length, or stands behind something that
does; so no operation may ever come of them.
"""

from __future__ import annotations

import random
import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

PATIENCE = 0.3  # seconds that an answer is waited for
STARTS = ("reset", "data", "data-replication", "validate", "schema/extract")


@dataclass
class Sent:
    """``pieces`` go out one by one with ``pause`` seconds between them. ``garbage`` goes beside TLS, once there is a
    connection: before its handshake, or ``inside`` it. ``end``: close, reset, or half-close and listen."""

    kind: str
    pieces: list[bytes] = field(default_factory=list)
    pause: float = 0.0
    garbage: bytes = b""
    inside: bool = False
    end: str = "close"


def answered(port: int, sent: Sent) -> bytes:
    """Send it, and return all that came back within a moment."""
    heard = b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
        line: socket.socket = raw
        if sent.garbage and not sent.inside:
            raw.sendall(sent.garbage)
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            line = context.wrap_socket(raw, suppress_ragged_eofs=True)
        try:
            with suppress(OSError):
                for piece in sent.pieces:
                    line.sendall(piece)
                    time.sleep(sent.pause)
                if sent.inside:  # what follows is no TLS record
                    socket.socket.send(line, sent.garbage)
                if sent.end == "half":
                    line.shutdown(socket.SHUT_WR)
            line.settimeout(PATIENCE)
            with suppress(OSError):
                while sent.end != "reset" and (more := line.recv(65536)):
                    heard += more
            if sent.end == "reset":
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        finally:
            line.close()
    return heard


class Hostile:
    """Draws what to send. ``key`` is shown in about half of it."""

    def __init__(self, seed: int, key: str) -> None:
        self._random = random.Random(seed)
        self._key = key
        self._kinds: list[Callable[[], Sent]] = [
            self._request_line,
            self._headers,
            self._lengths,
            self._chunks,
            self._cut_body,
            self._smuggled,
            self._pipelined,
            self._bytes_beside_tls,
            self._hello,
            self._drip,
            self._mutated,
        ]

    def draw(self, number: int) -> Sent:
        sent = self._kinds[number % len(self._kinds)]()
        if sent.end == "close":
            sent.end = self._random.choice(("close", "close", "half", "reset"))
        if not sent.pause and self._one_in(4):
            sent.pieces = self._torn(b"".join(sent.pieces))
        return sent

    def _one_in(self, count: int) -> bool:
        return self._random.randrange(count) == 0

    def _noise(self, most: int) -> bytes:
        return self._random.randbytes(self._random.randint(1, most))

    def _torn(self, data: bytes) -> list[bytes]:
        cuts = sorted(self._random.randrange(len(data) + 1) for _ in range(3))
        return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]

    def _head(self, start: bytes, *more: bytes) -> bytes:
        shown = [b"Authorization: Bearer " + self._key.encode()] if self._one_in(2) else []
        return b"\r\n".join([start, b"Host: api", *shown, *more]) + b"\r\n\r\n"

    def _start(self) -> bytes:
        return f"POST /v1/migrations/shop/{self._random.choice(STARTS)} HTTP/1.1".encode()

    def _starting(self, *more: bytes) -> bytes:
        """The head of a request that would start an operation if it were whole, with the key."""
        shown = b"Authorization: Bearer " + self._key.encode()
        return b"\r\n".join([self._start(), b"Host: api", shown, *more]) + b"\r\n\r\n"

    def _request_line(self) -> Sent:
        noise = self._noise(60).replace(b"\n", b"")
        lines = [
            b"GET",
            b"GET /v1/health",
            b"GET  /v1/health HTTP/1.1",
            b"GET\t/v1/health\tHTTP/1.1",
            b"get /v1/health http/1.1",
            b"GET /v1/health HTTP/9.9",
            b"GET /v1/health HTTP/1.10",
            b"GET /v1/health HTTP/1.0",
            b"PRI * HTTP/2.0",
            b"OPTIONS * HTTP/1.1",
            b"CONNECT api:443 HTTP/1.1",
            b"GET https://else.where/v1/sources HTTP/1.1",
            b"GET //v1//sources HTTP/1.1",
            b"GET /v1/%00%ff%2e%2e/%zz HTTP/1.1",
            b"GET /v1/sources?" + b"a=%f0&" * 200 + b" HTTP/1.1",
            b"GET /" + b"a" * self._random.choice((5_000, 33_000, 70_000)) + b" HTTP/1.1",
            b"GET /v1/sources\0 HTTP/1.1",
            b"GET /" + noise + b" HTTP/1.1",
            noise,
            b"\r\n" * 50 + b"GET /v1/health HTTP/1.1",
        ]
        return Sent("request line", [self._head(self._random.choice(lines))])

    def _headers(self) -> Sent:
        noise = self._noise(40)
        more = self._random.choice(
            [
                b"\r\n".join(b"X-%d: %d" % (n, n) for n in range(self._random.choice((150, 3000)))),
                b"X: " + b"x" * self._random.choice((31_000, 40_000, 200_000)),
                b"X" * 40_000 + b": x",
                b"no colon",
                b": no name",
                b"X : blank",
                b"X: a\r\n folded\r\n\tagain",
                b"X: a\rY: bare CR",
                b"X: a\nY: bare LF\n",
                b"X: nul\0nul",
                b"\xff\xfe: high",
                b"Host: another",
                b"Authorization: Bearer\r\nAuthorization: Basic eDp5",
                b"Authorization: Bearer \xff\xfe",
                b"Expect: 100-continue\r\nContent-Length: 5",
                b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13",
                b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQ",
                b"Content-Type: application/json; charset=utf-99",
                b"X-Request-Id: " + noise,
                noise,
            ]
        )
        return Sent("headers", [self._head(b"GET /v1/sources HTTP/1.1", more)])

    def _lengths(self) -> Sent:
        values = (b"-1", b"+2", b"0x2", b"2, 3", b"2 2", b"2;", b"", b"2.0", b"1e1", b"\xb2", b"9" * 20, b"9" * 5000)
        more = self._random.choice(
            [
                *(b"Content-Length: " + value for value in values),
                b"Content-Length: 2\r\nContent-Length: 3",
                b"Content-Length: 2\r\nTransfer-Encoding: chunked",
                b"Transfer-Encoding: chunked, chunked",
                b"Transfer-Encoding: gzip, chunked",
                b"Transfer-Encoding: xchunked",
                b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            ]
        )
        return Sent("lengths", [self._starting(more), b"{}"])

    def _chunks(self) -> Sent:
        size = self._random.choice(
            [
                b"zz\r\n{}\r\n0\r\n\r\n",
                b"-2\r\n{}\r\n0\r\n\r\n",
                b"F" * 17 + b"\r\n{}",
                b"2\r\n{}0\r\n\r\n",
                b"2\n{}\n0\n",
                b"2\r\n{}",
                b"2\r\n{}\r\n",
                b"2\r\n{}\r\n0",
                b"2\r\n{}\r\n0\r\n",
                b"5\r\n{}",
                b"2;" + b"a=b;" * 30_000 + b"\r\n{}\r\n",
                b"2\r\n{}\r\n0\r\n" + b"X: y\r\n" * 5,
                b"2\r\n{}\r\n0\r\n" + b"X: y\r\n" * 20_000,
                b"1\r\n \r\n" * 2000,
                self._noise(30).replace(b"0", b"z"),
            ]
        )
        return Sent("chunks", [self._starting(b"Transfer-Encoding: chunked"), size])

    def _cut_body(self) -> Sent:
        body = self._random.choice((b"", b"{", b'{"mode":', b"{}", b'{"mode":"drop"}', b"{}" + b" " * 5000))
        length = len(body) + self._random.choice((1, 2, 20, 1_000_000))
        end = self._random.choice(("close", "half", "reset"))
        return Sent("cut body", [self._starting(b"Content-Length: %d" % length), body], end=end)

    def _smuggled(self) -> Sent:
        inner = self._starting(b"Content-Length: 2") + b"{}"
        outer = self._random.choice(
            [
                self._head(b"POST /v1/sources/test HTTP/1.1", b"Content-Length: 3", b"Transfer-Encoding: chunked")
                + b"0\r\n\r\n",
                self._head(b"POST /v1/sources/test HTTP/1.1", b"Content-Length: 0", b"Content-Length: %d" % len(inner)),
                self._head(b"POST /v1/sources/test HTTP/1.1", b"Transfer-Encoding: chunked") + b"0;\n\r\nzz\r\n",
                self._head(b"GET /v1/health HTTP/1.1", b"Content-Length: %d" % len(inner)),
                self._head(b"GET /v1/health HTTP/1.1", b"X: a\rContent-Length: 0"),
                b"GET /v1/health\r\n\r\n",
            ]
        )
        return Sent("smuggled", [outer + inner])

    def _pipelined(self) -> Sent:
        one = self._head(b"GET /v1/health HTTP/1.1")
        many = one * self._random.randint(2, 40)
        last = self._random.choice((b"", b"GET /v1", self._starting(b"Content-Length: 9") + b"{}", self._noise(20)))
        return Sent("pipelined", [many + last])

    def _bytes_beside_tls(self) -> Sent:
        kinds = (b"\x16\x03\x01\xff\xff", b"\x16\x03\x03\0\x05", b"\x17\x03\x03", b"\x15\x03\x03\0\x02\x02\x28", b"")
        noise = self._random.choice(kinds) + self._noise(3000)
        if self._one_in(4):
            noise = self._starting(b"Content-Length: 0")  # in clear
        inside = self._one_in(2)
        pieces = [self._starting(b"Content-Length: 5") + b"{}"] if inside else []
        return Sent("beside TLS", pieces, garbage=noise, inside=inside)

    def _hello(self) -> Sent:
        """A true beginning of TLS, cut or bent."""
        outgoing = ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with suppress(ssl.SSLWantReadError):
            context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
        hello = bytearray(outgoing.read())
        for _ in range(self._random.randrange(4)):
            hello[self._random.randrange(len(hello))] = self._random.randrange(256)
        return Sent("hello", garbage=bytes(hello[: self._random.randint(1, len(hello))]))

    def _drip(self) -> Sent:
        data = self._starting(b"Content-Length: 40") + b'{"mode": "drop"}'
        at = self._random.randrange(len(data) - 12)
        return Sent("drip", [data[:at], *(data[n : n + 1] for n in range(at, at + 12))], pause=0.03)

    def _mutated(self) -> Sent:
        """A good request with some bytes changed, removed, doubled; it may stay good, and starts nothing."""
        body = b'{"type": "postgres", "parameters": {"host": "h", "user": "u", "password": "p", "database": "d"}}'
        length = b"Content-Length: %d" % len(body)
        data = bytearray(self._head(b"PUT /v1/sources/mutated HTTP/1.1", length) + body)
        for _ in range(self._random.randint(1, 5)):
            at, way = self._random.randrange(len(data)), self._random.randrange(3)
            if way == 0:
                data[at] = self._random.randrange(256)
            elif way == 1:
                del data[at : at + self._random.randint(1, 8)]
            else:
                data[at:at] = data[at : at + self._random.randint(1, 200)]
        return Sent("mutated", [bytes(data)])
