"""Bytes of Oracle Net and TTC: packets, lengths, and the values of each wire type."""

from __future__ import annotations

import datetime as dt
import socket
import struct
from decimal import Decimal
from typing import Final

CONNECT, ACCEPT, REFUSE, DATA, MARKER = 1, 2, 4, 6, 12
END_OF_FILE: Final = 0x40  # a flag of DATA: the client is gone
LONGEST: Final = 252  # bytes of a value that need no chunks
MIDDLE: Final = 0x80000000


class Closed(Exception):
    """The client has gone."""


class Packets:
    """Packets of one connection; their header has a longer length once the connection is accepted."""

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self.accepted = False

    def read(self) -> tuple[int, bytes]:
        """(type, what stands behind the header)."""
        header = self._exactly(8)
        size = struct.unpack(">I", header[:4])[0] if self.accepted else struct.unpack(">H", header[:2])[0]
        return header[4], self._exactly(size - 8)

    def _exactly(self, count: int) -> bytes:
        found = bytearray()
        while len(found) < count:
            some = self._link.recv(count - len(found))
            if not some:
                raise Closed
            found += some
        return bytes(found)

    def write(self, kind: int, body: bytes) -> None:
        size = len(body) + 8
        head = struct.pack(">I", size) if self.accepted else struct.pack(">HH", size, 0)
        self._link.sendall(head + bytes([kind, 0, 0, 0]) + body)

    def write_data(self, body: bytes) -> None:
        for start in range(0, len(body), 8000):
            self.write(DATA, b"\0\0" + body[start : start + 8000])


class Reader:
    """A message of the client's, whose next packet is read when what it has does not suffice."""

    def __init__(self, data: bytes, packets: Packets) -> None:
        self._data, self._at, self._packets = data, 0, packets

    def raw(self, count: int) -> bytes:
        if len(self._data) - self._at < count:
            parts, found = [self._data[self._at :]], len(self._data) - self._at
            while found < count:
                _, body = self._packets.read()
                parts.append(body[2:])
                found += len(body) - 2
            self._data, self._at = b"".join(parts), 0
        self._at += count
        return self._data[self._at - count : self._at]

    def byte(self) -> int:
        return self.raw(1)[0]

    def number(self) -> int:
        """An integer that is led by its own length; the length's highest bit is the sign."""
        size = self.byte()
        value = int.from_bytes(self.raw(size & 0x7F), "big")
        return -value if size & 0x80 else value

    def value(self) -> bytes | None:
        size = self.byte()
        if size in (0, 255):
            return None
        if size != 254:
            return self.raw(size)
        found = b""
        while chunk := self.number():
            found += self.raw(chunk)
        return found

    def sized(self) -> bytes:
        """A value behind its length."""
        return (self.value() or b"") if self.number() else b""


def number(value: int) -> bytes:
    if value == 0:
        return b"\0"
    digits = abs(value).to_bytes((abs(value).bit_length() + 7) // 8, "big")
    return bytes([len(digits) | (0x80 if value < 0 else 0)]) + digits


def value(data: bytes | None) -> bytes:
    if data is None:
        return b"\0"
    if len(data) <= LONGEST:
        return bytes([len(data)]) + data
    out = bytearray(b"\xfe")
    for start in range(0, len(data), 32767):
        chunk = data[start : start + 32767]
        out += number(len(chunk)) + chunk
    return bytes(out + b"\0")


def sized(data: bytes | str) -> bytes:
    raw = data.encode() if isinstance(data, str) else data
    return number(len(raw)) + value(raw) if raw else b"\0"


# --- values -----------------------------------------------------------------------------------------------------------


def encode_number(given: Decimal) -> bytes:
    """NUMBER: an exponent to base 100 and up to 20 digits to that base."""
    if given == 0:
        return b"\x80"
    sign, digits, exponent = given.as_tuple()
    assert isinstance(exponent, int)
    found = list(digits)
    while found[-1] == 0:
        found.pop()
        exponent += 1
    while found[0] == 0:
        found.pop(0)
    point = len(found) + exponent
    if point % 2:
        found, point = [0, *found], point + 1
    if len(found) % 2:
        found.append(0)
    pairs = [found[i] * 10 + found[i + 1] for i in range(0, len(found), 2)]
    head = point // 2 + 192
    if not sign:
        return bytes([head, *(p + 1 for p in pairs)])
    return bytes([~head & 255, *(101 - p for p in pairs)]) + (b"\x66" if len(pairs) < 20 else b"")


def decode_number(data: bytes) -> Decimal:
    if data == b"\x80":
        return Decimal(0)
    positive = bool(data[0] & 0x80)
    exponent = (data[0] if positive else ~data[0] & 255) - 193
    mantissa = data[1:-1] if not positive and data[-1:] == b"\x66" else data[1:]
    pairs = [(b - 1) if positive else (101 - b) for b in mantissa]
    digits = tuple(d for p in pairs for d in divmod(p, 10))
    return Decimal((0 if positive else 1, digits or (0,), 2 * (exponent + 1) - len(digits)))


def encode_double(given: float, kind: str = ">d") -> bytes:
    raw = struct.pack(kind, given)
    return bytes(~b & 255 for b in raw) if raw[0] & 0x80 else bytes([raw[0] | 0x80]) + raw[1:]


def decode_double(data: bytes, kind: str = ">d") -> float:
    raw = bytes([data[0] & 0x7F]) + data[1:] if data[0] & 0x80 else bytes(~b & 255 for b in data)
    found: float = struct.unpack(kind, raw)[0]
    return found


def encode_date(text: str, size: int) -> bytes:
    """``[-]YYYY-MM-DD HH:MM:SS[.fffffffff]`` in 7 (DATE), 11 (TIMESTAMP) or 13 bytes (WITH TIME ZONE, in UTC)."""
    before = text.startswith("-")
    day, _, time = text.lstrip("-").partition(" ")
    year, month, date = (int(p) for p in day.split("-"))
    year = -year if before else year
    clock, _, fraction = (time or "00:00:00").partition(".")
    hour, minute, second = (int(p) for p in clock.split(":"))
    # the two bytes of a year are its century and the rest, each with its sign, above 100
    century, rest = divmod(abs(year), 100)
    if before:
        century, rest = -century, -rest
    out = bytes([century + 100, rest + 100, month, date, hour + 1, minute + 1, second + 1])
    if size >= 11:
        out += struct.pack(">I", int(fraction.ljust(9, "0")[:9] or 0))
    return out + (bytes([20, 60]) if size == 13 else b"")


def decode_date(data: bytes) -> str:
    """The text that ``encode_date`` takes; with ``+HH:MM`` where there is a zone, the time in that zone."""
    year = (data[0] - 100) * 100 + data[1] - 100
    fraction = struct.unpack(">I", data[7:11])[0] if len(data) >= 11 else 0
    if len(data) < 13:
        text = f"{year:04d}-{data[2]:02d}-{data[3]:02d} {data[4] - 1:02d}:{data[5] - 1:02d}:{data[6] - 1:02d}"
        return f"{text}.{fraction:09d}" if fraction else text
    moment = dt.datetime(year, data[2], data[3], data[4] - 1, data[5] - 1, data[6] - 1, fraction // 1000)
    offset = dt.timezone(dt.timedelta(hours=data[11] - 20, minutes=data[12] - 60))
    return moment.replace(tzinfo=dt.UTC).astimezone(offset).isoformat(sep=" ")


def encode_day_to_second(microseconds: int) -> bytes:
    sign = -1 if microseconds < 0 else 1
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    clock = bytes(sign * n + 60 for n in (hours, minutes, seconds))
    return struct.pack(">I", sign * days + MIDDLE) + clock + struct.pack(">I", sign * rest * 1000 + MIDDLE)


def decode_day_to_second(data: bytes) -> int:
    """Microseconds."""
    days, rest = struct.unpack(">I", data[:4])[0] - MIDDLE, struct.unpack(">I", data[7:11])[0] - MIDDLE
    hours, minutes, seconds = (b - 60 for b in data[4:7])
    found: int = (days * 86_400 + hours * 3600 + minutes * 60 + seconds) * 1_000_000 + rest // 1000
    return found


def encode_year_to_month(months: int) -> bytes:
    sign = -1 if months < 0 else 1
    years, rest = divmod(abs(months), 12)
    return struct.pack(">I", sign * years + MIDDLE) + bytes([sign * rest + 60])


def decode_year_to_month(data: bytes) -> int:
    years: int = struct.unpack(">I", data[:4])[0] - MIDDLE
    return years * 12 + data[4] - 60


def encode_rowid(text: str) -> bytes:
    """The 18 characters of a ROWID: 6 of the object, 3 of the file, 6 of the block, 3 of the row."""
    parts = [from_base64(text[a:b]) for a, b in ((0, 6), (6, 9), (9, 15), (15, 18))]
    return bytes([14]) + number(parts[0]) + number(parts[1]) + b"\0" + number(parts[2]) + number(parts[3])


ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def from_base64(text: str) -> int:
    found = 0
    for letter in text:
        found = found * 64 + ALPHABET.index(letter)
    return found
