"""Messages into a topic, exactly once: an idempotent producer whose transactions hold messages and position."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from confluent_kafka import KafkaError, KafkaException, Producer

from whimbrel.codecs.ordering import pieces
from whimbrel.connectors.kafka.connection import (
    Trouble,
    client_settings,
    configured,
    find_topic,
    logger,
    mapped,
    refusal,
)
from whimbrel.connectors.kafka.envelope import Envelopes
from whimbrel.connectors.kafka.position import encode, ensure_topic, position_topic, read_state
from whimbrel.connectors.kafka.sizes import (
    BATCH,
    BUFFER_KIB,
    LARGEST_MESSAGE,
    Undelivered,
    batch_size,
    is_too_large,
    largest_batch,
)
from whimbrel.connectors.protocols import QueueState
from whimbrel.errors import Fenced, LoaderFailed, TargetInterrupted, WhimbrelError
from whimbrel.model.change import Segment
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table

TRANSACTION_MS = 900_000  # what brokers allow by default; a transaction of the source must be sent within it
ANSWER_SECONDS = 30.0
STUCK_SECONDS = 60.0  # without a single message delivered
PIECE = 10_000  # changes that are made messages at a time
_SERVE_EVERY = 1000  # messages between looks at what the client's threads have to say


class KafkaWriter:
    """See ``protocols.QueueWriter``."""

    def __init__(self, endpoint: Endpoint, job: Job, tables: Sequence[Table]) -> None:
        self._endpoint = endpoint
        self._job = job
        self._topic: str = endpoint.parameters["topic"]
        self._positions = position_topic(self._topic, job.migration)
        self._cluster = ""
        self._batch: int = endpoint.parameters["batchSize"]
        self._envelopes = Envelopes(job.source, job.migration, tables)
        self._partitions: list[int] = []  # by number of table
        self._operation = job.operation
        self._trouble = Trouble()
        self._undelivered = Undelivered(self._topic, None)
        self._producer: Producer | None = None
        self._open = False
        self._begun_at = 0.0
        self._sent = 0  # messages of the open transaction

    @property
    def keeps_position_in(self) -> str:
        return f"{self._positions} on cluster {self._cluster or self._endpoint.parameters['brokers']}"

    def recover(self) -> QueueState | None:
        self._cluster, count = find_topic(self._endpoint, self._topic, self._job.operation)
        self._partitions = [partition_of(name, count) for name in self._envelopes.tables]
        is_new = ensure_topic(self._endpoint, self._job, self._positions)
        limit = largest_batch(self._endpoint, self._topic, self._job.operation)
        self._undelivered = Undelivered(self._topic, limit)
        self._producer = _producer(self._endpoint, self._job, self._trouble, self._undelivered, batch_size(limit))
        with mapped("the producer cannot begin transactions", self._trouble):
            self._producer.init_transactions(ANSWER_SECONDS)
        # Other brokers may not know yet of a topic that was just made.
        found = None if is_new else read_state(self._endpoint, self._job, self._positions)
        if found is not None:
            self._operation = found.operation
        return found

    def restart(self, state: QueueState) -> None:
        self._operation = state.operation
        self.commit(state.position)

    def write(self, segment: Segment) -> Position | None:
        committed: Position | None = None
        for piece in pieces(segment, PIECE):
            messages = self._envelopes.messages(piece)
            at = 0
            for end, mark in messages.ends:
                if end > at:
                    self._begin()
                    self._send(messages.tables[at:end], messages.keys[at:end], messages.values[at:end])
                    at = end
                if mark.commit is not None and self._open and self._sent >= self._batch:
                    self.commit(mark.commit)
                    committed = mark.commit
        return committed

    def commit(self, position: Position) -> None:
        self._begin()
        self._produce(self._positions, encode(QueueState(self._operation, position)), self._job.migration.encode(), 0)
        self._flush()
        with self._explained("the transaction was not committed"):
            self._client.commit_transaction(ANSWER_SECONDS)
        self._serve()
        self._require_kept()
        self._open, self._sent = False, 0

    def abort(self) -> None:
        self._envelopes.forget()
        if self._open:
            self._open, self._sent = False, 0
            with self._explained("the transaction was not aborted"):
                self._client.purge()
                self._client.abort_transaction(ANSWER_SECONDS)

    def close(self) -> None:
        if self._producer is None:
            return
        with suppress(WhimbrelError):  # what stays open is ended by the next writer, or by the broker in time
            self.abort()
        with suppress(KafkaException, SystemError):
            self._producer.purge()
            self._producer.flush(1)
        self._producer = None

    @property
    def _client(self) -> Producer:
        if self._producer is None:
            raise LoaderFailed("the queue's writer was closed")
        return self._producer

    def _begin(self) -> None:
        if self._open:
            return
        self._serve()
        self._trouble.forget()
        with self._explained("a transaction cannot begin"):
            self._client.begin_transaction()
        self._open, self._begun_at = True, time.monotonic()

    def _send(self, tables: list[int], keys: list[bytes | None], values: list[bytes]) -> None:
        partitions, topic = self._partitions, self._topic
        for n, (table, key, value) in enumerate(zip(tables, keys, values, strict=True)):
            if n % _SERVE_EVERY == 0:
                self._serve()
                self._require_kept()
            self._produce(topic, value, key, partitions[table])
        self._sent += len(values)

    def _produce(self, topic: str, value: bytes, key: bytes | None, partition: int) -> None:
        waiting_since = 0.0
        while True:
            try:
                self._client.produce(topic, value, key, partition=partition)
                return
            except BufferError:
                pass  # its buffer is full: wait until brokers have taken some of it
            except KafkaException as e:
                if is_too_large(e.args[0]) and topic == self._topic:
                    self._undelivered.note(key, value)
                with self._explained(f"a message was not taken for topic {topic}"):
                    raise e
            waiting_since = waiting_since or time.monotonic()
            self._serve(0.1)
            self._require_kept()
            if time.monotonic() - waiting_since > STUCK_SECONDS:
                raise self._stuck()

    def _serve(self, seconds: float = 0.0) -> None:
        """Hear what the client's threads have to say."""
        with self._explained("the producer failed"):
            self._client.poll(seconds)

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Raise the driver's errors as leaves of ours, with the cause where the driver only says that it has failed.

        A fatal error that meets a callback of ours surfaces as a SystemError of the driver.
        """
        try:
            yield
        except KafkaException as e:
            raise self._refusal(self._cause(e.args[0]) or e.args[0], doing) from e
        except SystemError as e:
            cause = self._cause(None)
            raise TargetInterrupted(f"{doing}: {e}") if cause is None else self._refusal(cause, doing) from e

    def _refusal(self, error: KafkaError, doing: str) -> WhimbrelError:
        """The leaf for an error that has met the producer."""
        if is_too_large(error):
            with suppress(KafkaException, SystemError):
                if not self._undelivered.has_too_large:
                    self._client.poll(1)  # which message it was is told a moment later
            if self._undelivered.has_too_large:
                return self._undelivered.refusal()
        found = refusal(error, doing, self._trouble)
        seconds = time.monotonic() - self._begun_at
        if isinstance(found, Fenced | TargetInterrupted) and self._open and seconds > TRANSACTION_MS / 1000:
            return LoaderFailed(
                f"a transaction was open for {seconds:.0f} s, and brokers end one after {TRANSACTION_MS // 1000}: "
                f"{found.message}",
                remedy="Make transactions of the source smaller, or batchSize, or give the brokers more bandwidth.",
            )
        return found

    def _cause(self, error: KafkaError | None) -> KafkaError | None:
        """Why a producer has failed: told to abort or commit, it says so. It is past committing when it is told to."""
        if error is not None and error.code() not in (KafkaError._STATE, KafkaError._FATAL):
            return error
        try:
            if error is None:
                self._client.abort_transaction(1.0)
            else:
                self._client.commit_transaction(1.0)
        except (KafkaException, SystemError) as e:
            if isinstance(e.args[0], KafkaError):
                return e.args[0]
        return error

    def _flush(self) -> None:
        """Wait until the brokers have everything; however much that is, as long as it moves."""
        left, moved = self._waiting(), time.monotonic()
        while left:
            self._require_kept()
            now = self._waiting()
            if now < left:
                left, moved = now, time.monotonic()
            elif time.monotonic() - moved > STUCK_SECONDS:
                raise self._stuck()
        self._require_kept()

    def _waiting(self) -> int:
        """How many messages no broker has taken yet, after half a second at most."""
        with self._explained("messages were not delivered"):
            return int(self._client.flush(0.5))

    def _require_kept(self) -> None:
        """Raise when the open transaction has failed, or can no longer be trusted.

        Brokers that all went away may have come back without it; a new writer asks them what they have.
        """
        error = self._undelivered.error
        if error is not None:
            raise self._refusal(self._cause(error) or error, "a message was not delivered")
        if self._trouble.lost:
            raise TargetInterrupted("every broker was out of reach while a transaction was open")

    def _stuck(self) -> TargetInterrupted:
        why = f": {self._trouble.last.str()}" if self._trouble.last else ""
        return TargetInterrupted(f"the brokers took no message for {STUCK_SECONDS:g} s{why}")


def end_transactions(endpoint: Endpoint, job: Job) -> None:
    """Shut older writers out, which aborts what they left open."""
    trouble = Trouble()
    producer = _producer(endpoint, job, trouble, Undelivered(endpoint.parameters["topic"], None), BATCH)
    with mapped("transactions that were left open cannot be ended", trouble):
        producer.init_transactions(ANSWER_SECONDS)


def transactional_id(topic: str, migration: str) -> str:
    """Under which name writers of this migration shut each other out, and nobody else: no topic's name has a slash."""
    return f"whimbrel-{topic}/{migration}"


def partition_of(table: TableName, count: int) -> int:
    """All changes of a table go to one partition, because only within one does their order hold."""
    return zlib.crc32(str(table).encode()) % count


def _producer(endpoint: Endpoint, job: Job, trouble: Trouble, undelivered: Undelivered, batch: int) -> Producer:
    settings = {
        **client_settings(endpoint.parameters, job.operation),
        "transactional.id": transactional_id(endpoint.parameters["topic"], job.migration),
        "enable.idempotence": True,
        "transaction.timeout.ms": TRANSACTION_MS,
        "compression.type": endpoint.parameters["compression"],
        "message.max.bytes": LARGEST_MESSAGE,
        "batch.size": batch,
        "queue.buffering.max.kbytes": BUFFER_KIB,
        "delivery.report.only.error": True,
        "on_delivery": undelivered.told,
        "error_cb": trouble.seen,
    }
    with configured(endpoint.parameters):
        return Producer(settings, logger=logger)
