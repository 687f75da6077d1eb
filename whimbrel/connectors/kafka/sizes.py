"""How large a message may be, and which one was too large: brokers refuse a batch and do not say whose it was."""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]

from whimbrel.connectors.kafka.connection import ANSWER_SECONDS, admin
from whimbrel.errors import ValueRefused
from whimbrel.model.job import Endpoint

BUFFER_KIB = 64 << 10  # of the client, for what the brokers do not have yet
LARGEST_MESSAGE = (BUFFER_KIB - 64) << 10  # one that does not fit would wait for room for ever
BATCH = 1_000_000  # bytes of messages that are sent together, the client library's own bound
_FRAME = 200  # bytes of a batch beside its messages
_PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)  # by an abort
_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE)


def largest_batch(endpoint: Endpoint, topic: str, operation: str) -> int | None:
    """The topic's ``max.message.bytes``, which bounds batches; None where the account may not know it."""
    client = admin(endpoint, operation)  # the answer never comes once it is gone
    asked = ConfigResource(ConfigResource.Type.TOPIC, topic)
    try:
        found = client.describe_configs([asked], request_timeout=ANSWER_SECONDS)[asked].result()
        return int(found["max.message.bytes"].value)
    except (KafkaException, KeyError, TypeError, ValueError):
        return None


def batch_size(limit: int | None) -> int:
    """How much to send together: never more than the topic takes of a single message. A larger one goes alone."""
    return BATCH if limit is None else max(min(BATCH, limit - _FRAME), 1)


def is_too_large(error: KafkaError | None) -> bool:
    return error is not None and error.code() in _TOO_LARGE


class Undelivered:
    """Remembers why a message was not delivered, and the largest of those that the brokers found too large.

    A producer whose transaction has failed keeps the messages behind the one that failed, and says so nowhere else.
    """

    def __init__(self, topic: str, limit: int | None) -> None:
        self.error: KafkaError | None = None
        self._topic = topic
        self._limit = limit
        self._size = -1
        self._message: tuple[bytes | None, bytes] = (None, b"")

    @property
    def has_too_large(self) -> bool:
        return self._size >= 0

    def told(self, error: KafkaError | None, message: Message) -> None:
        """The client library's ``on_delivery``, called for what was not delivered."""
        if error is None or error.code() in _PURGED:
            return
        if self.error is None:
            self.error = error
        value = message.value()
        if is_too_large(error) and message.topic() == self._topic and isinstance(value, bytes):
            self.note(message.key(), value)

    def note(self, key: Any, value: bytes) -> None:
        size = len(value) + len(key or b"")
        if size > self._size:
            self._size, self._message = size, (key, value)

    def refusal(self) -> ValueRefused:
        """Names table, key columns and the column that is to blame; never a value."""
        key = json.loads(self._message[0] or b"null")
        value = json.loads(self._message[1])
        table = f"{value['source']['schema']}.{value['source']['table']}"
        columns = list(key["key"]) if key else []
        image = value["after"] or value["before"] or {}
        widest = max(image, key=lambda name: len(str(image[name])), default=None)
        change = f"a change (key {', '.join(columns)})" if columns else "a change"
        blame = f", most of them in column {widest}" if widest else ""
        if self._size > LARGEST_MESSAGE:
            bound: int | None = LARGEST_MESSAGE
            why = f"too large to be sent, which is possible up to {bound}"
            remedy = "Leave the table out, or make the value smaller in the source."
        else:
            bound = self._limit
            why = f"too large for topic {self._topic}" + ("" if bound is None else f", which takes {bound}")
            remedy = "Raise max.message.bytes of the topic (message.max.bytes of the brokers), or leave the table out."
        known = {} if bound is None else {"limit": bound}
        return ValueRefused(
            f"{table}: {change} makes a message of {self._size} bytes{blame}: {why}",
            remedy=remedy,
            table=table,
            key=columns,
            column=widest,
            bytes=self._size,
            **known,
        )
