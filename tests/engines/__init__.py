"""The engines of the tests: one class each, found by the type of an endpoint."""

from __future__ import annotations

from tests.engines.bigquery import BigQuerySide
from tests.engines.databricks import DatabricksSide
from tests.engines.firebolt import FireboltSide
from tests.engines.mysql import MySQLSide
from tests.engines.oracle import OracleSide
from tests.engines.postgres import PostgresSide
from tests.engines.side import SCHEMA, TABLES, Server, Side
from tests.engines.singlestore import SingleStoreSide
from tests.engines.snowflake import SnowflakeSide
from tests.engines.spanner import SpannerSide

__all__ = ["SCHEMA", "SIDES", "TABLES", "Server", "Side", "side_of"]

SIDES: dict[str, type[Side]] = {
    "postgres": PostgresSide,
    "mysql": MySQLSide,
    "mariadb": MySQLSide,
    "snowflake": SnowflakeSide,
    "databricks": DatabricksSide,
    "singlestore": SingleStoreSide,
    "firebolt": FireboltSide,
    "bigquery": BigQuerySide,
    "oracle": OracleSide,
    "spanner": SpannerSide,
}


def side_of(server: Server, type: str, database: str, schema: str = SCHEMA) -> Side:
    """An end of that type on a server."""
    return SIDES[type](server, type, database, schema)
