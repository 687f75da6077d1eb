"""XA transactions that were prepared before a place in the log and end behind it.

Their rows stand in the log where they were prepared, and in the tables from their commit on: a snapshot in between has
them in neither. What such a transaction changed is looked up in the log from before that place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import pymysql

from whimbrel.connectors.mysql.connection import Session, mapped, query
from whimbrel.connectors.mysql.source.listing import listed_events
from whimbrel.errors import SourceInterrupted
from whimbrel.model.names import TableName

_XID = re.compile(r"XA (?P<word>START|BEGIN|PREPARE) (?P<xid>X'[0-9a-f]*',X'[0-9a-f]*',\d+)", re.I)
_PLAIN_XID = re.compile(r"'(?P<global>[^']*)'(?:,'(?P<branch>[^']*)')?(?:,(?P<form>\d+))?$")
_NAME = re.compile(r"table_id: \d+ \((?P<name>.*)\)$", re.S)


def tables_changed(session: Session, xid: str, file: str, before: int) -> frozenset[str] | None:
    """The tables, as ``schema.table``, that the transaction ``xid`` had changed when it was prepared, at the last such
    place before offset ``before`` of ``file``; None when the log no longer has it. Reads the log backwards by files."""
    with mapped("source"):
        files = [str(row[0]) for row in query(session, "SHOW BINARY LOGS")]
        for name in reversed(files[: files.index(file) + 1] if file in files else []):
            found = None
            open_xid, names = "", set[str]()
            for event in listed_events(session, name):
                if name == file and event.offset >= before:
                    break
                seen = _XID.search(event.info) if "XA " in event.info else None
                if event.kind == "Table_map":
                    table = _NAME.match(event.info)
                    names.add(table["name"] if table else event.info)
                elif seen and seen["word"].upper() == "PREPARE":
                    found = frozenset(names) if open_xid == xid == seen["xid"] else found
                elif seen:
                    open_xid, names = seen["xid"], set()
            if found is not None:
                return found
    return None


def captured_among(changed: Iterable[str], tables: Iterable[TableName], *, folds: bool) -> list[str]:
    """Those of ``tables`` that are named, sorted; ``folds`` where the server's names have no case."""
    told = {name.lower() for name in changed} if folds else set(changed)
    return sorted(str(t) for t in tables if (str(t).lower() if folds else str(t)) in told)


def require_none(session: Session, tables: Sequence[TableName], file: str, offset: int) -> None:
    """Raise SourceInterrupted for a prepared transaction that changed one of the tables: a snapshot waits for its end.

    An account that may not list them (MySQL: XA_RECOVER_ADMIN) learns of it when it ends, from the log.
    """
    for xid in _prepared(session):
        changed = tables_changed(session, xid, file, offset) or frozenset()
        found = captured_among(changed, tables, folds=True)
        if found:
            raise SourceInterrupted(
                f"an XA transaction ({xid}) is prepared and not ended that changed {', '.join(found)}: its rows would "
                "be in neither the load nor the changes that follow",
                remedy="End it (XA COMMIT or XA ROLLBACK, see XA RECOVER on the source); it is tried again by itself.",
                tables=found,
            )


def _prepared(session: Session) -> list[str]:
    try:
        if session.mariadb:
            return [_in_hex(_text(row[3])) for row in query(session, "XA RECOVER FORMAT='SQL'")]
        return [_written(*row) for row in query(session, "XA RECOVER CONVERT XID")]
    except pymysql.MySQLError:
        return []


def _in_hex(xid: str) -> str:
    """MariaDB lists an id of printable characters as text, and every one in hexadecimal in its log."""
    found = _PLAIN_XID.match(xid)
    if found is None:
        return xid
    parts = (found["global"], found["branch"] or "")
    return ",".join([*(f"X'{part.encode().hex()}'" for part in parts), found["form"] or "1"])


def _written(form: Any, global_bytes: Any, _branch_bytes: Any, data: Any) -> str:
    """As the log has it: ``X'612762',X'71',7``."""
    digits = _text(data).removeprefix("0x").lower()
    cut = 2 * int(global_bytes)
    return f"X'{digits[:cut]}',X'{digits[cut:]}',{int(form)}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
