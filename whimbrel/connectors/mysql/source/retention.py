"""How long a server still keeps the part of its binary log that a position lies in.

A server purges by age alone: binlog_expire_logs_seconds after a file was last written to, which is when the next one
was begun. That moment stands in the next file's first event, which a short dump of that file gives.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

from whimbrel.codecs import binlog
from whimbrel.connectors.mysql.connection import Session, connect, mapped, query
from whimbrel.connectors.mysql.source.dump import FIRST_OFFSET, Dump
from whimbrel.connectors.mysql.source.log import file_and_offset, position
from whimbrel.model.position import Position

WAIT_SECONDS: Final = 5.0


class Expiry:
    """Remembers when a file was ended, which never changes. For one thread at a time."""

    def __init__(self, parameters: Mapping[str, Any], operation: str) -> None:
        self._parameters = parameters
        self._operation = f"{operation}-expiry"  # a replica id of its own, or the stream's dump would be ended
        self._ended: tuple[str, int] | None = None  # the file, and the source's time in seconds since 1970

    def left(self, needed: Position) -> float | None:
        """Seconds; 0 once it may go at any moment. None without an age, or while the file is the newest."""
        file, _ = file_and_offset(needed)
        if not file:
            return None
        with closing(connect(self._parameters, self._operation)) as session, mapped("source"):
            kept = _kept_seconds(session)
            if kept is None:
                return None
            if self._ended is None or self._ended[0] != file:
                files = [str(row[0]) for row in query(session, "SHOW BINARY LOGS")]
                following = files[files.index(file) + 1 :] if file in files else []
                if not following:
                    return None
                begun = self._begun(following[0], needed.server)
                if begun is None:
                    return None
                self._ended = (file, begun)
            now = float(query(session, "SELECT UNIX_TIMESTAMP()")[0][0])
        return max(0.0, self._ended[1] + kept - now)

    def _begun(self, file: str, server: str) -> int | None:
        """When the server began to write the file, in seconds since 1970."""
        with closing(connect(self._parameters, self._operation)) as session:
            try:
                dump = Dump(session, self._operation, position(server, file, FIRST_OFFSET))
                deadline = time.monotonic() + WAIT_SECONDS
                while time.monotonic() < deadline:
                    dump.receive(0.5)
                    for event in dump.events():
                        if event[4] == binlog.FORMAT_DESCRIPTION and (seconds := binlog.began(event)):
                            return seconds
                return None
            finally:
                session._force_close()


def _kept_seconds(session: Session) -> float | None:
    """How long after its last write a file is kept; None for ever."""
    names = "'binlog_expire_logs_seconds', 'expire_logs_days', 'binlog_expire_logs_auto_purge'"
    found = {str(n): str(v) for n, v in query(session, f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")}
    if found.get("binlog_expire_logs_auto_purge", "ON").upper() in ("OFF", "0"):
        return None
    seconds = float(found.get("binlog_expire_logs_seconds", "0"))
    return seconds or float(found.get("expire_logs_days", "0")) * 86_400 or None
