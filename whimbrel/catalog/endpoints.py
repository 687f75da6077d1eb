"""Rows of sources and targets. Every function runs inside the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from whimbrel.catalog import keyring, tables
from whimbrel.catalog.database import upsert
from whimbrel.catalog.records import EndpointRecord
from whimbrel.catalog.secrets import MASK, exposed_by, is_secret
from whimbrel.catalog.vault import Vault
from whimbrel.errors import InvalidRequest, SourceNotFound, TargetNotFound

Role = Literal["source", "target"]
_table = tables.endpoint
_WHERE = ("host", "port", "database")


@dataclass(frozen=True)
class LeftSlot:
    """A slot that a migration holds on ``server`` (``host:port/database``), where its source led until now."""

    migration: str
    slot: str
    server: str


def put(connection: Connection, vault: Vault, role: Role, record: EndpointRecord) -> tuple[LeftSlot, ...]:
    """Create or replace. A secret sent as '***' keeps its stored value. Returns what a source that leads elsewhere from
    now on leaves on the old server, should that be another one: nobody looks after it there.

    Raises InvalidRequest when there is none, when it would go elsewhere than before, and for a source of
    another type under a migration.
    """
    if role == "source":
        _refuse_other_type(connection, record)
    key = keyring.current(connection, vault)
    parameters = _with_kept_secrets(connection, vault, role, record)
    left = _left_behind(connection, record) if role == "source" else ()
    secrets = {k: v for k, v in parameters.items() if is_secret(k)}
    plain = {k: v for k, v in parameters.items() if not is_secret(k)}
    sealed = vault.seal(secrets, f"{role}/{record.name}", key)
    row = {"role": role, "name": record.name, "type": record.type, "parameters": plain, "secrets": sealed}
    upsert(connection, _table, [row])
    return left


def get(connection: Connection, vault: Vault, role: Role, name: str) -> EndpointRecord:
    """Raises SourceNotFound or TargetNotFound."""
    row = connection.execute(_rows(role).where(_table.c.name == name)).one_or_none()
    if row is None:
        raise not_found(role, name)
    return _record(row, vault)


def listed(connection: Connection, vault: Vault, role: Role) -> list[EndpointRecord]:
    """All of them, by name."""
    return [_record(row, vault) for row in connection.execute(_rows(role).order_by(_table.c.name))]


def require(connection: Connection, role: Role, name: str, field: str) -> None:
    """Raise SourceNotFound or TargetNotFound, saying that ``field`` of a body named it, unless it exists."""
    query = sa.select(_table.c.name).where(_table.c.role == role, _table.c.name == name)
    # A share lock in PostgreSQL, so that the endpoint is not deleted while a migration is pointed at it.
    if connection.execute(query.with_for_update(read=True)).one_or_none() is None:
        raise not_found(role, name, field)


def delete(connection: Connection, role: Role, name: str) -> None:
    """Raises SourceNotFound or TargetNotFound, and InvalidRequest naming the migrations that still refer to it."""
    gone = connection.execute(sa.delete(_table).where(_table.c.role == role, _table.c.name == name))
    if gone.rowcount == 0:
        raise not_found(role, name)
    users = _users(connection, role, name)
    if users:
        raise InvalidRequest(
            f"{role} {name!r} is used by the migrations {', '.join(users)}",
            remedy="Delete these migrations or point them elsewhere first.",
            migrations=users,
        )


def not_found(role: Role, name: str, field: str | None = None) -> SourceNotFound | TargetNotFound:
    """The error for a missing endpoint; ``field`` is set when a body, not the path, named it."""
    kind = SourceNotFound if role == "source" else TargetNotFound
    where = f"{field}: " if field else ""
    extra = {"field": field} if field else {}
    return kind(f"{where}there is no {role} {name!r}", name=name, **extra)


def _rows(role: Role) -> sa.Select[Any]:
    return sa.select(_table).where(_table.c.role == role)


def _record(row: Row[Any], vault: Vault) -> EndpointRecord:
    secrets = vault.open(row.secrets, f"{row.role}/{row.name}")
    return EndpointRecord(row.name, row.type, {**row.parameters, **secrets})


def _with_kept_secrets(connection: Connection, vault: Vault, role: Role, record: EndpointRecord) -> dict[str, Any]:
    kept = [k for k, v in record.parameters.items() if is_secret(k) and v == MASK]
    if not kept:
        return dict(record.parameters)
    row = connection.execute(_rows(role).where(_table.c.name == record.name)).one_or_none()
    stored = _record(row, vault) if row is not None else EndpointRecord(record.name, record.type, {})
    for field in kept:
        if stored.type != record.type or field not in stored.parameters:
            raise InvalidRequest(
                f"parameters.{field}: '{MASK}' keeps the stored secret, and there is none for {role} {record.name!r}",
                field=f"parameters.{field}",
            )
    changed = exposed_by(stored.parameters, record.parameters)
    if changed is not None:
        raise InvalidRequest(
            f"parameters.{changed}: it changes, so {', '.join(kept)} must be given anew: '{MASK}' keeps the stored one "
            "only for the same server and account, over a line that is as well protected",
            remedy=f"Send {', '.join(kept)} itself.",
            field=f"parameters.{changed}",
        )
    return {**record.parameters, **{k: stored.parameters[k] for k in kept}}


def _left_behind(connection: Connection, record: EndpointRecord) -> tuple[LeftSlot, ...]:
    stored = connection.scalar(
        _rows("source").with_only_columns(_table.c.parameters).where(_table.c.name == record.name)
    )
    if stored is None or all(stored.get(field) == record.parameters.get(field) for field in _WHERE):
        return ()
    held, m = tables.held.c, tables.migration.c
    slots = sa.select(held.migration, held.slot).where(
        held.migration == m.name, m.source == record.name, held.let_go_us.is_(None)
    )
    server = f"{stored.get('host')}:{stored.get('port')}/{stored.get('database')}"
    return tuple(LeftSlot(*row, server) for row in connection.execute(slots.order_by(held.migration)))


def _refuse_other_type(connection: Connection, record: EndpointRecord) -> None:
    """What a migration has extracted, and the position it has come to, are those of a source of one type."""
    type = connection.scalar(sa.select(_table.c.type).where(_table.c.role == "source", _table.c.name == record.name))
    users = [] if type in (None, record.type) else _users(connection, "source", record.name)
    if users:
        raise InvalidRequest(
            f"type: source {record.name!r} is {type} and cannot become {record.type}: it is used by the migrations "
            f"{', '.join(users)}",
            remedy="Give the new source another name, and PUT the migrations with it.",
            field="type",
            migrations=users,
        )


def _users(connection: Connection, role: Role, name: str) -> list[str]:
    """The migrations that refer to it, by name."""
    m = tables.migration.c
    refers = m.source == name if role == "source" else sa.or_(m.file_target == name, m.queue_target == name)
    return list(connection.scalars(sa.select(m.name).where(refers).order_by(m.name)))
