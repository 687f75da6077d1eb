"""Prepared statements, whose answers come in the binary protocol: the driver has none."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pymysql.constants import COMMAND

from whimbrel.connectors.mysql.connection import Session

_NO_CURSOR, _ONCE = 0, 1


@dataclass(frozen=True)
class Statement:
    """One without parameters, on the session that prepared it."""

    session: Session
    number: int

    @property
    def execution(self) -> bytes:
        """What COM_STMT_EXECUTE is to say: all rows at once, as the server finds them."""
        return struct.pack("<IBI", self.number, _NO_CURSOR, _ONCE)

    def close(self) -> None:
        """Forget it on the server, which does not answer."""
        self.session._execute_command(COMMAND.COM_STMT_CLOSE, struct.pack("<I", self.number))


def prepare(session: Session, sql: str) -> Statement:
    """Raises pymysql.MySQLError."""
    session._execute_command(COMMAND.COM_STMT_PREPARE, sql)
    answer: bytes = session._read_packet().get_all_data()  # type: ignore[no-untyped-call]
    number, columns, parameters = struct.unpack_from("<IHH", answer, 1)
    for described in (parameters, columns):
        for _ in range(described + 1 if described else 0):  # and an EOF behind them
            session._read_packet()  # type: ignore[no-untyped-call]
    return Statement(session, int(number))
