"""A private broker that speaks Kafka's protocol: ``noida-db``, one small process.

What it proves: the client library's own protocol, transactions with read_committed readers, the shutting out of older
producers, compressions, a broker that goes away and comes back, and TLS with ``tls.py`` in front of it. What it does
not: several brokers, replication, authentication, the timeout of transactions, and durability: it loses the last second
or two when it is killed, so it is stopped with SIGTERM; it loses transactions that were open then, and what it
acknowledges while it is stopping. Redpanda has no server on any package registry: its tests are the same ones under the
type ``redpanda``.
"""

from __future__ import annotations

import importlib.util
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.servers.process import Process, free_port, wait_until

START_SECONDS = 30.0
READ_SECONDS = 30.0


class EmulatorMissing(Exception):
    """The package is not installed; the text says so."""


@dataclass(frozen=True)
class Read:
    """One message as the consumer gave it: key and value as JSON, None where there was none."""

    partition: int
    key: Any
    value: Any


@dataclass
class Kafka:
    """One broker with its data in ``folder``."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        found = importlib.util.find_spec("noida_db")
        if found is None or found.origin is None:
            raise EmulatorMissing("Kafka: the package noida-db is not installed (make setup)")
        binary = Path(found.origin).parent / "noida-db"
        self.folder.mkdir(parents=True, exist_ok=True)
        argv = [str(binary), "start", "--data-dir", str(self.folder), "--only", "kafka", "--kafka-port", str(self.port)]
        self.process = Process(argv, self.folder.parent / f"{self.folder.name}.log", env={"HOME": str(self.folder)})

    @property
    def brokers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process.start()
        wait_until(self._answers, START_SECONDS, f"the Kafka emulator to answer:\n{self.process.tail()}")

    def stop(self) -> None:
        """SIGTERM, upon which it writes down what it has."""
        self.process.stop()

    def _answers(self) -> bool:
        try:
            return bool(self._admin().list_topics(timeout=1).brokers)
        except KafkaException:  # not yet, or it ended: its log tells
            return False

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.brokers, "log_level": 0})

    def make_topic(self, name: str, partitions: int = 1, **settings: str) -> None:
        client = self._admin()  # the answer never comes once it is gone
        client.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(10)

    def remove_topic(self, name: str) -> None:
        client = self._admin()
        client.delete_topics([name])[name].result(10)

    def topics(self) -> set[str]:
        return set(self._admin().list_topics(timeout=5).topics)

    def read(self, topic: str, isolation: str = "read_committed") -> list[Read]:
        """Every message of the topic, each partition's in order, as the vendor's own consumer sees them."""
        return [Read(m.partition(), _parsed(m.key()), _parsed(m.value())) for m in self._messages(topic, isolation)]

    def count(self, topic: str) -> int:
        """How many messages the topic has."""
        return len(self._messages(topic, "read_committed"))

    def end(self, topic: str) -> int:
        """The offsets behind the last message of each partition, added up: messages, aborted ones, and marks of
        commits. Cheap, however much the topic holds."""
        consumer = self._consumer("read_uncommitted")
        try:
            return sum(high for _, high in self._ends(consumer, topic))
        finally:
            consumer.close()

    def _ends(self, consumer: Any, topic: str) -> list[tuple[int, int]]:
        """The first offset of each partition, and the one behind its last."""
        partitions = self._admin().list_topics(timeout=5).topics[topic].partitions
        return [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=5) for p in sorted(partitions)]

    def _consumer(self, isolation: str) -> Any:
        return Consumer(
            {
                "bootstrap.servers": self.brokers,
                "group.id": "tests",
                "isolation.level": isolation,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,  # what is there is asked for, not what may come
                "log_level": 0,
            }
        )

    def _messages(self, topic: str, isolation: str) -> list[Any]:
        consumer = self._consumer(isolation)
        try:
            # Asked for beforehand: OFFSET_BEGINNING costs half a second, in which the client looks for the leader.
            ends = self._ends(consumer, topic)
            consumer.assign([TopicPartition(topic, p, low) for p, (low, _) in enumerate(ends)])
            found, deadline = [], time.monotonic() + READ_SECONDS
            ended: set[int] = set()
            while len(ended) < len(ends):
                assert time.monotonic() < deadline, f"{topic} was not read within {READ_SECONDS} s"
                # Given a time to wait for, consume() waits until it is up, whatever has come.
                for message in consumer.consume(10_000, 0) or filter(None, [consumer.poll(1.0)]):
                    error = message.error()
                    if error is None:
                        found.append(message)
                        ended.discard(message.partition())  # an end may be told and then what was committed just after
                    elif error.code() == KafkaError._PARTITION_EOF:
                        ended.add(message.partition())
            return found
        finally:
            consumer.close()


def _parsed(text: bytes | None) -> Any:
    return None if text is None else json.loads(text)
