"""Where in a source's log we stand."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from whimbrel.errors import PositionForeign


@dataclass(frozen=True)
class Position:
    """A point in one server's log. Opaque text for people, comparable numbers for us.

    ``engine`` is the connector's name, ``server`` the server's own identity (system identifier, server_uuid, dbid),
    ``text`` what the engine's users write (``0/16B3748``, ``binlog.000042:1234``), ``order`` its comparable form.
    ``extra`` may carry the same point in another notation (a GTID set), or what else must fit (PostgreSQL's timeline).

    Two copies of one server that have both gone on are told apart by what is 0 where it is not known: ``began``, when
    the server began the log file that the point lies in (seconds since 1970 by its clock), or was itself started
    (microseconds); ``told``, where the last transaction ended that was read before the point.
    """

    engine: str
    server: str
    text: str
    order: tuple[int, ...]
    extra: str = ""
    began: int = 0
    told: int = 0

    def require_same_server(self, other: Position) -> None:
        """Raise PositionForeign unless both points are of one server."""
        if (self.engine, self.server) != (other.engine, other.server):
            raise PositionForeign(
                f"position {self.text} belongs to {self.engine} server {self.server}, not to {other.engine} server "
                f"{other.server}"
            )

    def __le__(self, other: Position) -> bool:
        self.require_same_server(other)
        return self.order <= other.order

    def __lt__(self, other: Position) -> bool:
        self.require_same_server(other)
        return self.order < other.order

    def to_json(self) -> str:
        """One line of JSON, for the target's progress table and position.pkt."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Position:
        """What ``to_json`` wrote. Raises ValueError on anything else."""
        try:
            raw = json.loads(text)
            order = tuple(int(n) for n in raw["order"])
            return cls(
                raw["engine"],
                raw["server"],
                raw["text"],
                order,
                raw.get("extra", ""),
                int(raw.get("began", 0)),
                int(raw.get("told", 0)),
            )
        except (KeyError, TypeError) as e:
            raise ValueError(f"not a position: {text[:80]!r}") from e
