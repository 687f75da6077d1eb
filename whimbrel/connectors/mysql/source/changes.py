"""Reads a source's binlog as changes of the captured tables."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial

import pymysql

from whimbrel.connectors.mysql.connection import Session, connect, execute, mapped, query
from whimbrel.connectors.mysql.locks import bound_waits
from whimbrel.connectors.mysql.refusals import number_and_text
from whimbrel.connectors.mysql.server import server_identity
from whimbrel.connectors.mysql.source.charsets import Charsets
from whimbrel.connectors.mysql.source.dump import Dump
from whimbrel.connectors.mysql.source.gtids import MySQLGtids, same_mariadb
from whimbrel.connectors.mysql.source.layout import captured
from whimbrel.connectors.mysql.source.listing import listed_events
from whimbrel.connectors.mysql.source.log import file_and_offset, gtids_at, no_position
from whimbrel.connectors.mysql.source.prepared import tables_changed
from whimbrel.connectors.mysql.source.transactions import Follower
from whimbrel.connectors.protocols import ChangeSink
from whimbrel.errors import PositionForeign, PositionLost
from whimbrel.model.job import Job
from whimbrel.model.position import Position
from whimbrel.model.table import Table

_GONE = 1094  # no such thread
_NO_EVENT = 1220  # nothing begins at that offset
_NEXT_GTID = re.compile(r"SET @@SESSION\.GTID_NEXT= '(?P<gtid>[0-9a-f-]{36}:\d+)'$", re.I)


def open_changes(job: Job, tables: Sequence[Table], start: Position) -> BinlogStream:
    """Read changes from ``start`` on. Raises PositionLost, PositionForeign, SourcePermissionDenied."""
    session = connect(job.source.parameters, job.operation)
    try:
        with mapped("source"):
            bound_waits(session)
        _require_same_server(session, start)
        require_kept(session, start)
        with mapped("source"):
            checksum, folds = query(session, "SELECT @@global.binlog_checksum, @@lower_case_table_names")[0]
        known = captured(session, tables)
        follower = Follower(
            *(known, Charsets(session), start),
            checksums=checksum == "CRC32",
            mariadb=session.mariadb,
            folds=bool(int(folds)),
            changed_before=partial(tables_changed, session),
        )
        return BinlogStream(job, session, follower, start)
    except BaseException:
        session.close()
        raise


def _require_same_server(session: Session, start: Position) -> None:
    """Raise PositionForeign; a server that has taken over numbers its files anew, but keeps GTIDs."""
    try:
        start.require_same_server(no_position(server_identity(session)))
    except PositionForeign as e:
        if start.extra:
            e.how_to_fix = (
                "If this server has taken over from the other one, as its replica, go on by GTID: POST replication "
                f'{{"resume": false, "position": "{start.extra}"}}. Otherwise give the source that the migration had, '
                "or reset and load again."
            )
        raise


def require_kept(session: Session, start: Position) -> None:
    """Raise PositionLost if the server has purged the file, PositionForeign if the point is not one of its own."""
    file, offset = file_and_offset(start)
    if not file:
        return
    with mapped("source"):
        sizes = {str(row[0]): int(row[1]) for row in query(session, "SHOW BINARY LOGS")}
    if file not in sizes:
        raise PositionLost(f"the source no longer has its binary log {file}", position=start.text)
    if offset > sizes[file]:
        raise PositionLost(f"the source's binary log {file} ends before {start.text}", position=start.text)
    if start.extra and not _stands_for(session, file, offset, start.extra):
        raise PositionForeign(
            f"position {start.text} stands for GTID {start.extra} and does not on this server: it is another server's, "
            "or its log was reset",
            position=start.text,
        )


def _stands_for(session: Session, file: str, offset: int, gtids: str) -> bool:
    """Whether the point may have that GTID set.

    MariaDB tells. MySQL must have executed what is in it; and since a log that was reset counts from one again, what
    the file begins behind must not be newer than the set, and what comes next at the point must not be in it. A set
    may lack what was being committed when the server was asked for it, so no more than that can be demanded.
    """
    if session.mariadb:
        return same_mariadb(gtids, gtids_at(session, file, offset))
    with mapped("source"):
        if not query(session, "SELECT GTID_SUBSET(%s, @@global.gtid_executed)", (gtids,))[0][0]:
            return False
        head = list(listed_events(session, file, most=2))
        if any(e.kind == "Previous_gtids" and MySQLGtids(gtids).is_older_than(e.info) for e in head):
            return False
        try:
            after = list(listed_events(session, file, at=offset, most=1))
        except pymysql.MySQLError as e:
            if number_and_text(e)[0] == _NO_EVENT:
                return False
            raise
        found = _NEXT_GTID.match(after[0].info) if after else None
        return found is None or not query(session, "SELECT GTID_SUBSET(%s, %s)", (found["gtid"], gtids))[0][0]


class BinlogStream:
    """A running dump and what follows it; see ``protocols.ChangeStream``. It holds two sessions."""

    def __init__(self, job: Job, metadata: Session, follower: Follower, start: Position) -> None:
        self._job = job
        self._metadata = metadata
        self._follower = follower
        self._session = connect(job.source.parameters, job.operation)
        self._thread = int(self._session.thread_id())  # type: ignore[no-untyped-call]
        try:
            self._dump = Dump(self._session, job.operation, start)
        except BaseException:
            self._session.close()
            raise

    def read(self, sink: ChangeSink, timeout: float, limit: int) -> bool:
        """See ``protocols.ChangeStream.read``. Heartbeats count as nothing."""
        deadline = time.monotonic() + timeout
        taken = 0
        while True:
            for raw in self._dump.events():
                self._follower.follow(raw, sink)
                taken += 0 if raw[4] in _IDLE else len(raw)
                if taken >= limit:
                    return True
            if taken:
                return True
            left = deadline - time.monotonic()
            if left <= 0 or not self._dump.receive(left):
                return False

    def notices(self) -> Sequence[str]:
        """None: whatever is done to a table is in the log."""
        return ()

    def confirm(self, position: Position) -> None:
        """Nothing to do: the server keeps its log by its own rules, and its heartbeats keep the link alive."""

    def close(self) -> None:
        """End the dump on the server too, which would notice a closed link only with its next event."""
        if not self._session.open:
            return
        self._session._force_close()
        self._metadata.close()
        with closing(connect(self._job.source.parameters, f"cleanup-{self._job.operation}")) as session:
            try:
                execute(session, f"KILL CONNECTION {self._thread}")
            except pymysql.MySQLError as e:
                if number_and_text(e)[0] != _GONE:
                    raise


_IDLE = (27, 41)  # heartbeats
