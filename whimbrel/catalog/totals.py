"""Sums over all operations, for monitoring. Runs inside the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from whimbrel.catalog import held, operations, progress, tables
from whimbrel.catalog.held import HeldRecord

KINDS = ("inserts", "updates", "deletes", "truncates")


@dataclass(frozen=True)
class Totals:
    """Over the operations that are kept.

    ``operations``: how many by (mode, status). ``loaded``: (rows, bytes staged) by migration. ``applied``: changes by
    (migration, kind). ``lag``: (seconds, bytes) by migration, of replications that run. ``retained``: bytes of log
    that sources keep, by migration, for operations that run. ``held``: what they keep for migrations that nobody
    follows.
    """

    operations: dict[tuple[str, str], int]
    loaded: dict[str, tuple[int, int]]
    applied: dict[tuple[str, str], int]
    lag: dict[str, tuple[float, int]]
    retained: dict[str, int]
    held: tuple[HeldRecord, ...]


def read(connection: Connection) -> Totals:
    """One state of the catalog."""
    o, load, change = tables.operation.c, tables.load_totals.c, tables.table_change.c
    counted = connection.execute(sa.select(o.mode, o.status, sa.func.count()).group_by(o.mode, o.status))
    loaded = connection.execute(
        sa.select(o.migration, sa.func.sum(load.rows_loaded), sa.func.sum(load.bytes_extracted))
        .join(tables.load_totals, load.operation == o.id)
        .group_by(o.migration)
    )
    applied = connection.execute(
        sa.select(o.migration, *(sa.func.sum(change[kind]) for kind in KINDS))
        .join(tables.table_change, change.operation == o.id)
        .group_by(o.migration)
    )
    running = {r.id: r.migration for r in operations.running(connection)}
    changes = progress.change_of(connection, list(running), set(running), operations.now_us(connection))
    return Totals(
        operations={(mode, status): int(n) for mode, status, n in counted},
        loaded={name: (int(rows), int(size)) for name, rows, size in loaded},
        applied={(name, kind): int(n) for name, *sums in applied for kind, n in zip(KINDS, sums, strict=True)},
        lag={running[id]: (float(c["lag_seconds"]), int(c["lag_bytes"])) for id, c in changes.items()},
        retained=operations.retained(connection),
        held=tuple(h for h in held.listed(connection) if h.let_go_at is None),
    )
