"""Oracle as source. Importing this imports no driver; its methods do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from whimbrel.connectors.oracle import config
from whimbrel.connectors.oracle.capabilities import CAPABILITIES
from whimbrel.connectors.protocols import Engine, ServerInfo
from whimbrel.connectors.verdicts import uncompared
from whimbrel.errors import InvalidRequest
from whimbrel.model.job import Endpoint, Role

if TYPE_CHECKING:
    from whimbrel.connectors.protocols import Checks, Comparison, Source, Target


class OracleEngine:
    """The front door; see ``protocols.Engine``."""

    types: tuple[str, ...] = ("oracle",)
    capabilities = CAPABILITIES
    secret_parameters = config.SECRETS
    preload: tuple[str, ...] = ()  # the driver takes most of a second, which nobody else should pay
    queue = None

    def parse(self, type: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return config.parse(parameters)

    def test(self, endpoint: Endpoint) -> ServerInfo:
        from whimbrel.connectors.oracle.server import server_info

        return server_info(endpoint.parameters)

    def check_position(self, text: str) -> None:
        raise InvalidRequest("position: changes of Oracle are not followed yet: move data only", field="position")

    def source(self, endpoint: Endpoint, operation: str) -> Source:
        from whimbrel.connectors.oracle.source.reading import OracleSource

        return OracleSource(endpoint, operation)

    def target(self, endpoint: Endpoint, operation: str) -> Target:
        raise InvalidRequest(f"{endpoint.name}: Oracle is a source only", field="type")

    def open_comparison(self, endpoint: Endpoint, operation: str, role: Role) -> Comparison:
        raise uncompared(endpoint.type)

    @property
    def checks(self) -> Checks:
        from whimbrel.connectors.oracle.checks import checking

        return checking.CHECKS


ENGINE: Engine = OracleEngine()
