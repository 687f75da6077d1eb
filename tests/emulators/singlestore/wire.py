"""MySQL's protocol, as far as a proxy needs it: packets, the handshake, OK and errors."""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from dataclasses import dataclass

MOST = 0xFFFFFF
VERSION = "5.7.32"  # what SingleStore says of itself to MySQL's clients
PLUGIN = b"mysql_native_password"
SSL, LOCAL_FILES, CONNECT_WITH_DB, ATTRIBUTES = 0x800, 0x80, 0x8, 0x100000
# long password, long flag, with db, local files, protocol 41, transactions, secure connection, multi statements and
# results, plugin auth, connect attributes, lenenc auth
CAPABILITIES = 0x1 | 0x4 | 0x8 | 0x80 | 0x200 | 0x2000 | 0x8000 | 0x10000 | 0x20000 | 0x80000 | 0x100000 | 0x200000
MORE_RESULTS = 0x8
LOCAL_REQUEST, OK, EOF, ERROR = 0xFB, 0x00, 0xFE, 0xFF


@dataclass
class Channel:
    """One side of a conversation, packet by packet."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int = 0  # of the next packet that is sent

    async def packet(self) -> bytes:
        """One packet without its header; ``number`` is then that of the answer."""
        header = await self.reader.readexactly(4)
        self.number = (header[3] + 1) % 256
        return await self.reader.readexactly(int.from_bytes(header[:3], "little"))

    async def message(self) -> bytes:
        """What may come in several packets."""
        parts = [await self.packet()]
        while len(parts[-1]) == MOST:
            parts.append(await self.packet())
        return b"".join(parts)

    async def send(self, payload: bytes) -> None:
        for at in range(0, len(payload) + 1, MOST):
            part = payload[at : at + MOST]
            self.writer.write(len(part).to_bytes(3, "little") + bytes([self.number]) + part)
            self.number = (self.number + 1) % 256
            if len(part) < MOST:
                break
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()


def greeting(salt: bytes, thread: int, *, tls: bool) -> bytes:
    able = CAPABILITIES | (SSL if tls else 0)
    return (
        b"\x0a" + VERSION.encode() + b"\0" + struct.pack("<I", thread) + salt[:8] + b"\0"
        + struct.pack("<HBHHB", able & 0xFFFF, 45, 2, able >> 16, 21) + bytes(10) + salt[8:] + b"\0" + PLUGIN + b"\0"
    )  # fmt: skip


@dataclass(frozen=True)
class Login:
    user: str
    proof: bytes
    database: str
    plugin: bytes
    program: str


def login(packet: bytes) -> Login:
    flags = int.from_bytes(packet[:4], "little")
    user, _, rest = packet[32:].partition(b"\0")
    length, rest = rest[0], rest[1:]
    proof, rest = rest[:length], rest[length:]
    database = b""
    if flags & CONNECT_WITH_DB:
        database, _, rest = rest.partition(b"\0")
    plugin, _, rest = rest.partition(b"\0")
    given = _attributes(rest) if flags & ATTRIBUTES else {}
    return Login(user.decode(), proof, database.decode(), plugin, given.get(b"program_name", b"").decode())


def _attributes(packet: bytes) -> dict[bytes, bytes]:
    """What a client says of itself: names and values, each behind its length."""
    texts, at = [], _length(packet, 0)[1]
    while at < len(packet):
        size, at = _length(packet, at)
        texts.append(packet[at : at + size])
        at += size
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _length(packet: bytes, at: int) -> tuple[int, int]:
    """A length, and where what has it begins."""
    if packet[at] == 0xFC:
        return int.from_bytes(packet[at + 1 : at + 3], "little"), at + 3
    return packet[at], at + 1


def new_salt() -> bytes:
    return bytes(1 + b % 126 for b in os.urandom(20))


def proves(proof: bytes, password: str, salt: bytes) -> bool:
    """Whether it is what somebody answers who knows the password."""
    if not password:
        return not proof
    first = hashlib.sha1(password.encode()).digest()
    wanted = hashlib.sha1(salt + hashlib.sha1(first).digest()).digest()
    return proof == bytes(a ^ b for a, b in zip(first, wanted, strict=True))


def ok() -> bytes:
    return b"\0\0\0\x02\0\0\0"


def error(number: int, text: str) -> bytes:
    return b"\xff" + struct.pack("<H", number) + b"#HY000" + text.encode()


def more_results(packet: bytes) -> bool:
    """Of an OK packet, whether another result follows."""
    at = 1
    for _ in range(2):  # affected rows, last insert id
        first = packet[at]
        at += {0xFC: 3, 0xFD: 4, 0xFE: 9}.get(first, 1)
    return bool(int.from_bytes(packet[at : at + 2], "little") & MORE_RESULTS)


def is_eof(packet: bytes) -> bool:
    return packet[:1] == b"\xfe" and len(packet) < 9
