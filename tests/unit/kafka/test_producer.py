"""The writer against a broker: refusals, shutting out, and a broker that goes away in the middle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.conftest import running_kafka
from tests.emulators.kafka import Kafka
from tests.servers.process import wait_until
from tests.unit.kafka.test_envelope import KEYED, TABLES, Log, at
from whimbrel.connectors.kafka import ENGINE, producer, sizes
from whimbrel.connectors.kafka.position import position_topic
from whimbrel.connectors.kafka.producer import KafkaWriter, end_transactions
from whimbrel.connectors.protocols import QueueState
from whimbrel.connectors.queues import queue_of
from whimbrel.errors import Fenced, LoaderFailed, TargetInterrupted, TopicMissing, ValueRefused
from whimbrel.model.change import INSERT, Segment
from whimbrel.model.job import Endpoint, Job


def endpoint(kafka: Kafka, topic: str, **more: object) -> Endpoint:
    return Endpoint("queue", "kafka", ENGINE.parse("kafka", {"brokers": kafka.brokers, "topic": topic, **more}))


def writer(queue: Endpoint, migration: str = "move") -> KafkaWriter:
    source = Endpoint("s", "postgres", {"database": "shop"})
    return KafkaWriter(queue, Job(migration, "op", source, queue, (KEYED,), Path("unused"), queue=queue), TABLES)


def transactions(log: Log, count: int, note: bytes = b"x") -> Segment:
    for _ in range(count):
        log.begin()
        log.row(KEYED, INSERT, str(log.here).encode(), note, None)
        log.commit()
    return log.builder.cut()


def test_position_and_messages_are_committed_together(kafka: Kafka) -> None:
    kafka.make_topic("together", 2)
    queue = endpoint(kafka, "together", batchSize=3)
    with closing(writer(queue)) as first:
        assert first.recover() is None
        first.restart(QueueState("op", at(0)))
        assert first.write(transactions(Log(), 7)) == at(60), "two batches of three are full"
        assert len(kafka.read("together")) == 6
        assert len(kafka.read("together", "read_uncommitted")) == 7
    with closing(writer(queue)) as second:
        assert second.recover() == QueueState("op", at(60))
        assert second.write(transactions(Log(60), 1)) is None
        second.commit(at(70))
    assert [m.value["after"]["id"] for m in kafka.read("together")] == [0, 10, 20, 30, 40, 50, 60]


def test_migrations_on_one_topic_do_not_shut_each_other_out(kafka: Kafka) -> None:
    kafka.make_topic("shared")
    queue = endpoint(kafka, "shared")
    with closing(writer(queue, "one")) as one, closing(writer(queue, "two")) as two:
        for each, here in ((one, 1), (two, 2)):
            each.recover()
            each.restart(QueueState("op", at(here)))
        one._begin()
        one._produce("shared", b"{}", None, 0)
        with closing(writer(queue, "two")) as again:
            assert again.recover() == QueueState("op", at(2)), "what another migration has open hides nothing"
        one.commit(at(10))
        with pytest.raises(Fenced):
            two.commit(at(20))


def test_names_that_join_to_the_same_text_are_two_migrations(kafka: Kafka) -> None:
    pairs = (("joined", "whimbrel-x"), ("joined-whimbrel", "x")), (("joined", "a-x"), ("joined-a", "x"))
    for number, ((topic, migration), (other, its)) in enumerate(pairs):
        for name in {topic, other} - set(kafka.topics()):
            kafka.make_topic(name)
        with (
            closing(writer(endpoint(kafka, topic), migration)) as one,
            closing(writer(endpoint(kafka, other), its)) as two,
        ):
            for each, here in ((one, 10), (two, 20)):
                assert each.recover() is None
                each.restart(QueueState("op", at(here + number)))
            one.commit(at(30))
            two.commit(at(40))
            assert (one.recover(), two.recover()) == (QueueState("op", at(30)), QueueState("op", at(40)))


def test_cleanup_ends_what_was_left_open(kafka: Kafka) -> None:
    kafka.make_topic("left")
    queue = endpoint(kafka, "left")
    with closing(writer(queue)) as old:
        old.recover()
        old.write(transactions(Log(), 1))
        old._begin()
        old._produce("left", b'{"half": true}', None, 0)
        old._client.flush(10)
        end_transactions(queue, old._job)
        with pytest.raises(Fenced):
            old.write(transactions(Log(10), 1))
        assert len(kafka.read("left")) == 1


def test_a_message_that_is_too_large_is_named_and_small_ones_are_not_refused_with_it(kafka: Kafka) -> None:
    kafka.make_topic("narrow", 1, **{"max.message.bytes": "5000"})
    queue = endpoint(kafka, "narrow", batchSize=1000)
    with closing(writer(queue)) as it:
        it.recover()
        it.write(transactions(Log(), 200))
        it.commit(at(2000))
        assert len(kafka.read("narrow")) == 200
    log = Log(2000)
    log.begin()
    log.row(KEYED, INSERT, b"2050", b"y" * 9000, None)
    log.commit()
    named = r"s\.keyed: a change \(key id\) .* column note: .*, which takes 5000"
    with closing(writer(queue)) as it:
        it.recover()

        def send() -> None:
            it.write(transactions(log, 5))
            it.commit(at(3000))

        with pytest.raises(ValueRefused, match=named) as no:
            send()
    assert "max.message.bytes" in no.value.how_to_fix
    about = no.value.extra
    assert (about["table"], about["key"], about["column"], about["limit"]) == ("s.keyed", ["id"], "note", 5000)
    assert len(kafka.read("narrow")) == 200


def test_a_message_larger_than_the_clients_buffer_is_refused_at_once(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sizes.BUFFER_KIB << 10 > sizes.LARGEST_MESSAGE > 50_000_000
    largest = 960_000
    monkeypatch.setattr(producer, "BUFFER_KIB", 1000)
    monkeypatch.setattr(producer, "LARGEST_MESSAGE", largest)
    monkeypatch.setattr(sizes, "LARGEST_MESSAGE", largest)
    kafka.make_topic("wide", 1, **{"max.message.bytes": "1000000000"})
    with closing(writer(endpoint(kafka, "wide"))) as it:
        it.recover()
        assert it.write(transactions(Log(), 1, b"y" * (largest - 1000))) == at(10)
        began = time.monotonic()
        with pytest.raises(ValueRefused, match=r"s\.keyed: .*too large to be sent"):
            it.write(transactions(Log(10), 1, b"y" * (largest + 1)))
        assert time.monotonic() - began < 20


def test_a_transaction_that_brokers_ended_for_its_age_is_not_tried_for_ever(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka.make_topic("aged")
    queue = endpoint(kafka, "aged", batchSize=100)
    with closing(writer(queue)) as it:
        it.recover()
        it.write(transactions(Log(), 1))
        end_transactions(queue, it._job)  # what brokers do to one that was open for too long
        monkeypatch.setattr(producer, "TRANSACTION_MS", 0)
        with pytest.raises(LoaderFailed, match="open for") as failed:
            it.commit(at(10))
    assert not isinstance(failed.value, Fenced)
    assert not failed.value.retryable


def test_forgetting_removes_the_position_and_nothing_else(kafka: Kafka) -> None:
    kafka.make_topic("told")
    queue = endpoint(kafka, "told")
    with closing(writer(queue)) as it:
        it.recover()
        it.write(transactions(Log(), 1))
        job, name = it._job, position_topic("told", "move")
        assert it.keeps_position_in.startswith(f"{name} on cluster ")
    assert name in kafka.topics()
    for _ in range(2):
        queue_of("kafka").forget(queue, job)
        assert name not in kafka.topics()
    assert len(kafka.read("told")) == 1
    others = Producer({"bootstrap.servers": kafka.brokers, "log_level": 0})
    kafka.make_topic(name)
    others.produce(name, b'{"somebody": "else"}')
    others.flush(10)
    with pytest.raises(LoaderFailed, match="no position of ours") as kept:
        queue_of("kafka").forget(queue, job)
    assert name in kept.value.how_to_fix
    assert name in kafka.topics()


def test_the_position_is_found_behind_many_aborted_ones(kafka: Kafka) -> None:
    kafka.make_topic("aborted")
    queue = endpoint(kafka, "aborted")
    with closing(writer(queue)) as it:
        it.recover()
        it.restart(QueueState("op", at(5)))
        it._begin()
        for _ in range(500):
            it._produce(it._positions, b"{}", None, 0)
        it._client.flush(10)
        it.abort()
    with closing(writer(queue)) as next_one:
        assert next_one.recover() == QueueState("op", at(5))


def test_an_unknown_topic_is_not_made(kafka: Kafka) -> None:
    with closing(writer(endpoint(kafka, "never"))) as it, pytest.raises(TopicMissing):
        it.recover()
    assert "never" not in kafka.topics()


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Kafka]:
    yield from running_kafka(tmp_path / "kafka")


def test_a_transaction_during_which_the_brokers_went_away_is_not_trusted(own_kafka: Kafka) -> None:
    own_kafka.make_topic("gone")
    queue = endpoint(own_kafka, "gone")
    with closing(writer(queue)) as it:
        it.recover()
        it.restart(QueueState("op", at(0)))
        it._begin()
        it._produce("gone", b'{"half": true}', None, 0)
        it._client.flush(10)
        own_kafka.stop()
        own_kafka.start()
        with pytest.raises(TargetInterrupted):
            it.commit(at(10))
    with closing(writer(queue)) as after:
        found: list[QueueState | None] = []

        def recovered() -> bool:
            try:
                found.append(after.recover())
            except TargetInterrupted:
                return False
            return True

        wait_until(recovered, 30, "the broker to be back")
        assert found[-1] in (QueueState("op", at(0)), QueueState("op", at(10)))
        assert len(own_kafka.read("gone")) == (1 if found[-1] == QueueState("op", at(10)) else 0)
