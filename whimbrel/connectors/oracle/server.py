"""Which database it is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

from whimbrel.connectors.oracle.connection import connect, query
from whimbrel.connectors.protocols import ServerInfo
from whimbrel.errors import SourcePermissionDenied

_VERSION = "SELECT PRODUCT, VERSION FROM PRODUCT_COMPONENT_VERSION WHERE PRODUCT LIKE 'Oracle%'"
_IDENTITY = "SELECT DBID, NAME FROM V$DATABASE"


def server_info(parameters: Mapping[str, Any]) -> ServerInfo:
    """Version and identity; without a right on V$DATABASE the identity is the service's name."""
    with closing(connect(parameters, "test", bounded=True)) as connection:
        found = query(connection, _VERSION)[0]
        try:
            identity = str(query(connection, _IDENTITY)[0]["DBID"])
        except SourcePermissionDenied:
            identity = str(parameters.get("service_name") or parameters.get("sid"))
    version = tuple(int(part) for part in str(found["VERSION"]).split("."))
    return ServerInfo(title=f"Oracle Database {version[0]}.{version[1]}", version=version, identity=identity)
