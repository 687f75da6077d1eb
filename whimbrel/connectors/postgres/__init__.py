"""PostgreSQL as source and target. Importing this imports no driver; its methods do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from whimbrel.connectors.postgres import config
from whimbrel.connectors.postgres.capabilities import CAPABILITIES
from whimbrel.connectors.protocols import Engine, ServerInfo
from whimbrel.model.job import Endpoint, Role

if TYPE_CHECKING:
    from whimbrel.connectors.protocols import Checks, Comparison, Source, Target


class PostgresEngine:
    """The front door; see ``protocols.Engine``."""

    types: tuple[str, ...] = ("postgres",)
    capabilities = CAPABILITIES
    secret_parameters = config.SECRETS
    preload: tuple[str, ...] = (
        "whimbrel.connectors.postgres.source.reading",
        "whimbrel.connectors.postgres.target.writing",
    )
    queue = None

    def parse(self, type: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return config.parse(parameters)

    def test(self, endpoint: Endpoint) -> ServerInfo:
        from whimbrel.connectors.postgres.server import server_info

        return server_info(endpoint.parameters, "test")

    def check_position(self, text: str) -> None:
        from whimbrel.connectors.postgres.source.slots import check_position

        check_position(text)

    def source(self, endpoint: Endpoint, operation: str) -> Source:
        from whimbrel.connectors.postgres.source.reading import PostgresSource

        return PostgresSource(endpoint, operation)

    def target(self, endpoint: Endpoint, operation: str) -> Target:
        from whimbrel.connectors.postgres.target.writing import PostgresTarget

        return PostgresTarget(endpoint, operation)

    def open_comparison(self, endpoint: Endpoint, operation: str, role: Role) -> Comparison:
        from whimbrel.connectors.postgres import compare

        return compare.open_comparison(endpoint, operation, role)

    @property
    def checks(self) -> Checks:
        from whimbrel.connectors.postgres.checks import checking as checks

        return checks.CHECKS


ENGINE: Engine = PostgresEngine()
