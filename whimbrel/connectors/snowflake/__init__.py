"""Snowflake as target. Importing this imports no driver; its methods do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from whimbrel.connectors.protocols import Engine, ServerInfo
from whimbrel.connectors.snowflake import config
from whimbrel.connectors.snowflake.capabilities import CAPABILITIES
from whimbrel.connectors.sql.driver import require_driver
from whimbrel.errors import InvalidRequest
from whimbrel.model.job import Endpoint, Role

if TYPE_CHECKING:
    from whimbrel.connectors.protocols import Checks, Comparison, Source, Target


class SnowflakeEngine:
    """The front door; see ``protocols.Engine``."""

    types: tuple[str, ...] = ("snowflake",)
    capabilities = CAPABILITIES
    secret_parameters = config.SECRETS
    preload: tuple[str, ...] = ()  # its driver takes most of a second, which nobody else should pay
    queue = None

    def parse(self, type: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return config.parse(parameters)

    def test(self, endpoint: Endpoint) -> ServerInfo:
        require_driver("snowflake", "snowflake.connector")
        from whimbrel.connectors.snowflake.connection import server_info

        return server_info(endpoint.parameters)

    def check_position(self, text: str) -> None:
        raise InvalidRequest("Snowflake is a target only: it has no positions to begin from", field="position")

    def source(self, endpoint: Endpoint, operation: str) -> Source:
        raise InvalidRequest("type: Snowflake is a target only", field="type")

    def target(self, endpoint: Endpoint, operation: str) -> Target:
        require_driver("snowflake", "snowflake.connector")
        from whimbrel.connectors.snowflake.target import SnowflakeTarget

        return SnowflakeTarget(endpoint, operation)

    def open_comparison(self, endpoint: Endpoint, operation: str, role: Role) -> Comparison:
        require_driver("snowflake", "snowflake.connector")
        from whimbrel.connectors.snowflake import compare

        return compare.open_comparison(endpoint, operation, role)

    @property
    def checks(self) -> Checks:
        require_driver("snowflake", "snowflake.connector")
        from whimbrel.connectors.snowflake import checks

        return checks.CHECKS


ENGINE: Engine = SnowflakeEngine()
