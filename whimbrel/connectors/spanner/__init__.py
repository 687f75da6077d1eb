"""Spanner as target. Importing this imports no driver; its methods do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from whimbrel.connectors.protocols import Engine, ServerInfo
from whimbrel.connectors.spanner import config
from whimbrel.connectors.spanner.capabilities import CAPABILITIES
from whimbrel.connectors.sql.engine import TargetEngine
from whimbrel.model.job import Endpoint, Role

if TYPE_CHECKING:
    from whimbrel.connectors.protocols import Checks, Comparison, Target


class SpannerEngine(TargetEngine):
    """The front door; see ``protocols.Engine``."""

    types: tuple[str, ...] = ("spanner",)
    title = "Spanner"
    driver = "google.cloud.spanner_v1"
    capabilities = CAPABILITIES
    secret_parameters = config.SECRETS

    def parse(self, type: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return config.parse(parameters)

    def server_info(self, endpoint: Endpoint) -> ServerInfo:
        from whimbrel.connectors.spanner.connection import server_info

        return server_info(endpoint.parameters)

    def opened_target(self, endpoint: Endpoint, operation: str) -> Target:
        from whimbrel.connectors.spanner.target import SpannerTarget

        return SpannerTarget(endpoint, operation)

    def opened_comparison(self, endpoint: Endpoint, operation: str, role: Role) -> Comparison:
        from whimbrel.connectors.spanner import compare

        return compare.open_comparison(endpoint, operation, role)

    def opened_checks(self) -> Checks:
        from whimbrel.connectors.spanner import checks

        return checks.CHECKS


ENGINE: Engine = SpannerEngine()
