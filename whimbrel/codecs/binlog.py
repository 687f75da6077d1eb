"""The binlog's events on byte buffers: framing, checksums, and what the events that matter say. Rows are elsewhere.

Layouts are those that MySQL and MariaDB document for replication. Nothing here reads beyond what it was given: input
that does not decode raises LogDamaged.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from whimbrel.errors import LogDamaged, LogFormatRefused

HEADER_BYTES = 19
CHECKSUM_BYTES = 4

QUERY, STOP, ROTATE, FORMAT_DESCRIPTION, XID, TABLE_MAP, INCIDENT, HEARTBEAT = 2, 3, 4, 15, 16, 19, 26, 27
EXECUTE_LOAD_QUERY, GTID, ANONYMOUS_GTID, XA_PREPARE, PARTIAL_UPDATE_ROWS, TRANSACTION_PAYLOAD = 18, 33, 34, 38, 39, 40
GTID_TAGGED = 42
MARIADB_GTID, QUERY_COMPRESSED, PARTIAL_ROW_DATA = 162, 165, 172
# They stand between transactions: format, previous GTIDs, MariaDB's checkpoint and GTID list.
BETWEEN = frozenset({FORMAT_DESCRIPTION, 35, 161, 163})
WRITE_ROWS = frozenset({23, 30, 166, 169})
UPDATE_ROWS = frozenset({24, 31, 167, 170})
DELETE_ROWS = frozenset({25, 32, 168, 171})
ROWS = WRITE_ROWS | UPDATE_ROWS | DELETE_ROWS
COMPRESSED_ROWS = frozenset(range(166, 172))
EXTRA_HEADER_ROWS = frozenset({30, 31, 32, 169, 170, 171})

_ARTIFICIAL = 0x20
_FIXED_VARIABLES = {0: 4, 3: 4}  # flags, auto_increment; 1 is sql_mode, 6 the catalog, with a length
_HEADER = struct.Struct("<IBIIIH")


@dataclass(frozen=True)
class Event:
    """One event without header and checksum. ``log_pos`` is the low 32 bits of where it ends, 0 if it is not said."""

    kind: int
    timestamp: int
    log_pos: int
    artificial: bool
    body: bytes


@dataclass(frozen=True)
class Rotate:
    """The file that the following events stand in, and where in it the first of them begins."""

    file: str
    position: int


@dataclass(frozen=True)
class Query:
    """A statement with its session's default schema and sql_mode (its bits; 0 where the log does not say them)."""

    schema: str
    text: str
    sql_mode: int = 0


@dataclass(frozen=True)
class Gtid:
    """``source`` is a server's UUID for MySQL, ``domain-server`` for MariaDB; empty when the notation is not known.

    ``standalone``: MariaDB's next event is a transaction of its own. ``commit_us`` is 0 when it is not said.
    """

    source: str
    number: int
    standalone: bool = False
    prepared: bool = False
    commit_us: int = 0

    @property
    def text(self) -> str:
        """As the server writes it: ``uuid:5`` or ``0-1-5``; empty when the notation is not known."""
        joint = ":" if len(self.source) == 36 else "-"  # a UUID, or MariaDB's domain-server
        return f"{self.source}{joint}{self.number}" if self.source else ""


class Cursor:
    """Reads forward through bytes and never beyond their end."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    @property
    def left(self) -> int:
        return len(self.data) - self.at

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise LogDamaged("an event in the binlog is cut off")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def packed(self) -> int:
        """A length-encoded integer."""
        first = self.number(1)
        if first < 251:
            return first
        if first not in (252, 253, 254):
            raise LogDamaged("an event in the binlog has an invalid length")
        return self.number({252: 2, 253: 3, 254: 8}[first])

    def packed_bytes(self) -> bytes:
        return self.take(self.packed())


def event(raw: bytes, checksum: bool) -> Event:
    """Split header and body. Raises LogDamaged when lengths or the checksum do not agree."""
    end = len(raw) - (CHECKSUM_BYTES if checksum else 0)
    if end < HEADER_BYTES:
        raise LogDamaged("an event in the binlog is shorter than its header")
    timestamp, kind, _, size, log_pos, flags = _HEADER.unpack_from(raw)
    if size != len(raw):
        raise LogDamaged(f"an event in the binlog says it has {size} bytes and has {len(raw)}")
    if checksum and zlib.crc32(memoryview(raw)[:end]) != int.from_bytes(raw[end:], "little"):
        raise LogDamaged("an event in the binlog does not match its checksum")
    return Event(kind, timestamp, log_pos, bool(flags & _ARTIFICIAL), raw[HEADER_BYTES:end])


def began(format_description: bytes) -> int:
    """When the server began the file that this event describes, in seconds since 1970; 0 where it does not say."""
    return int.from_bytes(format_description[:4], "little")


def has_checksums(format_description: bytes) -> bool:
    """Whether the events behind this one carry a CRC32. Takes the event whole, with header and checksum."""
    if len(format_description) < HEADER_BYTES + 57 + CHECKSUM_BYTES + 1:
        raise LogDamaged("the binlog's format description is cut off")
    algorithm = format_description[-CHECKSUM_BYTES - 1]
    if algorithm not in (0, 1):
        raise LogFormatRefused(f"the binlog's checksum algorithm {algorithm} is unknown")
    return algorithm == 1


def rotate(body: bytes) -> Rotate:
    cursor = Cursor(body)
    position = cursor.number(8)
    return Rotate(text_of(cursor.take(cursor.left)), position)


def query(body: bytes, compressed: bool = False, decode: Callable[[bytes, int], str] | None = None) -> Query:
    """``decode`` takes a statement and the id of the collation that its client wrote it in."""
    cursor = Cursor(body)
    cursor.take(8)
    schema_length = cursor.number(1)
    cursor.take(2)
    collation, sql_mode = _session(cursor.take(cursor.number(2)))
    schema = cursor.take(schema_length)
    cursor.take(1)
    text = cursor.take(cursor.left)
    text = _uncompressed(text) if compressed else text
    if decode is None or collation is None:
        return Query(text_of(schema), text_of(text), sql_mode)
    return Query(text_of(schema), decode(text, collation), sql_mode)


def _session(variables: bytes) -> tuple[int | None, int]:
    """(the client's collation, sql_mode) of a statement, from its status variables: only those can be skipped that
    stand before them."""
    cursor, sql_mode = Cursor(variables), 0
    while cursor.left:
        code = cursor.number(1)
        if code == 4:
            return cursor.number(2), sql_mode
        if code == 1:
            sql_mode = cursor.number(8)
        elif code == 6:
            cursor.take(cursor.number(1))
        elif code in _FIXED_VARIABLES:
            cursor.take(_FIXED_VARIABLES[code])
        else:
            break
    return None, sql_mode


def load_query(body: bytes) -> Query:
    """The statement of a statement-format LOAD DATA."""
    cursor = Cursor(body)
    cursor.take(8)
    schema_length = cursor.number(1)
    cursor.take(2)
    variables = cursor.number(2)
    cursor.take(13)
    _, sql_mode = _session(cursor.take(variables))
    schema = cursor.take(schema_length)
    cursor.take(1)
    return Query(text_of(schema), text_of(cursor.take(cursor.left)), sql_mode)


def gtid(body: bytes) -> Gtid:
    """MySQL's untagged form."""
    cursor = Cursor(body)
    cursor.take(1)
    h = cursor.take(16).hex()
    number = cursor.number(8)
    source = "-".join((h[:8], h[8:12], h[12:16], h[16:20], h[20:]))
    commit_us = 0
    if cursor.left >= 24 and cursor.number(1) == 2:
        cursor.take(16)
        commit_us = cursor.number(7) & ((1 << 55) - 1)
    return Gtid(source, number, commit_us=commit_us)


def mariadb_gtid(body: bytes, server_id: int) -> Gtid:
    cursor = Cursor(body)
    number, domain, flags = cursor.number(8), cursor.number(4), cursor.number(1)
    return Gtid(f"{domain}-{server_id}", number, standalone=bool(flags & 1), prepared=bool(flags & 0x40))


def server_id(raw: bytes) -> int:
    """Whose event it is; takes the event whole."""
    return int.from_bytes(raw[5:9], "little")


def payload_events(body: bytes) -> Iterator[bytes]:
    """The events inside a compressed transaction of MySQL, whole, without checksums."""
    cursor = Cursor(body)
    algorithm, size = 0, 0
    while (field := cursor.packed()) != 0:
        value = Cursor(cursor.packed_bytes()).packed()
        algorithm = value if field == 2 else algorithm
        size = value if field == 3 else size
    data = cursor.take(cursor.left)
    if algorithm == 0:
        data = _unzstd(data, size)
    elif algorithm != 255:
        raise LogFormatRefused(f"the binlog has a transaction compressed in the unknown way {algorithm}")
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 9 : at + 13], "little")
        if length < HEADER_BYTES or at + length > len(data):
            raise LogDamaged("a compressed transaction in the binlog is cut off")
        yield data[at : at + length]
        at += length


def rows_header(kind: int, body: bytes) -> tuple[int, int]:
    """The number of the table a rows event belongs to, and where its column count stands."""
    cursor = Cursor(body)
    number = cursor.number(6)
    cursor.take(2)
    if kind in EXTRA_HEADER_ROWS:
        size = cursor.number(2)
        if size < 2:
            raise LogDamaged("a rows event in the binlog has an invalid header")
        cursor.take(size - 2)
    return number, cursor.at


def uncompressed_rows(body: bytes, at: int) -> bytes:
    """The row images of a compressed rows event; ``at`` is behind the bitmaps."""
    return _uncompressed(body[at:])


def _uncompressed(data: bytes) -> bytes:
    """MariaDB's form: a byte with algorithm and size of the length, the length big-endian, then a zlib stream."""
    cursor = Cursor(data)
    first = cursor.number(1)
    if first & 0xF0 != 0x80:
        raise LogFormatRefused("the binlog has an event compressed in an unknown way")
    size = int.from_bytes(cursor.take(first & 7), "big")
    try:
        plain = zlib.decompress(cursor.take(cursor.left))
    except zlib.error as e:
        raise LogDamaged(f"a compressed event in the binlog does not decompress: {e}") from None
    if len(plain) != size:
        raise LogDamaged("a compressed event in the binlog has another length than it says")
    return plain


def _unzstd(data: bytes, size: int) -> bytes:
    try:
        return bytes(pa.decompress(data, decompressed_size=size, codec="zstd"))
    except (pa.ArrowException, OSError, MemoryError) as e:
        raise LogDamaged(f"a compressed transaction in the binlog does not decompress: {e}") from None


def text_of(raw: bytes) -> str:
    """Names, which servers log in UTF-8, and statements, which may be in any charset: only their words matter."""
    return raw.decode("utf-8", "replace")
