"""Takes the rows out of MySQL's answers as they arrive from the socket, a block at a time.

The caller receives into a buffer and calls ``scan`` with what is there; complete packets are consumed, the rest is left
for the next call. Everything is bounds-checked: bytes that cannot be a result set raise ``Damaged``. Rows that are
finished lines, and rows of the binary protocol, cost no object each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from whimbrel.codecs import resultrows

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


class Packets(ABC):
    """One result set of ``columns`` columns, from its first packet to its last.

    Read ``done``, ``error``, ``rows`` and ``nulls`` (rows that were NULL as a whole) after each ``scan``.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.done = False
        self.error: ServerError | None = None
        self.rows = 0
        self.nulls = 0
        self._sequence = 1
        self._defined = 0  # definitions still to come, once the first packet was seen
        self._stage = 0  # 0: column count, 1: definitions and their EOF, 2: rows

    def scan(self, buffer: bytearray, filled: int) -> tuple[bytes, int]:
        """What becomes of all whole packets in ``buffer[:filled]``, and how many bytes they took. Raises Damaged."""
        at = 0
        while self._stage < 2 and not self.done:
            payload, end, count = packet(buffer, at, filled)
            if payload is None:
                return self.heads(buffer, at), at
            self._follow(buffer[at + 3], count)
            self._head(payload)
            at = end
        front = self.heads(buffer, at)
        if self.done:
            return front, at
        lines, end = self.taken(buffer, at, filled)
        return front + lines, end

    def heads(self, buffer: bytearray, end: int) -> bytes:
        """What becomes of the packets in front of the rows, up to ``end``."""
        return b""

    @abstractmethod
    def taken(self, buffer: bytearray, at: int, filled: int) -> tuple[bytes, int]:
        """The same for rows, and the position behind the last one that is whole."""

    def _head(self, payload: bytes | memoryview) -> None:
        if len(payload) == 0:
            raise Damaged("an empty packet")
        if payload[0] == _ERROR:
            self._fail(payload)
        elif self._stage == 0:
            self._defined, _ = length_encoded(payload, 0)
            if self._defined < 1:
                raise Damaged("the answer is not a result set")
            if self._defined != self.columns:
                raise Damaged("the result set has another number of columns")
            self._stage = 1
        elif self._defined:
            self._defined -= 1
        elif payload[0] == _EIGHT and len(payload) < 9:
            self._stage = 2
        else:
            raise Damaged("the column definitions do not end")

    def _stopped(self, state: int, buffer: bytearray, at: int, filled: int, sequence: int) -> int:
        """Take the EOF or ERR packet at which the compiled code stopped, if it is one; return the position behind."""
        if state == resultrows.DAMAGED:
            if buffer[at + 3] != sequence:
                self._sequence = sequence
                self._follow(buffer[at + 3], 1)
            raise Damaged("a row's length and its packet's do not agree")
        self._sequence = sequence
        if state != resultrows.ENDED:
            return at
        payload, end, count = packet(buffer, at, filled)
        assert payload is not None
        self._follow(buffer[at + 3], count)
        self._ends(payload)
        return end

    def _ends(self, payload: bytes | memoryview) -> bool:
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


class LinePackets(Packets):
    """Rows of the text protocol that are finished lines, one string each: they come out with a newline behind each."""

    def __init__(self) -> None:
        super().__init__(1)
        self._out = bytearray()
        self._found = array("q", [0] * 6)

    def taken(self, buffer: bytearray, at: int, filled: int) -> tuple[bytes, int]:
        if len(self._out) < filled:
            self._out = bytearray(len(buffer))
        parts: list[bytes | memoryview] = []
        while True:
            resultrows.lines(buffer, at, filled, self._sequence, self._out, self._found)
            rows, at, state, sequence, nulls, written = self._found
            self.rows, self.nulls = self.rows + rows, self.nulls + nulls
            parts.append(bytes(memoryview(self._out)[:written]))
            at = self._stopped(state, buffer, at, filled, sequence)
            if state != resultrows.LONG:
                return b"".join(parts), at
            whole, end, count = packet(buffer, at, filled)
            if whole is None:
                return b"".join(parts), at
            self._follow(buffer[at + 3], count)
            length, start = length_encoded(whole, 0)
            if start + length != len(whole):
                raise Damaged("a row's length and its packet's do not agree")
            parts += [whole[start:], b"\n"]
            self.rows, at = self.rows + 1, end


class BinaryPackets(Packets):
    """An answer of the binary protocol, which comes out as it is: a stream for ``resultset.ResultReader``. The packet
    behind the last row is part of it, but one that says an error is not."""

    def __init__(self, columns: int) -> None:
        super().__init__(columns)
        self._found = array("q", [0] * 4)

    def heads(self, buffer: bytearray, end: int) -> bytes:
        return b"" if self.error is not None else bytes(memoryview(buffer)[:end])

    def taken(self, buffer: bytearray, at: int, filled: int) -> tuple[bytes, int]:
        begin = at
        while True:
            resultrows.packets(buffer, at, filled, self._sequence, self._found)
            rows, at, state, sequence = self._found
            self.rows += rows
            end = self._stopped(state, buffer, at, filled, sequence)
            if state == resultrows.LONG:
                whole, end, count = packet(buffer, at, filled)
                if whole is not None:
                    self._follow(buffer[at + 3], count)
                    self.rows, at = self.rows + 1, end
                    continue
                end = at
            last = at if self.error is not None else end
            return bytes(memoryview(buffer)[begin:last]), end


class ValuePackets(Packets):
    """Rows of the text protocol of which ``values`` make lines: one function a column, which turns the server's bytes
    into the text between tabs; NULL becomes ``\\N``. For the few rows that the server cannot make lines of."""

    def __init__(self, values: Sequence[Value]) -> None:
        super().__init__(len(values))
        self.values = values

    def taken(self, buffer: bytearray, at: int, filled: int) -> tuple[bytes, int]:
        lines: list[bytes] = []
        while not self.done:
            payload, end, count = packet(buffer, at, filled)
            if payload is None:
                break
            self._follow(buffer[at + 3], count)
            if len(payload) == 0:
                raise Damaged("an empty packet among the rows")
            if payload[0] < _EIGHT or not self._ends(payload):
                lines.append(self._line(payload))
            at = end
        self.rows += len(lines)
        lines.append(b"")
        return b"\n".join(lines), at

    def _line(self, payload: bytes | memoryview) -> bytes:
        parts: list[bytes] = []
        at = 0
        for value in self.values:
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
