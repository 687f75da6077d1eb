"""How much of its log the server keeps for our slot, and how near the slot is to being lost."""

from __future__ import annotations

from whimbrel.connectors.postgres.connection import mapped
from whimbrel.connectors.postgres.source.publication import capture_name
from whimbrel.connectors.postgres.source.reflection import Connection
from whimbrel.connectors.protocols import Retained

_SLOT = """
select pg_wal_lsn_diff(
         case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end,
         restart_lsn)::bigint, wal_status, safe_wal_size
  from pg_replication_slots where slot_name = %s and database = current_database() and restart_lsn is not null
"""


def retained(connection: Connection, migration: str) -> Retained | None:
    """What the migration's slot retains; None while there is no slot, or none that retains anything (lost, unborn)."""
    name = capture_name(migration)
    with mapped("source"):
        row = connection.execute(_SLOT, [name]).fetchone()
    if row is None:
        return None
    kept, status, safe = max(0, int(row[0])), str(row[1]), None if row[2] is None else int(row[2])
    state, warning = _judged(kept, status, safe)
    told = warning and f"replication slot {name} retains {kept} bytes of log, {warning}"
    return Retained(kept, state, told, name)


def _judged(kept: int, status: str, safe: int | None) -> tuple[str, str | None]:
    """The state that a warning is given for once, and the warning. ``safe``: bytes of log until the slot is lost, None
    when there is no limit."""
    if status == "unreserved":
        return status, (
            "more than max_slot_wal_keep_size: the source's next checkpoint may remove it, and then this replication "
            "cannot go on. Let it catch up now, or raise max_slot_wal_keep_size"
        )
    if safe is not None and (status == "extended" or safe < kept):
        return "limited", (
            f"and is lost once the source has written another {safe} (max_slot_wal_keep_size): let it catch up, or "
            "raise that setting"
        )
    if status == "extended":
        return status, (
            "more than max_wal_size, and nothing limits it (max_slot_wal_keep_size is -1): see that the source's disk "
            "has room for it"
        )
    return status, None
