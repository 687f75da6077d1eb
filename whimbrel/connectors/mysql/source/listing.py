"""The events of a binary log's files, as the server lists them to people.

The list shows statements in whatever character set their clients used, so it is read as bytes: a driver that takes it
for UTF-8 fails on the first one that is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from pymysql.cursors import SSCursor

from whimbrel.connectors.mysql.connection import Session

_BLOCK = 1000  # events taken from the server at a time


@dataclass(frozen=True)
class Listed:
    """One event: where it begins, its kind and its description; bytes that are no UTF-8 are surrogates in it."""

    offset: int
    kind: str
    info: str


def listed_events(session: Session, file: str, *, at: int | None = None, most: int | None = None) -> Iterator[Listed]:
    """The events of ``file`` from offset ``at`` on, ``most`` at the most. Raises pymysql's errors.

    MariaDB lets nobody write to its log while it lists one, so it is asked for a few events at a time. MySQL does not
    mind, and could not go on inside a compressed transaction.
    """
    if most is not None or not session.mariadb:
        yield from (listed for listed, _ in _listed(session, file, at, most))
        return
    while True:
        part = list(_listed(session, file, at, _BLOCK))
        yield from (listed for listed, _ in part)
        if len(part) < _BLOCK:
            return
        at = part[-1][1]


def _listed(session: Session, file: str, at: int | None, most: int | None) -> Iterator[tuple[Listed, int]]:
    """Each event, and where it ends."""
    sql = "SHOW BINLOG EVENTS IN %s"
    sql += "" if at is None else f" FROM {at}"
    sql += "" if most is None else f" LIMIT {most}"
    with closing(SSCursor(session)) as cursor:
        told, session.use_unicode = session.use_unicode, False
        try:
            cursor.execute(sql, (file,))
        finally:
            session.use_unicode = told
        while block := cursor.fetchmany(_BLOCK):
            for row in block:
                yield Listed(int(row[1]), _text(row[2]), _text(row[5])), int(row[4])


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
