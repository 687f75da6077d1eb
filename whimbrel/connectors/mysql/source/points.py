"""Whether a point that a user names is one at which this server's log can be taken up.

A server asked for a point that it does not have does not always refuse: MariaDB sends a domain that the point leaves
out from the log's beginning, and a file is read from the middle of a transaction. Rows without a key would come twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pymysql

from whimbrel.connectors.mysql.connection import Session, mapped, query
from whimbrel.connectors.mysql.refusals import number_and_text
from whimbrel.connectors.mysql.source.listing import listed_events
from whimbrel.connectors.mysql.source.log import DENIED, file_and_offset
from whimbrel.errors import PositionForeign, PositionLost
from whimbrel.model.position import Position

NO_EVENT = 1220  # nothing begins at that offset
_GTID = re.compile(r"(?P<domain>\d+)-(?P<server>\d+)-(?P<number>\d+)")
_INSIDE = (  # what never stands at the beginning of a transaction, as SHOW BINLOG EVENTS begins its name
    *("Table_map", "Write_rows", "Update_rows", "Delete_rows", "Xid", "Query", "Annotate_rows", "Rows_query", "Intvar"),
    *("Rand", "User", "Begin_load", "Append_block", "Execute_load", "XA_prepare", "Partial_update", "Transaction_payl"),
)
_REMEDY = "Give a position that this server's log has: SHOW BINARY LOGS and SHOW BINLOG EVENTS list them."


def require_point(session: Session, point: Position) -> None:
    """Raise PositionForeign unless the log has, or had, this point between two transactions; PositionLost when it is
    purged."""
    file, offset = file_and_offset(point)
    with mapped("source"):
        if file:
            _require_place(session, point, file, offset)
        elif session.mariadb:
            _require_mariadb(session, point)
        else:
            _require_mysql(session, point)


def _require_place(session: Session, point: Position, file: str, offset: int) -> None:
    sizes = {str(row[0]): int(row[1]) for row in query(session, "SHOW BINARY LOGS")}
    newest = list(sizes)[-1]
    if file not in sizes:
        if file.rpartition(".")[0] == newest.rpartition(".")[0] and _number(file) < _number(newest):
            raise PositionLost(f"the source no longer has its binary log {file}", position=point.text)
        raise _foreign(point, f"the source has no binary log of that name; its newest is {newest}")
    if offset > sizes[file]:
        raise _foreign(point, f"the source's binary log {file} ends at {sizes[file]}")
    try:
        after = list(listed_events(session, file, at=offset, most=1))
    except pymysql.MySQLError as e:
        number = number_and_text(e)[0]
        if number in DENIED:
            return
        if number == NO_EVENT:
            raise _foreign(point, "nothing in the source's log begins there") from None
        raise
    if after and after[0].offset != max(offset, 4):
        raise _foreign(point, "nothing in the source's log begins there")
    if after and after[0].kind.startswith(_INSIDE):
        raise _foreign(point, "it is in the middle of a transaction")


def _number(file: str) -> int:
    return int(file.rpartition(".")[2])


def _require_mysql(session: Session, point: Position) -> None:
    sql = (
        "SELECT GTID_SUBTRACT(%s, @@global.gtid_executed), GTID_SUBTRACT(@@global.gtid_purged, %s),"
        " @@global.gtid_executed"
    )
    never, purged, executed = ("".join(str(v).split()) for v in query(session, sql, (point.extra, point.extra))[0])
    if never:
        raise _foreign(point, f"the source has never executed {never}; it has executed {executed or 'none'}")
    if purged:
        raise PositionLost(f"the source no longer has {purged} in its log", position=point.text)


# --- MariaDB ----------------------------------------------------------------------------------------------------------


def _require_mariadb(session: Session, point: Position) -> None:
    """The newest of every domain. The file to read is the newest one that begins before all of them; a domain that the
    log has before that file's beginning must be named, too."""
    given = {domain: (server, number) for (domain, server), number in _gtids(point.extra).items()}
    row = query(session, "SELECT @@global.gtid_binlog_state, @@global.gtid_binlog_pos")[0]
    state, here = _gtids(str(row[0])), str(row[1])
    for domain, (server, number) in given.items():
        if state.get((domain, server), -1) < number:
            raise _foreign(point, f"the source's log has no {domain}-{server}-{number}; it is at {here or 'no GTID'}")
    try:
        files = [str(row[0]) for row in query(session, "SHOW BINARY LOGS")]
        for file in reversed(files):
            begins = _begins_behind(session, file)
            newest = {d: max(n for (other, _), n in begins.items() if other == d) for d, _ in begins}
            if any(number > given[d][1] for d, number in newest.items() if d in given):
                continue
            left = sorted(set(newest) - set(given))
            if not left:
                return
            if any(number > newest.get(d, -1) for d, (_, number) in given.items()):
                domains = ", ".join(map(str, left))
                raise _foreign(point, f"it says nothing of domain {domains}, whose changes would all be read again")
    except pymysql.MySQLError as e:
        if number_and_text(e)[0] not in DENIED:
            raise
        return
    raise PositionLost(f"the source no longer has its log from {point.text} on", position=point.text)


def _begins_behind(session: Session, file: str) -> Mapping[tuple[int, int], int]:
    """The newest of every domain and server that lies in files before this one."""
    head = list(listed_events(session, file, most=4))
    return _gtids(next((event.info for event in head if event.kind == "Gtid_list"), ""))


def _gtids(text: str) -> dict[tuple[int, int], int]:
    """(domain, server) -> number."""
    return {(int(m["domain"]), int(m["server"])): int(m["number"]) for m in _GTID.finditer(text)}


def _foreign(point: Position, why: str) -> PositionForeign:
    return PositionForeign(f"position {point.text}: {why}", remedy=_REMEDY, position=point.text)
