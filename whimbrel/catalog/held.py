"""What sources keep of their logs for migrations that nobody follows."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from whimbrel.catalog import definitions, operations, tables
from whimbrel.catalog.database import Database, upsert
from whimbrel.catalog.records import REPLICATING, Status

_table, _operation = tables.held, tables.operation


@dataclass(frozen=True)
class HeldRecord:
    """``slot`` kept ``retained_bytes`` of log when last seen, ``age_seconds`` ago. ``let_go_at``: when it was dropped
    because that was more than an idle migration may keep; None while it is there."""

    migration: str
    slot: str
    retained_bytes: int
    seen_at: datetime
    age_seconds: float
    let_go_at: datetime | None = None


@dataclass(frozen=True)
class Idle:
    """A migration that nobody follows, and the newest of its operations that did."""

    migration: str
    operation: str


class HeldLogs:
    """The part of a catalog that knows of them. Every method is one transaction; all raise CatalogUnreachable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, migration: str, slot: str, retained_bytes: int) -> None:
        """Note what was seen just now. No error when the migration was deleted meanwhile."""
        with suppress(sa.exc.IntegrityError), self._database.write() as connection:
            _save(connection, migration, slot, retained_bytes, None)

    def forget(self, migration: str, *, let_go: bool) -> None:
        """Nothing is kept any more. Without ``let_go``, that it was let go by itself stays noted."""
        gone = sa.delete(_table).where(_table.c.migration == migration)
        with self._database.write() as connection:
            connection.execute(gone if let_go else gone.where(_table.c.let_go_us.is_(None)))

    def mark_let_go(self, migration: str, slot: str, retained_bytes: int) -> bool:
        """Note that it is let go now, before it is done; False when somebody follows the migration, or is about to, or
        it is being deleted. Raises MigrationNotFound."""
        with self._database.write() as connection:
            retiring = definitions.lock(connection, migration)
            following = sa.select(sa.func.count()).select_from(_operation).where(_followed(migration))
            if retiring or connection.scalar(following):
                return False
            _save(connection, migration, slot, retained_bytes, operations.now_us(connection))
            return True

    def find(self, migration: str) -> HeldRecord | None:
        """What is kept, or was let go by itself; None while somebody follows the migration."""
        with self._database.read() as connection:
            found = listed(connection, migration)
        return found[0] if found else None

    def idle(self) -> list[Idle]:
        """Migrations that were followed once and are not now, by name."""
        o = _operation.c
        query = sa.select(o.migration, o.id, o.status).where(o.mode.in_(REPLICATING)).order_by(o.started_us)
        with self._database.read() as connection:
            newest = {row.migration: row for row in connection.execute(query)}
        return [Idle(name, newest[name].id) for name in sorted(newest) if newest[name].status != Status.RUNNING]


def listed(connection: Connection, migration: str | None = None) -> list[HeldRecord]:
    """What ``HeldLogs.find`` finds, for all migrations (or one), by name, in the caller's transaction."""
    followed = sa.exists().where(_followed(_table.c.migration))
    query = sa.select(_table).where(~followed).order_by(_table.c.migration)
    if migration is not None:
        query = query.where(_table.c.migration == migration)
    now = operations.now_us(connection)
    return [_record(row, now) for row in connection.execute(query)]


def _save(connection: Connection, migration: str, slot: str, retained_bytes: int, let_go_us: int | None) -> None:
    row = {"migration": migration, "slot": slot, "retained_bytes": retained_bytes, "let_go_us": let_go_us}
    upsert(connection, _table, [{**row, "seen_us": operations.now_us(connection)}])


def _followed(migration: Any) -> sa.ColumnElement[bool]:
    o = _operation.c
    return sa.and_(o.migration == migration, o.status == Status.RUNNING, o.mode.in_(REPLICATING))


def _record(row: Row[Any], now: int) -> HeldRecord:
    return HeldRecord(
        migration=row.migration,
        slot=row.slot,
        retained_bytes=int(row.retained_bytes),
        seen_at=operations.time_of(row.seen_us),
        age_seconds=max(0, now - row.seen_us) / 1e6,
        let_go_at=None if row.let_go_us is None else operations.time_of(row.let_go_us),
    )
