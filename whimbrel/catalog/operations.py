"""Rows of operations. Every function runs inside the caller's transaction."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from whimbrel.catalog import definitions, tables
from whimbrel.catalog.records import REPLICATING, Mode, OperationRecord, Status
from whimbrel.errors import InvalidRequest, OperationConflict, OperationNotFound

_table = tables.operation
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCK = sa.text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")


def now_us(connection: Connection) -> int:
    """Microseconds since 1970 UTC, by one clock for all who share the catalog: the server's, if it is one."""
    if connection.dialect.name == "sqlite":
        return time.time_ns() // 1000
    return int(connection.scalar(_CLOCK) or 0)


def begin(
    connection: Connection, migration: str, mode: Mode, id: str, request_hash: str, body: dict[str, Any]
) -> tuple[OperationRecord, bool]:
    """Record a new running operation, or find the one that this request made before (then False).

    Raises InvalidRequest when the id was used for another request, OperationConflict, MigrationNotFound.
    """
    retiring = definitions.lock(connection, migration, must_exist=False)
    found = find(connection, id)
    if found is not None:
        _require_same_request(found, migration, mode, request_hash)
        if found.workflow_started or found.status is not Status.FAILED:
            return found, False
    definitions.get(connection, migration)
    if retiring:
        raise OperationConflict(
            f"migration {migration!r} is being deleted",
            remedy="Send DELETE again to finish deleting it, or PUT it again to keep it.",
        )
    definitions.refuse_while_running(connection, migration, mode)
    if found is not None:  # Temporal could not be reached then, nothing ever ran: the retry takes it up again
        fresh = {"status": Status.RUNNING, "error": sa.null(), "finished_us": None, "started_us": now_us(connection)}
        connection.execute(sa.update(_table).where(_table.c.id == id).values(fresh))
        return get(connection, id), True
    if mode in REPLICATING:  # it goes on from what is held or makes it anew; what remains is seen when it ends
        connection.execute(sa.delete(tables.held).where(tables.held.c.migration == migration))
    row = {
        "id": id,
        "migration": migration,
        "mode": mode,
        "status": Status.RUNNING,
        "request_hash": request_hash,
        "body": body,
        "started_us": now_us(connection),
    }
    connection.execute(sa.insert(_table).values(row))
    return get(connection, id), True


def repeated(connection: Connection, migration: str, mode: Mode, id: str, request_hash: str) -> OperationRecord | None:
    """The operation that this request has made before; None if it made none, or one that must be begun again.

    Raises InvalidRequest when the id was used for another request.
    """
    found = find(connection, id)
    if found is None:
        return None
    _require_same_request(found, migration, mode, request_hash)
    return found if found.workflow_started or found.status is not Status.FAILED else None


def get(connection: Connection, id: str) -> OperationRecord:
    """Raises OperationNotFound."""
    found = find(connection, id)
    if found is None:
        raise not_found(id)
    return found


def not_found(id: str) -> OperationNotFound:
    """The error for a missing operation."""
    return OperationNotFound(f"there is no operation {id[:80]!r}", operation_id=id[:80])


def find(connection: Connection, id: str) -> OperationRecord | None:
    """The operation of that id, without progress, change and logs."""
    row = connection.execute(sa.select(_table).where(_table.c.id == id)).one_or_none()
    return None if row is None else _record(row)


def listed(
    connection: Connection,
    migration: str | None,
    status: Status | None,
    mode: Mode | None,
    limit: int,
    offset: int,
) -> tuple[list[OperationRecord], int]:
    """One page, newest first, and how many there are on all pages."""
    wanted = {_table.c.migration: migration, _table.c.status: status, _table.c.mode: mode}
    filters = [column == value for column, value in wanted.items() if value is not None]
    total = connection.scalar(sa.select(sa.func.count()).select_from(_table).where(*filters))
    page = sa.select(_table).where(*filters).order_by(_table.c.started_us.desc(), _table.c.id.desc())
    return [_record(row) for row in connection.execute(page.limit(limit).offset(offset))], int(total or 0)


def latest(connection: Connection, migration: str, *, running: bool) -> OperationRecord | None:
    """The running operation of a migration, a validation only if nothing else runs; or the newest that has ended."""
    is_running = _table.c.status == Status.RUNNING
    query = sa.select(_table).where(_table.c.migration == migration, is_running if running else ~is_running)
    if running:
        query = query.order_by(_table.c.mode == Mode.VALIDATE)
    row = connection.execute(query.order_by(_table.c.started_us.desc(), _table.c.id.desc()).limit(1)).one_or_none()
    return None if row is None else _record(row)


def unstarted(connection: Connection, older_than_seconds: float) -> list[OperationRecord]:
    """Running operations whose workflow was never seen to start, oldest first."""
    before = now_us(connection) - int(older_than_seconds * 1e6)
    query = sa.select(_table).where(
        _table.c.status == Status.RUNNING, ~_table.c.workflow_started, _table.c.started_us <= before
    )
    return [_record(row) for row in connection.execute(query.order_by(_table.c.started_us))]


def given_up(connection: Connection, newer_than_seconds: float) -> list[OperationRecord]:
    """Operations that ended lately because their workflow could not be started."""
    since = now_us(connection) - int(newer_than_seconds * 1e6)
    query = sa.select(_table).where(
        _table.c.status == Status.FAILED, ~_table.c.workflow_started, _table.c.finished_us >= since
    )
    return [_record(row) for row in connection.execute(query)]


def running(connection: Connection, older_than_seconds: float = 0.0) -> list[OperationRecord]:
    """Running operations recorded at least that long ago, oldest first."""
    query = sa.select(_table).where(_table.c.status == Status.RUNNING).order_by(_table.c.started_us)
    if older_than_seconds:
        query = query.where(_table.c.started_us <= now_us(connection) - int(older_than_seconds * 1e6))
    return [_record(row) for row in connection.execute(query)]


def retained(connection: Connection) -> dict[str, int]:
    """Bytes of log that sources keep for running operations, by migration; those without such a figure left out."""
    query = sa.select(_table.c.migration, _table.c.retained_bytes).where(_table.c.status == Status.RUNNING)
    found = connection.execute(query.where(_table.c.retained_bytes.is_not(None)))
    return {migration: int(size) for migration, size in found}


def change(connection: Connection, id: str, **values: Any) -> bool:
    """Set columns of a running operation; False when it has ended or does not exist."""
    running = sa.update(_table).where(_table.c.id == id, _table.c.status == Status.RUNNING)
    return connection.execute(running.values(values)).rowcount == 1


def finish(
    connection: Connection, id: str, status: Status, result: dict[str, Any] | None, error: dict[str, Any] | None
) -> OperationRecord:
    """End it unless it has ended already: the first writer wins. Returns how it ended. Raises OperationNotFound."""
    change(
        connection,
        id,
        status=status,
        result=result,
        error=error,
        finished_us=now_us(connection),
        pause_wanted=False,
        paused=False,
    )
    return get(connection, id)


def mark_started(connection: Connection, id: str, run_id: str) -> bool:
    """Note that its workflow was started, also when it has ended since; True while it runs."""
    started = sa.update(_table).where(_table.c.id == id).values(workflow_started=True, run_id=run_id)
    connection.execute(started)
    return connection.scalar(sa.select(_table.c.status).where(_table.c.id == id)) == Status.RUNNING


def fail_unstarted(connection: Connection, id: str, error: dict[str, Any]) -> bool:
    """End as failed an operation whose workflow could not be started; False when it has started or ended meanwhile."""
    waiting = sa.update(_table).where(_table.c.id == id, _table.c.status == Status.RUNNING, ~_table.c.workflow_started)
    failed = {"status": Status.FAILED, "error": error, "finished_us": now_us(connection)}
    return connection.execute(waiting.values(failed)).rowcount == 1


def pause_wanted(connection: Connection, id: str) -> bool:
    """Whether a pause was asked for; False for an operation that has ended."""
    query = sa.select(_table.c.pause_wanted).where(_table.c.id == id, _table.c.status == Status.RUNNING)
    return bool(connection.scalar(query))


def _require_same_request(found: OperationRecord, migration: str, mode: Mode, request_hash: str) -> None:
    if (found.migration, found.mode, found.request_hash) != (migration, mode, request_hash):
        raise InvalidRequest(
            f"X-Request-Id: {found.id} was used for another request ({found.mode} on migration {found.migration!r})",
            remedy="Use a new UUID for each new request.",
            field="X-Request-Id",
        )


def time_of(us: int) -> datetime:
    """A time of the catalog, in UTC."""
    return _EPOCH + timedelta(microseconds=us)


def _time(us: int | None) -> datetime | None:
    return None if us is None else time_of(us)


def _record(row: Row[Any]) -> OperationRecord:
    return OperationRecord(
        id=row.id,
        migration=row.migration,
        mode=Mode(row.mode),
        status=Status(row.status),
        request_hash=row.request_hash,
        body=row.body,
        started_at=time_of(row.started_us),
        finished_at=_time(row.finished_us),
        phase=row.phase,
        pause_wanted=row.pause_wanted,
        paused=row.paused,
        workflow_started=row.workflow_started,
        run_id=row.run_id,
        result=row.result,
        error=row.error,
    )
