"""Which key seals the catalog's secrets, and changing it. Every function runs inside the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from whimbrel.catalog import tables
from whimbrel.catalog.vault import Vault, key_of
from whimbrel.errors import SecretsUnreadable

_table, _endpoint = tables.sealing_key, tables.endpoint
_ONLY = 1  # the id of the only row


@dataclass(frozen=True)
class Rotated:
    """``sealed``: how many sources and targets were encrypted anew; ``lost``: those whose secrets could not be read."""

    key: str
    sealed: int
    lost: tuple[str, ...] = ()


def current(connection: Connection, vault: Vault) -> str:
    """The id of the key to seal with, which stays so until the transaction ends. Raises SecretsUnreadable."""
    found = _stored(connection, for_update=False)
    if found is None:
        _store_first(connection, vault.newest)
        found = _stored(connection, for_update=False) or vault.newest
    if not vault.knows(found):
        raise SecretsUnreadable(f"the key that seals the catalog's secrets (id {found}) is not here")
    return found


def stored(connection: Connection) -> str | None:
    """The id of the key to seal with; None when nothing was ever sealed."""
    return _stored(connection, for_update=None)


def change(connection: Connection, vault: Vault, to: str, *, forget_lost: bool) -> Rotated:
    """Seal every secret anew with the key ``to``. Others who seal wait, and seal with it too.

    Raises SecretsUnreadable naming what cannot be read, unless that is to be forgotten.
    """
    if _stored(connection, for_update=True) is None:
        _store_first(connection, to)
        _stored(connection, for_update=True)
    lost, sealed = [], 0
    for row in connection.execute(sa.select(_endpoint.c.role, _endpoint.c.name, _endpoint.c.secrets)).all():
        owner = f"{row.role}/{row.name}"
        try:
            secrets = vault.open(row.secrets, owner)
        except SecretsUnreadable:
            lost.append(owner)
            continue
        if key_of(row.secrets) != to:
            mine = (_endpoint.c.role == row.role) & (_endpoint.c.name == row.name)
            connection.execute(sa.update(_endpoint).where(mine).values(secrets=vault.seal(secrets, owner, to)))
            sealed += 1
    if lost and not forget_lost:
        raise SecretsUnreadable(f"the secrets of {', '.join(lost)} cannot be read with the keys that are here")
    connection.execute(sa.update(_table).values(key=to))
    return Rotated(to, sealed, tuple(lost))


def _stored(connection: Connection, *, for_update: bool | None) -> str | None:
    query = sa.select(_table.c.key)
    if for_update is not None:  # sealing shares the row, rotating has it alone
        query = query.with_for_update(read=not for_update)
    found = connection.scalar(query)
    return None if found is None else str(found)


def _store_first(connection: Connection, key: str) -> None:
    """Two who do so at once agree on one of their keys; a catalog older than this table is sealed with what it says."""
    sealed = connection.scalar(sa.select(_endpoint.c.secrets).limit(1))
    key = (key_of(sealed) if sealed else None) or key
    dialect = connection.dialect.name
    verb = "INSERT OR IGNORE INTO" if dialect == "sqlite" else "INSERT INTO"
    ending = "" if dialect == "sqlite" else "ON CONFLICT DO NOTHING"
    statement = sa.text(f"{verb} sealing_key (id, key) VALUES (:id, :key) {ending}")
    connection.execute(statement, {"id": _ONLY, "key": key})
