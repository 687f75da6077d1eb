"""What must be true before a queue can be fed."""

from __future__ import annotations

from collections.abc import Sequence

from whimbrel.connectors.kafka.connection import find_topic
from whimbrel.connectors.protocols import CheckResult, Checks, Statement
from whimbrel.errors import TopicMissing
from whimbrel.model.job import Endpoint, Role
from whimbrel.model.names import TableName


class KafkaChecks:
    """See ``protocols.Checks``."""

    def statements(
        self, endpoint: Endpoint, role: Role, mode: str, tables: Sequence[TableName]
    ) -> tuple[Statement, ...]:
        """None: what a queue needs is not said in SQL."""
        return ()

    def run(self, endpoint: Endpoint, role: Role, mode: str, tables: Sequence[TableName]) -> tuple[CheckResult, ...]:
        topic = endpoint.parameters["topic"]
        try:
            cluster, partitions = find_topic(endpoint, topic, "checks")
        except TopicMissing as e:
            return (
                CheckResult("connection", "ok", f"{endpoint.parameters['brokers']} answer"),
                CheckResult("topic", "fail", e.message, e.how_to_fix),
            )
        return (
            CheckResult("connection", "ok", f"{endpoint.parameters['brokers']} answer, cluster {cluster}"),
            CheckResult("topic", "ok", f"topic {topic!r} has {partitions} partitions"),
        )


CHECKS: Checks = KafkaChecks()
