"""The replication protocol: asks a server for its binlog from a point on and receives the events."""

from __future__ import annotations

import struct
import time
import uuid
from collections.abc import Iterator

import pymysql
from pymysql.constants import COMMAND

from whimbrel.codecs import rowpackets
from whimbrel.connectors.mysql.connection import Session, execute, mapped
from whimbrel.connectors.mysql.refusals import server_refusal
from whimbrel.connectors.mysql.source.gtids import MySQLGtids
from whimbrel.connectors.mysql.source.log import file_and_offset, register, replica_id
from whimbrel.errors import LogDamaged, PositionLost, SourceInterrupted, WhimbrelError
from whimbrel.model.position import Position

HEARTBEAT_SECONDS = 2
SILENCE_SECONDS = 60
FIRST_OFFSET = 4
BLOCK_BYTES = 1 << 20
_DUMP_GTID_MODE = 0x0004
_FATAL_READ = 1236
_REPLACED = "same server_uuid/server_id"
_LOST = (
    *("Could not find first log file", "required binary logs", "required purged", "is not in the master's binlog"),
    *("impossible position", "log truncated", "could not find next log", "purged", "position > file size"),
    *("Could not open log file", "has fewer events", "doesn't contain", "GTID", "bogus data", "log event entry"),
)


class Dump:
    """One running dump. ``events`` yields what is there; ``receive`` waits for more."""

    def __init__(self, session: Session, operation: str, start: Position) -> None:
        self._session = session
        self._buffer = bytearray(2 * BLOCK_BYTES)
        self._start = 0
        self._end = 0
        self._heard = time.monotonic()
        with mapped("source"):
            _introduce(session, operation)
            register(session, operation)
            _command(session, operation, start)

    def receive(self, timeout: float) -> bool:
        """Wait for bytes; False when none came in time. Raises SourceInterrupted."""
        self._make_room()
        sock = self._session._sock
        sock.settimeout(max(timeout, 0.001))
        try:
            count = sock.recv_into(memoryview(self._buffer)[self._end :])
        except TimeoutError:
            if time.monotonic() - self._heard > SILENCE_SECONDS:
                raise SourceInterrupted(f"the source has sent nothing of its binlog for {SILENCE_SECONDS} s") from None
            return False
        except OSError as e:
            raise SourceInterrupted(f"the source's binlog connection broke: {e}") from e
        if count == 0:
            raise SourceInterrupted("the source closed its binlog connection")
        self._end += count
        self._heard = time.monotonic()
        return True

    def events(self) -> Iterator[bytes]:
        """Every whole event received so far, each once. Raises PositionLost, SourceInterrupted, LogDamaged."""
        while True:
            payload, after, _ = rowpackets.packet(self._buffer, self._start, self._end)
            if payload is None:
                return
            raw = bytes(payload)
            del payload  # the buffer must be free to grow
            self._start = after
            if not raw:
                raise LogDamaged("an empty packet in the binlog's stream")
            if raw[0] == 0xFF:
                raise _refusal(rowpackets.server_error(raw))
            if raw[0] == 0xFE:
                raise SourceInterrupted("the source ended its binlog's stream")
            yield raw[1:]

    def _make_room(self) -> None:
        if self._start:
            rest = self._end - self._start
            self._buffer[:rest] = self._buffer[self._start : self._end]
            self._start, self._end = 0, rest
        if len(self._buffer) - self._end < BLOCK_BYTES:
            self._buffer.extend(bytes(len(self._buffer)))


def _introduce(session: Session, operation: str) -> None:
    """Say what we understand: checksums, heartbeats, and MariaDB's own events."""
    beat = HEARTBEAT_SECONDS * 1_000_000_000
    settings = {"@master_heartbeat_period": str(beat), "@master_binlog_checksum": "@@global.binlog_checksum"}
    if session.mariadb:
        settings["@mariadb_slave_capability"] = "4"
    else:
        ours = f"'{uuid.uuid5(uuid.NAMESPACE_OID, operation)}'"
        settings |= {"@source_heartbeat_period": str(beat), "@source_binlog_checksum": "@@global.binlog_checksum"}
        settings |= {"@slave_uuid": ours, "@replica_uuid": ours}
    execute(session, "SET " + ", ".join(f"{name} = {value}" for name, value in settings.items()))


def _command(session: Session, operation: str, start: Position) -> None:
    number = replica_id(operation)
    file, offset = file_and_offset(start)
    if file or session.mariadb:
        if not file:
            execute(
                session,
                "SET @slave_connect_state = %s, @slave_gtid_strict_mode = 0, @slave_gtid_ignore_duplicates = 0",
                (start.extra,),
            )
        body = struct.pack("<IHI", start_offset(offset), 0, number) + file.encode()
        session._execute_command(COMMAND.COM_BINLOG_DUMP, body)
        return
    gtids = MySQLGtids(start.extra).encode()
    body = struct.pack("<HII", _DUMP_GTID_MODE, number, 0) + struct.pack("<QI", FIRST_OFFSET, len(gtids)) + gtids
    session._execute_command(COMMAND.COM_BINLOG_DUMP_GTID, body)


def start_offset(offset: int) -> int:
    """Where to begin in the file: the command has room for 32 bits, so beyond them the whole file is read again."""
    return offset if FIRST_OFFSET <= offset < 1 << 32 else FIRST_OFFSET


def _refusal(error: rowpackets.ServerError) -> WhimbrelError:
    if error.number == _FATAL_READ and any(sign in error.text for sign in _LOST):
        return PositionLost(f"the source cannot continue its binlog from our position: {error.text}")
    if error.number == _FATAL_READ or _REPLACED in error.text:
        return SourceInterrupted(f"the source stopped sending its binlog: {error.text}")
    return server_refusal(pymysql.OperationalError(error.number, error.text), "source")
