"""A broker behind TLS: messages and positions travel, and a certificate that does not fit stops every way to it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.emulators.kafka import Kafka
from tests.emulators.tls import tls_in_front
from tests.servers.certificates import authority
from tests.unit.kafka.test_envelope import Log, at
from tests.unit.kafka.test_producer import transactions, writer
from whimbrel.connectors.kafka import ENGINE
from whimbrel.connectors.protocols import QueueState
from whimbrel.errors import TlsFailed
from whimbrel.model.job import Endpoint


@dataclass(frozen=True)
class Guarded:
    kafka: Kafka
    brokers: str
    ours: Path
    other: Path

    def queue(self, topic: str, ca: Path, brokers: str = "") -> Endpoint:
        given = {"brokers": brokers or self.brokers, "topic": topic, "ssl_ca": str(ca), "batchSize": 3}
        return Endpoint("queue", "kafka", ENGINE.parse("kafka", given))


@pytest.fixture
def guarded(kafka: Kafka, tmp_path: Path) -> Iterator[Guarded]:
    """The shared broker behind a certificate for 127.0.0.1."""
    ours, other = authority(tmp_path, "ours"), authority(tmp_path, "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*ours.server(tmp_path, "127.0.0.1"))
    with tls_in_front(kafka.port, context) as brokers:
        yield Guarded(kafka, brokers, ours.ca, other.ca)


def test_messages_and_positions_travel(guarded: Guarded) -> None:
    guarded.kafka.make_topic("sealed")
    queue = guarded.queue("sealed", guarded.ours)
    assert queue.parameters["security_protocol"] == "ssl"
    assert "topic of 1 partitions" in ENGINE.test(queue).title
    with closing(writer(queue)) as first:
        assert first.recover() is None
        first.restart(QueueState("op", at(0)))
        assert first.write(transactions(Log(), 3)) == at(30)
    with closing(writer(queue)) as second:
        assert second.recover() == QueueState("op", at(30))
    assert len(guarded.kafka.read("sealed")) == 3


def test_a_certificate_that_does_not_fit_is_refused(guarded: Guarded) -> None:
    """Of another authority, or for another name than the broker is called by."""
    guarded.kafka.make_topic("refused")
    by_name = f"localhost:{guarded.brokers.partition(':')[2]}"
    for queue in (guarded.queue("refused", guarded.other), guarded.queue("refused", guarded.ours, by_name)):
        for reach in (lambda queue=queue: ENGINE.test(queue), lambda queue=queue: writer(queue).recover()):
            with pytest.raises(TlsFailed, match="certificate") as caught:
                reach()
            assert queue.parameters["brokers"] in caught.value.message
            assert "ssl_ca" in caught.value.how_to_fix
            assert not caught.value.retryable
    assert guarded.kafka.count("refused") == 0
