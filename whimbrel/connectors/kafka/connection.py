"""Clients of a cluster: how they are configured, and what their errors mean."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from whimbrel.connectors.protocols import ServerInfo
from whimbrel.errors import (
    AuthenticationFailed,
    Fenced,
    HostUnreachable,
    LoaderFailed,
    TargetInterrupted,
    TargetPermissionDenied,
    TlsFailed,
    TopicMissing,
    ValueRefused,
    WhimbrelError,
)
from whimbrel.model.job import Endpoint

ANSWER_SECONDS = 10.0
_PATIENCE = (0.5, 2.0)  # before that: whoever refuses us at once shall not cost ten seconds
logger = logging.getLogger(__name__)  # librdkafka's own lines, which would go to stderr otherwise


def client_settings(parameters: Mapping[str, Any], operation: str) -> dict[str, Any]:
    """What producers, consumers and admin clients have in common."""
    settings = {
        "bootstrap.servers": parameters["brokers"],
        "client.id": f"whimbrel:{operation}",
        "security.protocol": parameters["security_protocol"],
        "sasl.mechanism": parameters.get("sasl_mechanism"),
        "sasl.username": parameters.get("sasl_username"),
        "sasl.password": parameters.get("sasl_password"),
        "ssl.ca.location": parameters.get("ssl_ca"),
        "socket.keepalive.enable": True,
        "allow.auto.create.topics": False,
    }
    return {k: v for k, v in settings.items() if v is not None}


class Trouble:
    """The last error that a client's background threads met: a timeout in the foreground does not say why."""

    def __init__(self) -> None:
        self.last: KafkaError | None = None
        self.lost = False  # every broker was out of reach at some moment

    def forget(self) -> None:
        """What has passed explains nothing that comes later."""
        self.last, self.lost = None, False

    @property
    def telling(self) -> bool:
        """Whether waiting longer would change nothing: a broker has refused us."""
        return self.last is not None and self.last.code() in _REFUSALS and not _PASSING.search(self.last.str())

    def seen(self, error: KafkaError) -> None:
        """librdkafka's ``error_cb``."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.lost = True
        elif self.last is None or self.last.code() not in _TELLING:
            self.last = error


_REFUSALS = (KafkaError._AUTHENTICATION, KafkaError._SSL)
_TELLING = (*_REFUSALS, KafkaError._RESOLVE)
_PASSING = re.compile(r"disconnect|reset by peer|broken pipe|timed out", re.I)  # a broker that went away meanwhile
_REFUSED = {
    KafkaError._AUTHENTICATION: AuthenticationFailed,
    KafkaError.SASL_AUTHENTICATION_FAILED: AuthenticationFailed,
    KafkaError.UNSUPPORTED_SASL_MECHANISM: AuthenticationFailed,
    KafkaError.ILLEGAL_SASL_STATE: AuthenticationFailed,
    KafkaError._SSL: TlsFailed,
    KafkaError._RESOLVE: HostUnreachable,
    KafkaError._TRANSPORT: HostUnreachable,
    KafkaError._ALL_BROKERS_DOWN: HostUnreachable,
    KafkaError._TIMED_OUT: HostUnreachable,
    KafkaError._UNKNOWN_TOPIC: TopicMissing,
    KafkaError.UNKNOWN_TOPIC_OR_PART: TopicMissing,
    KafkaError.TOPIC_AUTHORIZATION_FAILED: TargetPermissionDenied,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: TargetPermissionDenied,
    KafkaError.GROUP_AUTHORIZATION_FAILED: TargetPermissionDenied,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: TargetPermissionDenied,
    KafkaError._FENCED: Fenced,
    KafkaError.INVALID_PRODUCER_EPOCH: Fenced,
    KafkaError.MSG_SIZE_TOO_LARGE: ValueRefused,
    KafkaError.RECORD_LIST_TOO_LARGE: ValueRefused,
    KafkaError.TOPIC_EXCEPTION: LoaderFailed,
    KafkaError.TOPIC_DELETION_DISABLED: LoaderFailed,
    KafkaError.INVALID_TRANSACTION_TIMEOUT: LoaderFailed,
    KafkaError.INVALID_RECORD: LoaderFailed,
    KafkaError.INVALID_REPLICATION_FACTOR: LoaderFailed,
    KafkaError.INVALID_CONFIG: LoaderFailed,
    KafkaError.POLICY_VIOLATION: LoaderFailed,
    KafkaError.UNSUPPORTED_VERSION: LoaderFailed,
}
_REMEDIES = {
    KafkaError.MSG_SIZE_TOO_LARGE: "Raise max.message.bytes of the topic, or leave the table out.",
    KafkaError.INVALID_TRANSACTION_TIMEOUT: "Set transaction.max.timeout.ms of the brokers to 900000 or more.",
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Grant the account Describe, Write and Create on the topic and on the "
    "topic '<topic>-whimbrel-<migration>', and Read on the latter.",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "Grant the account Write and Describe on transactional ids "
    "that begin with 'whimbrel-'.",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "Grant the account Read on groups that begin with 'whimbrel-'.",
    KafkaError._SSL: "Give the CA that signed the brokers' certificates as ssl_ca, and name the brokers as their "
    "certificates do.",
    KafkaError._TRANSPORT: "Check that the brokers run, that their addresses are right, and that security_protocol is "
    "what they expect.",
    KafkaError.INVALID_RECORD: "Set cleanup.policy=delete on the topic: a compacted one needs a key in each message.",
}


def refusal(error: KafkaError, doing: str, trouble: Trouble | None = None) -> WhimbrelError:
    """The leaf for an error. ``doing`` says what failed.

    What is not known to last is worth another attempt, which replaces a producer that is out of step with its brokers.
    """
    known = trouble.last if trouble is not None else None
    if known is not None and error.code() in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT):
        error = known
    text = f"{doing}: {error.str()}"
    leaf: type[WhimbrelError] = _REFUSED.get(error.code(), TargetInterrupted)
    remedy = _REMEDIES.get(error.code())
    if error.code() in _REFUSALS and _PASSING.search(error.str()):
        leaf, remedy = HostUnreachable, _REMEDIES[KafkaError._TRANSPORT]
    if leaf is Fenced and trouble is not None and trouble.lost:
        leaf = TargetInterrupted  # brokers that were away may no longer know the producer
    return leaf(text, remedy=remedy, kafka_error=error.name())


@contextmanager
def mapped(doing: str, trouble: Trouble | None = None) -> Iterator[None]:
    """Raise the driver's errors as leaves of ours."""
    try:
        yield
    except KafkaException as e:
        raise refusal(e.args[0], doing, trouble) from e


def server_info(endpoint: Endpoint) -> ServerInfo:
    """Reach the brokers and find the topic. Raises TopicMissing, HostUnreachable, AuthenticationFailed, TlsFailed."""
    cluster, partitions = find_topic(endpoint, endpoint.parameters["topic"], "test")
    title = f"{endpoint.type.capitalize()} cluster {cluster}"
    return ServerInfo(title=f"{title}, topic of {partitions} partitions", version=(), identity=cluster)


def find_topic(endpoint: Endpoint, topic: str, operation: str) -> tuple[str, int]:
    """The cluster's id and the number of the topic's partitions; makes no topic, wherever that is automatic.

    Raises TopicMissing, and leaves of ConnectionRefused.
    """
    found = metadata(endpoint, operation)
    seen = found.topics.get(topic)
    if seen is None or seen.error is not None:
        raise TopicMissing(f"broker reachable, topic {topic!r} not found", topic=topic)
    return str(found.cluster_id or ""), len(seen.partitions)


def metadata(endpoint: Endpoint, operation: str) -> Any:
    """All topics and brokers, as the cluster shows them to this account."""
    trouble = Trouble()
    client = admin(endpoint, operation, trouble)
    with mapped(f"no broker of {endpoint.parameters['brokers']} answers", trouble):
        for seconds in _PATIENCE:
            try:
                return client.list_topics(timeout=seconds)
            except KafkaException:
                client.poll(0)  # only now is heard why
                if trouble.lost or trouble.telling:
                    raise
        return client.list_topics(timeout=ANSWER_SECONDS)


def admin(endpoint: Endpoint, operation: str, trouble: Trouble | None = None) -> AdminClient:
    """A client for questions about topics. Raises TlsFailed for a CA file that cannot be read."""
    settings = client_settings(endpoint.parameters, operation)
    if trouble is not None:
        settings["error_cb"] = trouble.seen
    with configured(endpoint.parameters):
        return AdminClient(settings, logger=logger)


@contextmanager
def configured(parameters: Mapping[str, Any]) -> Iterator[None]:
    """Raise what a client's constructor refuses: a CA file that is not there, a library without the mechanism."""
    try:
        yield
    except KafkaException as e:
        where = f" with ssl_ca {parameters['ssl_ca']!r}" if "ssl_ca" in parameters else ""
        raise TlsFailed(f"the client cannot be set up{where}: {e.args[0].str()}") from e
