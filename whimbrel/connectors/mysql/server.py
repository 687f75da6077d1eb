"""What server this is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from whimbrel.connectors.mysql.connection import Session, connect, looking, mapped, query
from whimbrel.connectors.protocols import ServerInfo


def server_info(parameters: Mapping[str, Any], operation: str) -> ServerInfo:
    """Connect, read version and identity, disconnect. Raises a ConnectionRefused leaf."""
    database = parameters.get("database")
    with (
        closing(connect(parameters, operation, database=database)) as session,
        looking(session, parameters),
        mapped("source"),
    ):
        flavor, name = ("mariadb", "MariaDB") if session.mariadb else ("mysql", "MySQL")
        version = ".".join(str(n) for n in session.version)
        return ServerInfo(f"{name} {version}", session.version, server_identity(session), flavor)


def server_identity(session: Session) -> str:
    """MySQL's server_uuid. MariaDB has none that survives a restart, so its server_id and GTID domain stand for it."""
    if session.mariadb:
        server_id, domain = query(session, "SELECT @@global.server_id, @@global.gtid_domain_id")[0]
        return f"mariadb-{server_id}-{domain}"
    return str(query(session, "SELECT @@global.server_uuid")[0][0])
