from __future__ import annotations

import re
from typing import Any

import pytest
from confluent_kafka import KafkaError

from whimbrel.connectors.kafka.config import SECRETS, parse
from whimbrel.connectors.kafka.connection import Trouble, client_settings, refusal
from whimbrel.connectors.kafka.position import position_topic
from whimbrel.connectors.kafka.producer import partition_of, transactional_id
from whimbrel.errors import AuthenticationFailed, Fenced, InvalidRequest, LoaderFailed, TargetInterrupted
from whimbrel.model.names import TableName

LEAST = {"brokers": "b1:9092,b2", "topic": "changes"}
LOGIN = {**LEAST, "sasl_username": "u", "sasl_password": "p"}


def test_defaults() -> None:
    assert parse("kafka", LEAST) == {
        **LEAST,
        "batchSize": 1,
        "compression": "none",
        "security_protocol": "plaintext",
        "format": "json",
    }


def test_aliases_and_numbers_as_text() -> None:
    given = {"queueBrokers": ["b1:9092", "b2"], "queueTopic": "t", "queueBatchSize": "500", "queueCompression": "ZSTD"}
    found = parse("redpanda", given)
    assert (found["brokers"], found["topic"]) == ("b1:9092,b2", "t")
    assert (found["batchSize"], found["compression"]) == (500, "zstd")


def test_a_login_is_encrypted_unless_asked_otherwise() -> None:
    found = parse("kafka", LOGIN)
    assert (found["security_protocol"], found["sasl_mechanism"]) == ("sasl_ssl", "PLAIN")
    assert parse("kafka", {**LOGIN, "security_protocol": "SASL_PLAINTEXT"})["security_protocol"] == "sasl_plaintext"
    assert parse("kafka", {**LEAST, "ssl_ca": "/ca.pem"})["security_protocol"] == "ssl"
    assert frozenset({"sasl_password"}) == SECRETS


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"topic": "t"}, "brokers"),
        ({**LEAST, "topic": ""}, "topic"),
        ({**LEAST, "topic": "no spaces"}, "topic"),
        ({**LEAST, "brokers": "b1:9092,"}, "brokers"),
        ({**LEAST, "brokers": "b1:99999"}, "brokers"),
        ({**LEAST, "brokers": 7}, "brokers"),
        ({**LEAST, "batchSize": 0}, "batchSize"),
        ({**LEAST, "batchSize": True}, "batchSize"),
        ({**LEAST, "compression": "gzip"}, "compression"),
        ({**LEAST, "compression": 7}, "compression"),
        ({**LEAST, "format": "avro"}, "format"),
        ({**LEAST, "queueTopic": "t"}, "queueTopic"),
        ({**LEAST, "password": "x"}, "password"),
        ({**LEAST, "sasl_username": "u"}, "sasl_password"),
        ({**LOGIN, "security_protocol": "ssl"}, "sasl_username"),
        ({**LEAST, "ssl_ca": "/ca.pem", "security_protocol": "plaintext"}, "ssl_ca"),
        ({**LOGIN, "sasl_mechanism": "GSSAPI"}, "sasl_mechanism"),
    ],
)
def test_what_is_refused_names_the_field(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse("kafka", given)
    assert refused.value.extra["field"] == f"parameters.{field}"


def test_what_the_client_library_gets() -> None:
    found = client_settings(parse("kafka", {**LOGIN, "ssl_ca": "/ca.pem"}), "op")
    assert (found["client.id"], found["sasl.password"], found["ssl.ca.location"]) == ("whimbrel:op", "p", "/ca.pem")
    assert found["allow.auto.create.topics"] is False
    assert "sasl.username" not in client_settings(parse("kafka", LEAST), "op")


def test_names_of_position_topics_fit_and_differ() -> None:
    assert position_topic("changes", "shop") == "changes-whimbrel-shop"
    assert re.fullmatch(r"a-whimbrel-whimbrel-b\.c_d-[0-9a-f]{16}", position_topic("a-whimbrel", "b.c_d"))
    alike = [("a", "b-whimbrel-c"), ("a-whimbrel-b", "c"), ("a", "whimbrel-b"), ("a-whimbrel", "b"), ("a", "b")]
    alike += [("a-whimbrel-b-whimbrel-c", "d"), ("a", "b-whimbrel-c-whimbrel-d"), ("a-b", "c"), ("a", "b-c")]
    alike += [("t" * 240, f"migration{n}") for n in range(3)] + [("t" * 239 + "-whimbrel-", "x"), ("t" * 249, "m" * 64)]
    names = [position_topic(*pair) for pair in alike]
    assert len(set(names)) == len({transactional_id(*pair) for pair in alike}) == len(alike)
    assert all(re.fullmatch(r"[A-Za-z0-9._-]{1,249}", name) for name in names)


def test_a_table_keeps_its_partition() -> None:
    assert partition_of(TableName("suite", "item"), 3) == partition_of(TableName("suite", "item"), 3)
    assert {partition_of(TableName("suite", f"t{n}"), 3) for n in range(50)} == {0, 1, 2}


def test_what_is_not_known_to_last_is_tried_again() -> None:
    trouble = Trouble()
    desynchronised = KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, "out of step")
    fenced = KafkaError(KafkaError._FENCED, "fenced")
    assert isinstance(refusal(desynchronised, "sending", trouble), TargetInterrupted)
    assert isinstance(refusal(fenced, "sending", trouble), Fenced)
    trouble.seen(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    assert isinstance(refusal(fenced, "sending", trouble), TargetInterrupted)
    assert isinstance(refusal(KafkaError(KafkaError.POLICY_VIOLATION), "making", trouble), LoaderFailed)
    trouble.seen(KafkaError(KafkaError._AUTHENTICATION, "no such user"))
    late = refusal(KafkaError(KafkaError._TIMED_OUT), "waiting", trouble)
    assert isinstance(late, AuthenticationFailed)
    assert "no such user" in late.message
