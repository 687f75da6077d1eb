"""A migration into a queue: the source of a world, a topic, and its messages as the vendor's consumer reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.emulators.kafka import Kafka, Read
from tests.engines import SCHEMA
from tests.suite.running import Running
from tests.suite.world import World
from whimbrel.connectors.registry import engine
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.changes.replication import replicate


@dataclass(frozen=True)
class Queued:
    """``beside``: the world's target is fed too; otherwise the queue alone."""

    world: World
    kafka: Kafka
    topic: str
    type: str = "kafka"
    beside: bool = False
    parameters: dict[str, Any] = field(default_factory=dict)
    more: list[str] = field(default_factory=list)  # tables beside those of the suite

    @property
    def endpoint(self) -> Endpoint:
        given = {"brokers": self.kafka.brokers, "topic": self.topic, **self.parameters}
        return Endpoint("queue", self.type, engine(self.type).parse(self.type, given))

    def job(self, operation: str) -> Job:
        work = self.world.job(operation)
        target = work.target if self.beside else self.endpoint
        tables = (*work.tables, *(TableName(SCHEMA, name) for name in self.more))
        return Job(work.migration, operation, work.source, target, tables, work.workdir, queue=self.endpoint, threads=2)

    @contextmanager
    def following(
        self, operation: str, *, resume: bool = False, position: str | None = None, handoff: bool = False
    ) -> Iterator[Running]:
        """The change phase, for as long as the block runs; begun by the time that it starts."""
        job = self.job(operation)
        running = Running(lambda watch: replicate(job, watch, resume=resume, position=position, handoff=handoff))
        try:
            running.wait(lambda: running.watch.last is not None, 30, "the change phase")
            yield running
        finally:
            running.end()

    def read(self, isolation: str = "read_committed") -> list[Read]:
        return self.kafka.read(self.topic, isolation)

    def commits(self) -> int:
        """How many Kafka transactions were committed, by the records of the position."""
        return self.kafka.count(f"{self.topic}-whimbrel-{self.world.name}")

    def wait(self, running: Running, messages: int, seconds: float = 30) -> list[Read]:
        """Until there are so many messages; never more, however long one waits for the source to be caught up."""
        running.wait(lambda: len(self.read()) >= messages, seconds, f"{messages} messages", every=0.2)
        running.wait(lambda: running.watch.caught_up, seconds, "to catch up")
        found = self.read()
        assert len(found) == messages
        return found


def of(messages: list[Read], table: str) -> list[Read]:
    """The messages of one table, in the order of their partition, which is one and the same."""
    found = [m for m in messages if m.value["source"]["table"] == table]
    assert len({m.partition for m in found}) <= 1
    return found


def short(messages: list[Read]) -> list[tuple[Any, ...]]:
    """Operation, key, before, after."""
    return [(m.value["op"], m.key["key"] if m.key else None, m.value["before"], m.value["after"]) for m in messages]


def fold(messages: list[Read], key: str) -> dict[Any, dict[str, Any]]:
    """The rows that a reader of the queue would have, starting from none; fails on what cannot follow."""
    rows: dict[Any, dict[str, Any]] = {}
    for op, id, _, after in short(messages):
        if op == "t":
            rows.clear()
        elif op == "d":
            del rows[id[key]]
        else:
            assert (id[key] in rows) is (op == "u"), (op, id)
            rows[id[key]] = after
    return rows
