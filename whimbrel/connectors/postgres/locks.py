"""Waiting for tables that others have locked: for a while only, and with who is in the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from whimbrel.errors import SourceInterrupted, TargetInterrupted

Connection = psycopg.Connection[tuple[Any, ...]]

# Even a table's definition and size cannot be read while an ALTER TABLE or a VACUUM FULL of hours has it.
LOCK_SECONDS = 30
TIMED_OUT = "55P03"

_HOLDERS = """
select format('%I.%I is locked by backend %s (%s, %s s)', n.nspname, c.relname, a.pid, a.usename,
              extract(epoch from now() - a.xact_start)::int)
from pg_catalog.pg_locks l join pg_catalog.pg_class c on c.oid = l.relation
join pg_catalog.pg_namespace n on n.oid = c.relnamespace join pg_catalog.pg_stat_activity a on a.pid = l.pid
where l.mode = 'AccessExclusiveLock' and l.pid <> pg_catalog.pg_backend_pid() and n.nspname !~ '^pg_'
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
order by a.xact_start limit 5
"""


_OPEN = """
select distinct format('backend %s (%s, %s s)', a.pid, a.usename, extract(epoch from now() - a.xact_start)::int),
       a.xact_start
from pg_catalog.pg_locks l join pg_catalog.pg_stat_activity a on a.pid = l.pid
where l.granted and l.locktype = 'relation' and l.pid <> pg_catalog.pg_backend_pid() and a.xact_start is not null
  and a.application_name is distinct from current_setting('application_name')
  and l.database = (select oid from pg_catalog.pg_database where datname = current_database())
order by a.xact_start limit 5
"""


@contextmanager
def lock_holders_named(connection: Connection) -> Iterator[None]:
    """Where the block waited in vain for a lock of the target, say whose it may be. It leaves no transaction open, so
    that ``connection`` can still be asked."""
    try:
        yield
    except TargetInterrupted as e:
        if e.extra.get("sqlstate") != TIMED_OUT or connection.closed:
            raise
        try:
            found = connection.execute(_OPEN).fetchall()
        except psycopg.Error:
            raise e from None
        told = "; ".join(row[0] for row in found) or "nobody holds one any more"
        raise TargetInterrupted(
            f"{e.extra.get('table', 'a table of the target')} stayed locked by others; open transactions with locks: "
            f"{told}",
            remedy="Wait for them, or end them (pg_terminate_backend); it is tried again by itself.",
            **e.extra,
        ) from e


def bound_waits(connection: Connection, seconds: int | None = None) -> None:
    """Let no statement of the session wait longer than this for a lock, by default LOCK_SECONDS."""
    connection.execute(f"set lock_timeout = '{seconds or LOCK_SECONDS}s'".encode())


@contextmanager
def locks_named(connection: Connection) -> Iterator[None]:
    """Raise SourceInterrupted with the locked tables and who holds them, where the block waited in vain for a lock.

    ``connection`` is in autocommit, so that it can still be asked.
    """
    try:
        yield
    except (SourceInterrupted, psycopg.errors.LockNotAvailable) as e:
        if isinstance(e, SourceInterrupted) and e.extra.get("sqlstate") != TIMED_OUT:
            raise
        told = "; ".join(row[0] for row in connection.execute(_HOLDERS).fetchall()) or "nobody holds it any more"
        raise SourceInterrupted(
            f"a table of the source stayed locked for too long: {told}",
            remedy="Wait for the backends named, or end them; it is tried again by itself.",
            sqlstate=TIMED_OUT,
        ) from e
