"""Takes the rows out of a MySQL text result set as it arrives from the socket, a block at a time.

The caller receives into a buffer and calls ``scan`` with what is there; complete packets are consumed, the rest is left
for the next call. Everything is bounds-checked: bytes that cannot be a result set raise ``Damaged``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Value = Callable[[bytes], bytes]

HEADER = 4
CONTINUED = 0xFFFFFF  # a payload of this length goes on in the next packet
_NULL, _TWO, _THREE, _EIGHT, _ERROR = 0xFB, 0xFC, 0xFD, 0xFE, 0xFF
_MORE_RESULTS = 0x0008


class Damaged(Exception):
    """The bytes are not a MySQL result set."""


@dataclass(frozen=True)
class ServerError:
    """What an ERR packet said."""

    number: int
    text: str


def packet(buffer: bytearray, start: int, filled: int) -> tuple[bytes | memoryview | None, int, int]:
    """The payload that begins at ``start``, the position behind it and the packets it took; None if it is not whole."""
    if filled - start < HEADER:
        return None, start, 0
    length = int.from_bytes(buffer[start : start + 3], "little")
    end = start + HEADER + length
    if length < CONTINUED:
        return (None, start, 0) if end > filled else (memoryview(buffer)[start + HEADER : end], end, 1)
    parts: list[memoryview] = []
    at, count = start, 0
    while filled - at >= HEADER:
        length = int.from_bytes(buffer[at : at + 3], "little")
        end = at + HEADER + length
        if end > filled:
            break
        parts.append(memoryview(buffer)[at + HEADER : end])
        at, count = end, count + 1
        if length < CONTINUED:
            return b"".join(parts), at, count
    return None, start, 0


def length_encoded(payload: bytes | memoryview, at: int) -> tuple[int, int]:
    """The length-encoded integer at ``at`` and the position behind it; -1 for NULL. Raises Damaged."""
    if at >= len(payload):
        raise Damaged("a value's length is missing")
    first = payload[at]
    if first < _NULL:
        return first, at + 1
    if first == _NULL:
        return -1, at + 1
    if first == _ERROR:
        raise Damaged("a value's length is not one")
    size = {_TWO: 2, _THREE: 3, _EIGHT: 8}[first]
    if at + 1 + size > len(payload):
        raise Damaged("a value's length is cut off")
    return int.from_bytes(payload[at + 1 : at + 1 + size], "little"), at + 1 + size


def server_error(payload: bytes | memoryview) -> ServerError:
    """Read an ERR packet."""
    raw = bytes(payload)
    text = raw[9:] if raw[3:4] == b"#" else raw[3:]
    return ServerError(int.from_bytes(raw[1:3], "little"), text.decode("utf-8", "replace"))


class RowPackets:
    """One result set, from its first packet to its last.

    ``values`` is None when each row is one string that is a finished line; else it has one function per column, which
    turns the server's bytes into the text between tabs, and NULL becomes ``\\N``. Read ``done``, ``error``, ``rows``
    and ``nulls`` (rows that were NULL as a whole) after each ``scan``.
    """

    def __init__(self, values: Sequence[Value] | None = None) -> None:
        self.values = values
        self.done = False
        self.error: ServerError | None = None
        self.rows = 0
        self.nulls = 0
        self._sequence = 1
        self._columns = 0  # definitions still to come, once the first packet was seen
        self._stage = 0  # 0: column count, 1: definitions and their EOF, 2: rows

    def scan(self, buffer: bytearray, filled: int) -> tuple[bytes, int]:
        """The lines of all whole packets in ``buffer[:filled]``, and how many bytes they took. Raises Damaged."""
        at = 0
        while self._stage < 2 and not self.done:
            payload, end, count = packet(buffer, at, filled)
            if payload is None:
                return b"", at
            self._follow(buffer[at + 3], count)
            self._head(payload)
            at = end
        if self.done:
            return b"", at
        return self._lines(buffer, at, filled)

    def _head(self, payload: bytes | memoryview) -> None:
        if len(payload) == 0:
            raise Damaged("an empty packet")
        if payload[0] == _ERROR:
            self._fail(payload)
        elif self._stage == 0:
            self._columns, _ = length_encoded(payload, 0)
            if self._columns < 1:
                raise Damaged("the answer is not a result set")
            if self._columns != (1 if self.values is None else len(self.values)):
                raise Damaged("the result set has another number of columns")
            self._stage = 1
        elif self._columns:
            self._columns -= 1
        elif payload[0] == _EIGHT and len(payload) < 9:
            self._stage = 2
        else:
            raise Damaged("the column definitions do not end")

    def _lines(self, buffer: bytearray, at: int, filled: int) -> tuple[bytes, int]:
        view = memoryview(buffer)
        lines: list[bytes | memoryview] = []
        while filled - at >= HEADER:
            length = buffer[at] | buffer[at + 1] << 8 | buffer[at + 2] << 16
            end = at + HEADER + length
            if length == CONTINUED:
                whole, end, count = packet(buffer, at, filled)
                if whole is None:
                    break
                self._follow(buffer[at + 3], count)
                line = self._row(whole)
            elif end > filled:
                break
            else:
                self._follow(buffer[at + 3], 1)
                if length == 0:
                    raise Damaged("an empty packet among the rows")
                if buffer[at + 4] >= _EIGHT and self._ends(view[at + 4 : end]):
                    at = end
                    break
                line = self._row(view[at + 4 : end])
            at = end
            if line is not None:
                lines.append(line)
        self.rows += len(lines)
        lines.append(b"")
        return b"\n".join(lines), at

    def _row(self, payload: bytes | memoryview) -> bytes | memoryview | None:
        if self.values is not None:
            return self._columns_of(payload, self.values)
        length, start = length_encoded(payload, 0)
        if length < 0:
            self.nulls += 1
            return None
        if start + length != len(payload):
            raise Damaged("a row's length and its packet's do not agree")
        return payload[start:]

    def _columns_of(self, payload: bytes | memoryview, values: Sequence[Value]) -> bytes:
        parts: list[bytes] = []
        at = 0
        for value in values:
            length, at = length_encoded(payload, at)
            if length < 0:
                parts.append(b"\\N")
                continue
            if at + length > len(payload):
                raise Damaged("a value is longer than its row")
            parts.append(value(bytes(payload[at : at + length])))
            at += length
        if at != len(payload):
            raise Damaged("a row has bytes behind its last value")
        return b"\t".join(parts)

    def _ends(self, payload: memoryview) -> bool:
        """Whether this is the packet behind the last row: EOF, or ERR. A row may begin with 0xFE too, if it is long."""
        if payload[0] == _ERROR:
            self._fail(payload)
            return True
        if len(payload) >= 9:
            return False
        if len(payload) >= 5 and int.from_bytes(payload[3:5], "little") & _MORE_RESULTS:
            raise Damaged("another result set follows")
        self.done = True
        return True

    def _fail(self, payload: bytes | memoryview) -> None:
        self.error = server_error(payload)
        self.done = True

    def _follow(self, sequence: int, count: int) -> None:
        if sequence != self._sequence:
            raise Damaged(f"packet {sequence} came where {self._sequence} was due")
        self._sequence = (self._sequence + count) & 0xFF
