"""MySQL and MariaDB as source and target. Importing this imports no driver; its methods do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from whimbrel.connectors.mysql import config
from whimbrel.connectors.mysql.capabilities import CAPABILITIES
from whimbrel.connectors.protocols import Engine, ServerInfo
from whimbrel.model.job import Endpoint, Role

if TYPE_CHECKING:
    from whimbrel.connectors.protocols import Checks, Comparison, Source, Target


class MySQLEngine:
    """The front door; see ``protocols.Engine``."""

    types: tuple[str, ...] = ("mysql", "mariadb")
    capabilities = CAPABILITIES
    secret_parameters = config.SECRETS
    preload: tuple[str, ...] = ("whimbrel.connectors.mysql.source.reading", "whimbrel.connectors.mysql.target.writing")
    queue = None

    def parse(self, type: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return config.parse(type, parameters)

    def test(self, endpoint: Endpoint) -> ServerInfo:
        from whimbrel.connectors.mysql.server import server_info

        return server_info(endpoint.parameters, "test")

    def check_position(self, text: str) -> None:
        from whimbrel.connectors.mysql.source.log import check_position

        check_position(text)

    def source(self, endpoint: Endpoint, operation: str) -> Source:
        from whimbrel.connectors.mysql.source.reading import MySQLSource

        return MySQLSource(endpoint, operation)

    def target(self, endpoint: Endpoint, operation: str) -> Target:
        from whimbrel.connectors.mysql.target.writing import MySQLTarget

        return MySQLTarget(endpoint, operation)

    def open_comparison(self, endpoint: Endpoint, operation: str, role: Role) -> Comparison:
        from whimbrel.connectors.mysql import compare

        return compare.open_comparison(endpoint, operation, role)

    @property
    def checks(self) -> Checks:
        from whimbrel.connectors.mysql.checks import checking as checks

        return checks.CHECKS


ENGINE: Engine = MySQLEngine()
