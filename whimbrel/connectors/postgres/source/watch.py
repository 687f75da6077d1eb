"""Watches what somebody may do to captured tables without a trace in the log that pgoutput makes of it.

Renames, new columns and partitions, a dropped unique key, a changed publication: the log shows some of them with the
next row of the table and some never, so the catalog is asked as well. What it said last is kept as the comment of the
publication, which lives exactly as long as the capture: so what is done while nobody follows is noticed too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import psycopg

from whimbrel.connectors.postgres.connection import identifier, literal, mapped
from whimbrel.connectors.postgres.source.shapes import (
    ROWS_REMEDY,
    Differences,
    Look,
    columns_added,
    columns_followed,
    compare,
    look,
    require_published,
)
from whimbrel.connectors.postgres.wire import Connection
from whimbrel.errors import (
    LayoutChanged,
    PositionLost,
    SourceInterrupted,
    SourcePermissionDenied,
    TableMissing,
    WhimbrelError,
)
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

WATCH_SECONDS = 10.0
LATE_SECONDS = 30.0  # how long the stream may take to reach the point at which a change was found
SOON_SECONDS = 1.0
LOCK_SECONDS = 2  # how long a look waits for somebody's ALTER TABLE

_OIDS = """
select c.oid, n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
join unnest(%s::text[], %s::text[]) as w(schema, name) on n.nspname = w.schema and c.relname = w.name
"""
_KEPT = "select obj_description(oid, 'pg_publication') from pg_publication where pubname = %s"


def oids_of(connection: Connection, tables: Sequence[Table]) -> dict[int, TableName]:
    """The captured tables by their oids. Raises TableMissing."""
    names = [t.name for t in tables]
    with mapped("source"):
        rows = connection.execute(_OIDS, [[n.schema for n in names], [n.table for n in names]]).fetchall()
    found = {int(oid): TableName(schema, name) for oid, schema, name in rows}
    missing = sorted(str(n) for n in set(names) - set(found.values()))
    if missing:
        raise TableMissing(f"the source has no table {', '.join(missing[:20])} any more", tables=missing[:100])
    return found


# --- what was seen last, kept on the source -------------------------------------------------------------------------


def keep(connection: Connection, publication: str, seen: Look) -> None:
    """Replace what is kept. Raises SourcePermissionDenied when the publication is another role's."""
    with mapped("source"):
        try:
            connection.execute(
                f"comment on publication {identifier(publication)} is {literal(seen.to_json())}".encode()
            )
        except psycopg.errors.InsufficientPrivilege as e:
            user = identifier(connection.info.user)
            raise SourcePermissionDenied(
                f"publication {publication} belongs to another role: what its tables look like cannot be kept with it",
                remedy=f"Run ALTER PUBLICATION {identifier(publication)} OWNER TO {user}.",
            ) from e


def _read(connection: Connection, publication: str) -> Look | None:
    with mapped("source"):
        row = connection.execute(_KEPT, [publication]).fetchone()
    return Look.from_json(row[0]) if row and row[0] else None


def kept(connection: Connection, publication: str, oids: Mapping[int, TableName]) -> Look | None:
    """What was seen last of these tables; None when nothing is kept. Raises LayoutChanged when one of them is another
    table by now."""
    seen = _read(connection, publication)
    if seen is None:
        return None
    names = set(oids.values())
    for shape in seen.shapes.values():
        if shape.oid not in oids and shape.name in names:
            raise LayoutChanged(
                f"{shape.name}: it was dropped or renamed on the source, where another table has that name now",
                remedy=ROWS_REMEDY,
                table=str(shape.name),
            )
    return Look(seen.horizon, {oid: s for oid, s in seen.shapes.items() if oid in oids})


def keep_present(connection: Connection, publication: str, tables: Sequence[Table]) -> None:
    """Keep the tables as they are, whatever was kept before: capture begins here. Raises PositionLost when one has left
    the publication meanwhile."""
    now = look(connection, publication, list(oids_of(connection, tables)))
    require_published(now, publication)
    keep(connection, publication, now)


def require_unchanged(connection: Connection, publication: str, tables: Sequence[Table]) -> None:
    """Raise LayoutChanged when a table is not what it was when capture began, or was seen last, and the log does not
    show that; PositionLost when the publication leaves something out."""
    oids = oids_of(connection, tables)
    before = kept(connection, publication, oids)
    if before is None:
        return
    now = look(connection, publication, list(oids))
    require_published(now, publication)
    found = compare(connection, before, now)
    for error in (found.changed, *found.emptied.values()):
        if error is not None:
            raise error


def accept_columns(connection: Connection, publication: str, tables: Sequence[Table]) -> tuple[TableName, ...]:
    """Take the columns of these tables as known, where they were only added, dropped or renamed; return whose."""
    before = _read(connection, publication)
    if before is None:
        return ()
    now = look(connection, publication, list(oids_of(connection, tables)))
    shapes = dict(before.shapes)
    for oid, new in now.shapes.items():
        old = shapes.get(oid)
        if old is not None and old.columns != new.columns and columns_followed(old, new):
            shapes[oid] = replace(old, columns=new.columns)
    accepted = tuple(s.name for oid, s in shapes.items() if s.columns != before.shapes[oid].columns)
    if accepted:
        keep(connection, publication, Look(before.horizon, shapes))
    return accepted


@dataclass(frozen=True)
class Added:
    """Columns of a table that came since a look at which all transactions with numbers below ``horizon`` had ended."""

    oid: int
    horizon: int
    columns: tuple[str, ...]


def added(connection: Connection, publication: str, table: Table) -> Added | None:
    """What came since the table was seen last; None when nothing did, when nobody has kept that, and when more was
    done to the columns than can be followed."""
    before = _read(connection, publication)
    [oid] = oids_of(connection, [table])
    if before is None or oid not in before.shapes:
        return None
    old, new = before.shapes[oid], look(connection, publication, [oid]).shapes[oid]
    came = columns_added(old, new)
    return Added(oid, before.horizon, came) if came and columns_followed(old, new) else None


# --- while the log is followed --------------------------------------------------------------------------------------


class Watch:
    """Compares the catalog with what it was when it was last seen, by whomever. The connection becomes its own.

    Raises LayoutChanged, PositionLost when the tables are not what they were, before any row is read by what they are.
    """

    def __init__(self, connection: Connection, publication: str, oids: Mapping[int, TableName]) -> None:
        self._connection = connection
        self._publication = publication
        self._oids = list(oids)
        self._found: tuple[int, float, WhimbrelError] | None = None
        self._waiting: tuple[int, Differences, Look] | None = None
        self._truncated: set[int] = set()
        self._lines: list[str] = []
        self._kept = kept(connection, publication, oids)
        with mapped("source"):
            connection.execute(f"set lock_timeout = '{LOCK_SECONDS}s'".encode())
        now = self._look()
        require_published(now, publication)
        self._looked = time.monotonic()
        if self._kept is None:
            self._before = now
            self._keep(now)
            return
        # A table that the kept look does not know was not captured then: it begins here.
        added = {oid: s for oid, s in now.shapes.items() if oid not in self._kept.shapes}
        self._before = Look(self._kept.horizon, {**self._kept.shapes, **added})
        found = compare(connection, self._before, now)
        if found.changed is not None:
            raise found.changed
        self._take(found, now)

    def look(self, reached: int) -> None:
        """Ask now and then. Raises LayoutChanged once the stream has ``reached`` the point at which the tables were
        found changed, so that what happened before is applied; PositionLost when changes were not published."""
        now = time.monotonic()
        if self._waiting is not None and reached >= self._waiting[0]:
            self._decide(*self._waiting[1:])
        if self._found is None and self._waiting is None and now - self._looked >= WATCH_SECONDS:
            self._looked = now
            self._ask(now)
        if self._found is not None and (reached >= self._found[0] or now >= self._found[1]):
            raise self._found[2]

    def truncated(self, oids: Sequence[int]) -> None:
        """Told of a TRUNCATE in the log. The files that it gave to partitions are looked at soon: until they are kept,
        an attempt that begins behind it would find partitions emptied, and nothing that explains it."""
        parted = [oid for oid in oids if (s := self._before.shapes.get(oid)) is not None and s.parts]
        if not self._truncated.issuperset(parted):
            self._truncated.update(parted)
            self._looked = min(self._looked, time.monotonic() - WATCH_SECONDS + SOON_SECONDS)

    def lines(self) -> Sequence[str]:
        """What people should know, each once."""
        lines, self._lines = self._lines, []
        return lines

    def close(self) -> None:
        self._connection.close()

    def _look(self) -> Look:
        return look(self._connection, self._publication, self._oids)

    def _ask(self, moment: float) -> None:
        try:
            now = self._look()
            found = compare(self._connection, self._before, now)
            error: WhimbrelError | None = found.changed
            if error is None:
                require_published(now, self._publication)
        except SourceInterrupted as e:
            if isinstance(e.__cause__, psycopg.errors.LockNotAvailable):
                return  # somebody changes a table right now; what it comes to, the next look tells
            raise
        except PositionLost as e:
            error = e
        if error is not None:
            self._found = (self._flushed(), moment + LATE_SECONDS, error)
        else:
            self._take(found, now)

    def _take(self, found: Differences, now: Look) -> None:
        """Nothing that stops us; of what the log can explain, it has to be read first."""
        self._lines += found.doubts
        if found.emptied or found.doubted:
            self._waiting = (self._flushed(), found, now)
            return
        self._truncated.clear()
        self._before = now
        if self._kept is None or now.shapes != self._kept.shapes:
            self._keep(now)

    def _decide(self, found: Differences, now: Look) -> None:
        """Partitions were all emptied, and the log is read up to there: it has shown a TRUNCATE of the whole, or not.

        Raises LayoutChanged.
        """
        for oid, error in found.emptied.items():
            if oid not in self._truncated:
                raise error
        self._waiting = None
        self._take(Differences(None, [line for oid, line in found.doubted.items() if oid not in self._truncated]), now)

    def _keep(self, seen: Look) -> None:
        keep(self._connection, self._publication, seen)
        self._kept = seen

    def _flushed(self) -> int:
        with mapped("source"):
            row = self._connection.execute("select pg_current_wal_flush_lsn() - '0/0'::pg_lsn").fetchone()
        assert row is not None
        return int(row[0])
