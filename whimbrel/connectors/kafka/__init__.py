"""Kafka and Redpanda as queues. Importing this imports no driver; its methods do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from whimbrel.connectors.kafka import config
from whimbrel.connectors.kafka.capabilities import CAPABILITIES
from whimbrel.connectors.protocols import Comparison, Engine, Queue, QueueWriter, ServerInfo, Source, Target
from whimbrel.errors import InvalidRequest
from whimbrel.model.job import Endpoint, Job, Role
from whimbrel.model.table import Table

if TYPE_CHECKING:
    from whimbrel.connectors.protocols import Checks


class KafkaEngine:
    """The front door; see ``protocols.Engine`` and ``protocols.Queue``. Redpanda speaks the same protocol."""

    types: tuple[str, ...] = ("kafka", "redpanda")
    capabilities = CAPABILITIES
    secret_parameters = config.SECRETS
    preload: tuple[str, ...] = ()  # lanes and captures have no business with a queue

    def parse(self, type: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        return config.parse(type, parameters)

    def test(self, endpoint: Endpoint) -> ServerInfo:
        from whimbrel.connectors.kafka.connection import server_info

        return server_info(endpoint)

    def check_position(self, text: str) -> None:
        raise InvalidRequest("position: a queue is no source, and has no log to begin in", field="position")

    def source(self, endpoint: Endpoint, operation: str) -> Source:
        raise InvalidRequest(f"{endpoint.name}: {endpoint.type} is a queue and no source", field="source")

    def target(self, endpoint: Endpoint, operation: str) -> Target:
        raise InvalidRequest(f"{endpoint.name}: {endpoint.type} is a queue and holds no tables", field="fileTarget")

    def open_comparison(self, endpoint: Endpoint, operation: str, role: Role) -> Comparison:
        raise InvalidRequest(
            f"{endpoint.name}: {endpoint.type} is a queue, whose messages are not compared", field="type"
        )

    @property
    def queue(self) -> Queue:
        return self

    def writer(self, endpoint: Endpoint, job: Job, tables: Sequence[Table]) -> QueueWriter:
        from whimbrel.connectors.kafka.producer import KafkaWriter

        return KafkaWriter(endpoint, job, tables)

    def end_transactions(self, endpoint: Endpoint, job: Job) -> None:
        from whimbrel.connectors.kafka.producer import end_transactions

        end_transactions(endpoint, job)

    def forget(self, endpoint: Endpoint, job: Job) -> None:
        from whimbrel.connectors.kafka.position import position_topic, remove_topic

        remove_topic(endpoint, job, position_topic(endpoint.parameters["topic"], job.migration))

    @property
    def checks(self) -> Checks:
        from whimbrel.connectors.kafka import checks

        return checks.CHECKS


ENGINE: Engine = KafkaEngine()
