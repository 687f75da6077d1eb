"""LOAD DATA LOCAL from bytes we hand over, never from a file that the server names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa
from pymysql.connections import MySQLResult
from pymysql.constants import COMMAND
from pymysql.protocol import MysqlPacket

from whimbrel.connectors.mysql.connection import Session, quote_literal
from whimbrel.connectors.protocols import Buffer
from whimbrel.errors import LoaderFailed
from whimbrel.model.table import Annotation, Column

STREAM_NAME = "whimbrel-rows"  # what we let the server ask for; no file of that name is ever opened
BLOCK_BYTES = 256 * 1024

_INFO = re.compile(r"Records: (\d+)\s+Deleted: (\d+)\s+Skipped: (\d+)\s+Warnings: (\d+)")


@dataclass(frozen=True)
class Loaded:
    """What the server says it did: rows read, rows replaced, rows left out, warnings given."""

    records: int
    deleted: int
    skipped: int
    warnings: int


def infile_clause() -> str:
    """``LOCAL INFILE '...'``, to stand behind LOAD DATA in the statement for ``load_local``."""
    return f"LOCAL INFILE {quote_literal(STREAM_NAME)}"


def conversion(column: Column, variable: str) -> str | None:
    """How a staged text becomes the value; None where the server reads it as it is. NULL stays NULL."""
    if pa.types.is_binary(column.type.arrow):
        return f"UNHEX({variable})"
    if column.type.annotation is Annotation.BIT and (column.type.length or 1) <= 64 and "var" not in column.type.native:
        return f"CAST(CONV({variable}, 2, 10) AS UNSIGNED)"
    if pa.types.is_float32(column.type.arrow) and not column.type.native.lower().startswith("float"):
        # the largest one, whose shortest text is beyond what the server takes
        return f"REPLACE({variable}, '3.4028235e+38', '3.4028234663852886e38')"
    return None


def load_local(session: Session, sql: str, blocks: Iterable[Buffer]) -> Loaded:
    """Run one LOAD DATA statement made with ``infile_clause`` and send ``blocks`` (each below 16 MiB) as its file.

    The session needs ``local_infile=True``. If ``blocks`` raises, or the server asks for any other file, the session
    is closed, so that a half-sent file is rolled back and never taken for a whole one. Raises pymysql.MySQLError.
    """
    session._execute_command(COMMAND.COM_QUERY, sql)
    packet: MysqlPacket = session._read_packet()  # type: ignore[no-untyped-call]
    if not packet.is_load_local_packet():
        session.close()
        raise LoaderFailed("the target server answered LOAD DATA LOCAL without asking for the rows")
    asked: bytes = packet.get_all_data()[1:]  # type: ignore[no-untyped-call]
    if asked != STREAM_NAME.encode():
        session.close()
        raise LoaderFailed("the target server asked for a file of this machine, which was refused")
    try:
        for block in blocks:
            if len(block):
                session.write_packet(bytes(block))
    except BaseException:
        session._force_close()
        raise
    session.write_packet(b"")
    result = MySQLResult(session)
    result.read()
    message = result.message.decode("ascii", "replace") if isinstance(result.message, bytes) else result.message
    found = _INFO.search(message or "")
    if found is None:
        raise LoaderFailed("the target server did not report how many rows it loaded")
    records, deleted, skipped, warnings = (int(n) for n in found.groups())
    return Loaded(records, deleted, skipped, warnings)
