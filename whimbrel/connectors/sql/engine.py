"""The front door of a server that is a target only. Importing this imports no driver; the methods do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from whimbrel.connectors.protocols import Capabilities
from whimbrel.connectors.sql.driver import require_driver
from whimbrel.errors import InvalidRequest

if TYPE_CHECKING:
    from whimbrel.connectors.protocols import Checks, Comparison, ServerInfo, Source, Target
    from whimbrel.model.job import Endpoint, Role


class TargetEngine(ABC):
    """See ``protocols.Engine``. Subclasses import what needs the driver in ``opened_…`` only."""

    types: tuple[str, ...]  # one, which is the driver's extra too
    title: str  # as people write the engine's name
    driver: str  # the module that is imported of it
    capabilities: Capabilities
    secret_parameters: frozenset[str]
    preload: tuple[str, ...] = ()  # a driver takes most of a second, which nobody else should pay
    queue = None

    @abstractmethod
    def parse(self, type: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]: ...

    @abstractmethod
    def server_info(self, endpoint: Endpoint) -> ServerInfo: ...

    @abstractmethod
    def opened_target(self, endpoint: Endpoint, operation: str) -> Target: ...

    @abstractmethod
    def opened_comparison(self, endpoint: Endpoint, operation: str, role: Role) -> Comparison: ...

    @abstractmethod
    def opened_checks(self) -> Checks: ...

    def test(self, endpoint: Endpoint) -> ServerInfo:
        self._require()
        return self.server_info(endpoint)

    def check_position(self, text: str) -> None:
        raise InvalidRequest(f"{self.title} is a target only: it has no positions to begin from", field="position")

    def source(self, endpoint: Endpoint, operation: str) -> Source:
        raise InvalidRequest(f"type: {self.title} is a target only", field="type")

    def target(self, endpoint: Endpoint, operation: str) -> Target:
        self._require()
        return self.opened_target(endpoint, operation)

    def open_comparison(self, endpoint: Endpoint, operation: str, role: Role) -> Comparison:
        self._require()
        return self.opened_comparison(endpoint, operation, role)

    @property
    def checks(self) -> Checks:
        self._require()
        return self.opened_checks()

    def _require(self) -> None:
        require_driver(self.types[0], self.driver)
