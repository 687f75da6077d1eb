"""The binary log as a whole: where it stands, whether it can be captured, and positions in it.

A position's text is ``file:offset``, its order (number of the file, offset). ``extra`` is the same point as a GTID set.
A position that a user gave as a GTID set has that as its text too, and the order (0, 0) until the log says where it is.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pymysql
from pymysql.constants import COMMAND

from whimbrel.connectors.mysql.connection import Session, connect, end_sessions, mapped, query, quote_literal
from whimbrel.connectors.mysql.refusals import number_and_text
from whimbrel.connectors.mysql.server import server_identity
from whimbrel.connectors.mysql.source import capturing
from whimbrel.connectors.mysql.source.prepared import require_none
from whimbrel.connectors.requirements import require
from whimbrel.errors import InvalidRequest, LogDisabled, SourcePermissionDenied
from whimbrel.model.position import Position
from whimbrel.model.table import Table

ENGINE = "mysql"
DENIED = (1044, 1045, 1142, 1227)
_FILE_AND_OFFSET = re.compile(r"(?P<file>[^:\s]+\.(?P<number>\d{6,})):(?P<offset>\d+)$")
_MYSQL_GTIDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(:\d+(-\d+)?)+$", re.I)
_MARIADB_GTID = re.compile(r"\d+-\d+-\d+$")


def position(identity: str, file: str, offset: int, gtids: str = "", began: int = 0) -> Position:
    """A point by file and offset."""
    number = file.rpartition(".")[2]
    order = (int(number) if number.isdigit() else 0, offset)
    return Position(ENGINE, identity, f"{file}:{offset}", order, gtids, began)


def no_position(identity: str) -> Position:
    """What a server without a binary log can say."""
    return Position(ENGINE, identity, "", (0, 0))


def file_and_offset(where: Position) -> tuple[str, int]:
    """Take a position apart; ('', 0) when it is given as a GTID set only."""
    found = _FILE_AND_OFFSET.match(where.text)
    return (found["file"], int(found["offset"])) if found else ("", 0)


def current_position(session: Session, *, gtids: bool = False) -> Position:
    """The end of the log. Raises LogDisabled, SourcePermissionDenied.

    ``gtids`` asks for the GTID set too, for which MariaDB reads its newest log file.
    """
    row = log_status(session)
    if row is None:
        raise LogDisabled("the source writes no binary log (log_bin is OFF)")
    file, offset = str(row[0]), int(row[1])
    known = gtids_at(session, file, offset, row) if gtids or not session.mariadb else ""
    return position(server_identity(session), file, offset, known)


def log_status(session: Session) -> tuple[Any, ...] | None:
    """File, offset, the databases that are logged, those that are not, and MySQL's GTID set; None without a log."""
    new = not session.mariadb and session.version >= (8, 2)
    with _needing("REPLICATION CLIENT (BINLOG MONITOR on MariaDB)"):
        rows = query(session, "SHOW BINARY LOG STATUS" if new else "SHOW MASTER STATUS")
    return rows[0] if rows else None


def gtids_at(session: Session, file: str, offset: int, status: tuple[Any, ...] | None = None) -> str:
    """The GTID set of a point, as far as the server tells: MySQL for the end of the log only."""
    if not session.mariadb:
        return "".join(str(status[4]).split()) if status is not None and len(status) > 4 else ""
    with mapped("source"):
        found = query(session, "SELECT BINLOG_GTID_POS(%s, %s)", (file, offset))[0][0]
    return str(found or "")


def check_position(text: str) -> None:
    """Raise InvalidRequest for what neither server's log has."""
    plain = "".join(text.split())
    found = _FILE_AND_OFFSET.match(plain)
    if found and int(found["offset"]) < 1 << 63:
        return
    if plain and any(all(one.match(part) for part in plain.split(",")) for one in (_MARIADB_GTID, _MYSQL_GTIDS)):
        return
    raise InvalidRequest(
        f"position: {text[:80]!r} is neither 'file.000001:offset' nor a GTID set like 0-1-100 (MariaDB) or "
        "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5 (MySQL)",
        field="position",
    )


def parse_position(session: Session, text: str) -> Position:
    """What a user wrote: ``binlog.000042:1234`` or a GTID set. Raises InvalidRequest."""
    identity = server_identity(session)
    plain = "".join(text.split())
    found = _FILE_AND_OFFSET.match(plain)
    if found:
        gtids = gtids_at(session, found["file"], int(found["offset"])) if session.mariadb else ""
        return position(identity, found["file"], int(found["offset"]), gtids)
    one = _MARIADB_GTID if session.mariadb else _MYSQL_GTIDS
    if plain and all(one.match(part) for part in plain.split(",")):
        return Position(ENGINE, identity, plain, (0, 0), plain)
    kind = "0-1-100" if session.mariadb else "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"
    raise InvalidRequest(
        f"position: {text[:80]!r} is neither 'file.000001:offset' nor a GTID set like {kind}", field="position"
    )


# --- can it be captured -----------------------------------------------------------------------------------------------


def check_capture(parameters: Mapping[str, Any], operation: str, tables: Sequence[Table]) -> None:
    """Raise what stops the capture of these tables: LogDisabled, LogFormatRefused, SourcePermissionDenied."""
    with closing(connect(parameters, operation)) as session:
        with mapped("source"):
            settings = _settings(session)
        require((capturing.logged(settings), *capturing.formats(settings), capturing.numbered(settings)))
        status = log_status(session)
        if status is None:
            raise LogDisabled("the source writes no binary log (log_bin is OFF)")
        require([capturing.unfiltered(status, [t.name for t in tables])])
        with mapped("source"):
            replica = None if capturing.logs_relayed(settings) else replicates(session, settings)
        require((capturing.relayed(settings, replica), capturing.cascades(settings, tables)))
        with _needing("REPLICATION SLAVE"):
            require_none(session, [t.name for t in tables], str(status[0]), int(status[1]))
        require([capturing.versioned(tables)])
        register(session, "check")


def prepare_changes(parameters: Mapping[str, Any], operation: str, tables: Sequence[Table]) -> Position:
    """MySQL keeps nothing for a reader of its log, so this checks and says where the log stands."""
    check_capture(parameters, operation, tables)
    with closing(connect(parameters, operation)) as session:
        return current_position(session, gtids=True)


def _settings(session: Session) -> dict[str, str]:
    listed = ", ".join(quote_literal(n) for n in capturing.SETTINGS)
    return {
        str(n).lower(): str(v) for n, v in query(session, f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({listed})")
    }


def replicates(session: Session, settings: Mapping[str, str]) -> bool | None:
    """Whether the server applies what others have written; None when the account may not know.

    MariaDB shows to everybody what runs, and only to some accounts what is set up and stands still. In a Galera cluster
    each node applies what the others have written.
    """
    if settings.get("wsrep_on", "OFF").upper() in ("ON", "1"):
        return True
    newer = not session.mariadb and session.version >= (8, 0, 22)
    ask = "SHOW ALL SLAVES STATUS" if session.mariadb else "SHOW REPLICA STATUS" if newer else "SHOW SLAVE STATUS"
    try:
        return bool(query(session, ask))
    except pymysql.MySQLError as e:
        if number_and_text(e)[0] not in DENIED:
            raise
    running = query(session, "SHOW GLOBAL STATUS WHERE Variable_name IN ('Slaves_running', 'Slave_running')")
    return True if any(str(value).upper() not in ("0", "OFF") for _, value in running) else None


def register(session: Session, operation: str) -> None:
    """Announce the session as a replica, which is what needs the grant. Raises SourcePermissionDenied."""
    host = f"whimbrel:{operation}".encode()[:60]
    body = struct.pack("<IB", replica_id(operation), len(host)) + host + b"\0\0" + struct.pack("<HII", 0, 0, 0)
    with _needing("REPLICATION SLAVE"):
        session._execute_command(COMMAND.COM_REGISTER_SLAVE, body)
        session._read_packet()  # type: ignore[no-untyped-call]


def replica_id(operation: str) -> int:
    """The server id we dump under, the same for every attempt of one operation, so that a new one ends its zombie."""
    return 0x40000000 | uuid.uuid5(uuid.NAMESPACE_OID, operation).int & 0x3FFFFFFF


@contextmanager
def _needing(grant: str) -> Iterator[None]:
    """Maps the driver's errors; a refusal names the grant that is missing."""
    with mapped("source"):
        try:
            yield
        except pymysql.MySQLError as e:
            if number_and_text(e)[0] not in DENIED:
                raise
            raise SourcePermissionDenied(
                f"the account of the source lacks {grant}", remedy=f"GRANT {grant} ON *.* TO the account."
            ) from e


def cleanup(parameters: Mapping[str, Any], operation: str) -> None:
    """End every session of the operation on the source, dumps of its log included."""
    end_sessions(parameters, operation, "source")
