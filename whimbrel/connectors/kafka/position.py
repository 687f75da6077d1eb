"""Where a migration stands in a queue: the last committed record of a small compacted topic of its own.

Each Kafka transaction ends with such a record, so that messages and position are seen together or not at all. The topic
is the migration's alone: a read_committed reader sees nothing behind the oldest open transaction of a partition, and
with a topic shared by several migrations that could be another one's.
"""

from __future__ import annotations

import hashlib
import json
import re
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.cimpl import NewTopic

from whimbrel.connectors.kafka.connection import (
    ANSWER_SECONDS,
    Trouble,
    admin,
    client_settings,
    configured,
    logger,
    mapped,
    metadata,
)
from whimbrel.connectors.protocols import QueueState
from whimbrel.errors import LoaderFailed, TargetInterrupted, TopicMissing
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.position import Position

LONGEST_NAME = 249
READ_SECONDS = 60.0
_BETWEEN = "-whimbrel-"
_EACH_BETWEEN = re.compile(f"(?={_BETWEEN})")  # also those that overlap
_DIGEST = 16  # characters
_WINDOW = 64  # offsets looked at first; aborted records and commit markers lie behind the last committed one
_SETTINGS = {"cleanup.policy": "compact", "segment.bytes": str(16 << 20), "min.cleanable.dirty.ratio": "0.1"}


def position_topic(topic: str, migration: str) -> str:
    """The name of the topic that holds the position; no other pair of topic and migration has it.

    Both may hold any character that the name may. So where it could be read in two ways, or is too long, a digest of
    the pair stands at its end.
    """
    name = f"{topic}{_BETWEEN}{migration}"
    if len(name) <= LONGEST_NAME and len(_EACH_BETWEEN.findall(name)) == 1:
        return name
    digest = hashlib.sha256(f"{topic}\0{migration}".encode()).hexdigest()[:_DIGEST]
    return f"{name[: LONGEST_NAME - _DIGEST - 1]}-{digest}"


def ensure_topic(endpoint: Endpoint, job: Job, name: str) -> bool:
    """Make the topic unless it exists; whether it was made. Raises TargetPermissionDenied, LoaderFailed."""
    if _exists(endpoint, job, name):
        return False
    client = admin(endpoint, job.operation)  # the answer never comes once it is gone
    made = client.create_topics(
        [NewTopic(name, 1, -1, config=_SETTINGS)], operation_timeout=ANSWER_SECONDS, request_timeout=ANSWER_SECONDS
    )
    try:
        with mapped(f"the topic {name} cannot be made"):
            made[name].result()
    except Exception as e:
        cause = e.__cause__
        if not isinstance(cause, KafkaException) or cause.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
        return False
    return True


def remove_topic(endpoint: Endpoint, job: Job, name: str) -> None:
    """Delete the topic; no error when it is not there. Raises TargetPermissionDenied, and LoaderFailed for one that
    holds something else than positions, which is somebody's own."""
    try:
        if not _exists(endpoint, job, name):
            return
        read_state(endpoint, job, name)
        client = admin(endpoint, job.operation)  # the answer never comes once it is gone
        gone = client.delete_topics([name], operation_timeout=ANSWER_SECONDS, request_timeout=ANSWER_SECONDS)
        with mapped(f"the topic {name} cannot be deleted"):
            gone[name].result()
    except TopicMissing:
        return  # somebody was faster
    except LoaderFailed as e:
        e.how_to_fix = f"Delete the topic {name} by hand, unless somebody needs it."
        raise


def _exists(endpoint: Endpoint, job: Job, name: str) -> bool:
    """Whether there is such a topic. Raises LoaderFailed for one that cannot be ours."""
    found = metadata(endpoint, job.operation).topics.get(name)
    if found is None or found.error is not None:
        return False
    if len(found.partitions) != 1:
        raise LoaderFailed(
            f"the topic {name} has {len(found.partitions)} partitions, not one",
            remedy="Delete it; it is made anew with one partition and cleanup.policy=compact.",
        )
    return True


def read_state(endpoint: Endpoint, job: Job, name: str) -> QueueState | None:
    """The last committed record; None when there is none. Call after older writers were shut out."""
    trouble = Trouble()
    settings = {
        **client_settings(endpoint.parameters, job.operation),
        "group.id": f"whimbrel-{job.migration}",  # asked for by the driver; nothing is ever committed to it
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 10,  # only what is there is asked for
        "error_cb": trouble.seen,
    }
    with configured(endpoint.parameters):
        consumer = Consumer(settings, logger=logger)
    try:
        with mapped(f"the position in {name} cannot be read", trouble):
            low, high = consumer.get_watermark_offsets(TopicPartition(name, 0), timeout=ANSWER_SECONDS)
            window = _WINDOW
            while True:
                start = max(low, high - window)
                found = _last(consumer, name, start, trouble)
                if found is not None or start == low:
                    return None if found is None else _state(found, name)
                window *= 16
    finally:
        consumer.close()


def _last(consumer: Consumer, name: str, start: int, trouble: Trouble) -> bytes | None:
    """The last committed value from offset ``start`` on."""
    consumer.assign([TopicPartition(name, 0, start)])
    found: bytes | None = None
    deadline = time.monotonic() + READ_SECONDS
    while time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None:
            continue
        error = message.error()
        if error is None:
            found = message.value()
        elif error.code() == KafkaError._PARTITION_EOF:
            return found
        else:
            raise KafkaException(error)
    why = trouble.last.str() if trouble.last else "no answer"
    raise TargetInterrupted(f"the position in {name} could not be read within {READ_SECONDS:g} s: {why}")


def encode(state: QueueState) -> bytes:
    """A record's value."""
    content = {"operation": state.operation, "position": json.loads(state.position.to_json())}
    return json.dumps(content, separators=(",", ":")).encode()


def _state(value: bytes, name: str) -> QueueState:
    try:
        raw = json.loads(value)
        return QueueState(str(raw["operation"]), Position.from_json(json.dumps(raw["position"])))
    except (ValueError, KeyError, TypeError) as e:
        raise LoaderFailed(
            f"the topic {name} holds a record that is no position of ours",
            remedy="Delete that topic, unless somebody needs it, and start with resume=false.",
        ) from e
