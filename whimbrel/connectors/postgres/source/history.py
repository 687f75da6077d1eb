"""Whether a server that was started since is the one that a position is of, or a copy of it that went on by itself.

A copy (a restored disk image, a clone) has the system identifier, the timeline and the slot of the original. Its slot
shows the transactions since the last confirmed point; on the original those that we were told of are among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from whimbrel.connectors.postgres.connection import mapped
from whimbrel.connectors.postgres.source.slots import position_at
from whimbrel.connectors.postgres.wire import Connection
from whimbrel.errors import PositionForeign
from whimbrel.model.position import Position

# Of every commit that the slot would send up to there: where it ends, which stands behind kind, flags and beginning.
_ENDS = """
select max(place) from (
  select ('x' || encode(substr(data, 11, 8), 'hex'))::bit(64)::bigint as place
  from pg_logical_slot_peek_binary_changes(%s, %s::pg_lsn, null, 'proto_version', '1', 'publication_names', %s)
  where get_byte(data, 0) = 67) c
where place <= %s
"""


@dataclass
class Origin:
    """What the positions of one stream have in common. ``told`` is where the last transaction ended that the stream, or
    the one before it, has told of; 0 where nobody knows."""

    server: str
    timeline: str
    began: int
    told: int

    def at(self, lsn: int) -> Position:
        return position_at(self.server, lsn, self.timeline, began=self.began, told=self.told)


def began(connection: Connection) -> int:
    """When the server was started, in microseconds since 1970."""
    with mapped("source"):
        row = connection.execute("select (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint").fetchone()
    assert row is not None
    return int(row[0])


def origin(connection: Connection, server: str, timeline: str, slot: str, confirmed: int, start: Position) -> Origin:
    """Raise PositionForeign when the server has another history than the one that ``start`` is of, as far as it can be
    known. Nobody may be reading from the slot."""
    here, at, told = began(connection), start.order[0], start.told
    if confirmed == at:
        return Origin(server, timeline, here, told or at)  # the slot itself knows the point
    if start.began and told and start.began != here:
        _require_told(connection, slot, confirmed, start)
    return Origin(server, timeline, here, told)


def _require_told(connection: Connection, slot: str, confirmed: int, start: Position) -> None:
    """Between the confirmed point and ``start`` the last transaction is the last one that we were told of, or there is
    none."""
    with mapped("source"):
        try:
            row = connection.execute(_ENDS, [slot, start.text, f'"{slot}"', start.order[0]]).fetchone()
        except (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.UndefinedFile):
            return  # the slot has lost its log, which whoever reads from it is told
    assert row is not None
    if int(row[0] or 0) != (start.told if start.told > confirmed else 0):
        raise PositionForeign(
            f"position {start.text}: the source was started since, and its log does not have before it what was read "
            "there: it is a copy of that server, or was restored from one",
            remedy="Give the source that the migration had, or reset and load again: the two have parted since.",
            position=start.text,
        )
