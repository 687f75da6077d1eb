"""Rows of migrations. Every function runs inside the caller's transaction."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from whimbrel.catalog import endpoints, tables
from whimbrel.catalog.database import upsert
from whimbrel.catalog.records import REPLICATING, MigrationRecord, Mode, Status
from whimbrel.errors import InvalidRequest, MigrationNotFound, OperationConflict

_table = tables.migration


def put(connection: Connection, record: MigrationRecord) -> None:
    """Create or replace. Raises SourceNotFound, TargetNotFound, OperationConflict while an operation runs, and
    InvalidRequest for another source while the old one holds a slot."""
    lock(connection, record.name, must_exist=False)
    refuse_while_running(connection, record.name)
    endpoints.require(connection, "source", record.source, "source")
    _refuse_to_forget_held(connection, record)
    if record.file_target is not None:
        endpoints.require(connection, "target", record.file_target, "fileTarget")
    if record.queue_target is not None:
        endpoints.require(connection, "target", record.queue_target, "queueTarget")
    settings = {
        "tables": list(record.tables),
        "threads": record.threads,
        "rows_per_file": record.rows_per_file,
        "schema_rename": record.schema_rename,
        "case": record.case,
        "column_types": record.column_types,
        "value_policy": record.value_policy,
        "log_detail": record.log_detail,
    }
    row = {
        "name": record.name,
        "source": record.source,
        "file_target": record.file_target,
        "queue_target": record.queue_target,
        "settings": settings,
        "retiring": False,
    }
    upsert(connection, _table, [row])


def get(connection: Connection, name: str) -> MigrationRecord:
    """Raises MigrationNotFound."""
    row = connection.execute(sa.select(_table).where(_table.c.name == name)).one_or_none()
    if row is None:
        raise not_found(name)
    return _record(row)


def require(connection: Connection, name: str) -> None:
    """Raises MigrationNotFound. Reads nothing else, as a migration may list 50,000 tables."""
    if connection.scalar(sa.select(_table.c.name).where(_table.c.name == name)) is None:
        raise not_found(name)


def listed(connection: Connection) -> list[MigrationRecord]:
    """All of them, by name."""
    return [_record(row) for row in connection.execute(sa.select(_table).order_by(_table.c.name))]


def lock(connection: Connection, name: str, *, must_exist: bool = True) -> bool:
    """Make others who would start, replace or delete this migration wait; return whether it is being deleted.

    Raises MigrationNotFound if it must exist and does not.
    """
    query = sa.select(_table.c.retiring).where(_table.c.name == name).with_for_update()
    row = connection.execute(query).one_or_none()
    if row is None and must_exist:
        raise not_found(name)
    return bool(row and row.retiring)


def retire(connection: Connection, name: str, retiring: bool) -> None:
    """Refuse (or allow again) new operations. Raises MigrationNotFound, OperationConflict while one runs."""
    lock(connection, name)
    refuse_while_running(connection, name)
    connection.execute(sa.update(_table).where(_table.c.name == name).values(retiring=retiring))


def delete(connection: Connection, name: str) -> None:
    """Remove it and its operations. Raises MigrationNotFound, OperationConflict while one runs."""
    lock(connection, name)
    refuse_while_running(connection, name)
    connection.execute(sa.delete(tables.held).where(tables.held.c.migration == name))
    connection.execute(sa.delete(tables.operation).where(tables.operation.c.migration == name))
    connection.execute(sa.delete(_table).where(_table.c.name == name))


def refuse_while_running(connection: Connection, name: str, wanted: Mode | None = None) -> None:
    """Raise OperationConflict with the running operation's id in details, if one runs.

    ``wanted`` is the operation to begin: a validation and a replication do not exclude each other.
    """
    o = tables.operation.c
    query = sa.select(o.id, o.mode).where(o.migration == name, o.status == Status.RUNNING)
    if wanted is Mode.VALIDATE:
        query = query.where(o.mode.not_in(REPLICATING))
    elif wanted in REPLICATING:
        query = query.where(o.mode != Mode.VALIDATE)
    running = connection.execute(query.limit(1)).one_or_none()
    if running is not None:
        raise OperationConflict(
            f"a {running.mode} operation runs on migration {name!r}", operation_id=running.id, mode=running.mode
        )


def _refuse_to_forget_held(connection: Connection, record: MigrationRecord) -> None:
    """Raise InvalidRequest where another source would leave a slot on the old one, which nobody would look after."""
    held = tables.held.c
    query = sa.select(held.slot, _table.c.source).where(
        held.migration == record.name, held.let_go_us.is_(None), _table.c.name == held.migration
    )
    found = connection.execute(query).one_or_none()
    if found is not None and found.source != record.source:
        raise InvalidRequest(
            f"source: {found.source!r} holds slot {found.slot} for migration {record.name!r}",
            remedy="Let it go first: POST .../cancel of its last operation with release, or reset.",
            field="source",
        )


def not_found(name: str) -> MigrationNotFound:
    """The error for a missing migration."""
    return MigrationNotFound(f"there is no migration {name!r}", name=name)


def _record(row: Row[Any]) -> MigrationRecord:
    s = row.settings  # earlier versions kept fewer of them
    return MigrationRecord(
        name=row.name,
        source=row.source,
        tables=tuple(s["tables"]),
        file_target=row.file_target,
        queue_target=row.queue_target,
        threads=s["threads"],
        rows_per_file=s["rows_per_file"],
        schema_rename=dict(s["schema_rename"]),
        case=s.get("case", "keep"),
        column_types=dict(s.get("column_types", {})),
        value_policy=s.get("value_policy", "refuse"),
        log_detail=s["log_detail"],
    )
