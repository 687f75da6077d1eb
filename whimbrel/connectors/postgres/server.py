"""What server this is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import psycopg

from whimbrel.connectors.postgres.connection import connect, looking, mapped
from whimbrel.connectors.protocols import ServerInfo


def server_info(parameters: Mapping[str, Any], operation: str) -> ServerInfo:
    """Connect, read version and identity, disconnect. Raises a ConnectionRefused leaf."""
    with (
        closing(connect(parameters, operation)) as connection,
        looking(connection, parameters),
        mapped("source"),
    ):
        version = connection.info.server_version
        major, minor = version // 10000, version % 10000
        return ServerInfo(f"PostgreSQL {major}.{minor}", (major, minor), system_identifier(connection))


def system_identifier(connection: psycopg.Connection[tuple[Any, ...]]) -> str:
    """The cluster's own number, the same on all its physical standbys and across restarts."""
    row = connection.execute("select system_identifier::text from pg_catalog.pg_control_system()").fetchone()
    assert row is not None
    return str(row[0])
