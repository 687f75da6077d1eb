"""The parameters of a Kafka or Redpanda endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from whimbrel.connectors.parameters import known, one_of, refuse, text, whole

REQUIRED = ("brokers", "topic")
OPTIONAL: dict[str, Any] = {
    "batchSize": 1,
    "compression": "none",
    "security_protocol": None,  # sasl_ssl or plaintext, as the other parameters suggest
    "sasl_mechanism": None,
    "sasl_username": None,
    "sasl_password": None,
    "ssl_ca": None,
    "format": "json",
}
ALIASES = {
    "queueBrokers": "brokers",
    "queueTopic": "topic",
    "queueBatchSize": "batchSize",
    "queueCompression": "compression",
}
SECRETS = frozenset({"sasl_password"})
CHOICES = {
    "compression": ("none", "snappy", "lz4", "zstd"),
    "security_protocol": ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl"),
    "sasl_mechanism": ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"),
    "format": ("json",),
}
LARGEST_BATCH = 1_000_000
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:,/\[\]]+)(:(?P<port>\d{1,5}))?")


def parse(type: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve aliases, fill defaults, read numbers. Raises InvalidRequest naming the field."""
    parsed = {**OPTIONAL, **known(type, parameters, REQUIRED, OPTIONAL, ALIASES)}
    parsed["brokers"] = _brokers(parsed["brokers"])
    parsed["batchSize"] = whole("batchSize", parsed["batchSize"], 1, LARGEST_BATCH)
    for field, value in parsed.items():
        if field != "batchSize" and value is not None:
            text(field, value, may_be_empty=field.startswith("sasl_"))
    for field, choices in CHOICES.items():
        parsed[field] = _choice(field, parsed[field], choices)
    if not _TOPIC.fullmatch(parsed["topic"]) or parsed["topic"] in (".", ".."):
        raise refuse("topic", "must be letters, digits, '.', '_' and '-', at most 249 of them")
    _check_security(parsed)
    return {k: v for k, v in parsed.items() if v is not None}


def _brokers(value: Any) -> str:
    """``host:port`` with commas between, or a list of them."""
    parts = value if isinstance(value, list) else str(value).split(",") if isinstance(value, str) else None
    if not parts or not all(isinstance(p, str) for p in parts):
        raise refuse("brokers", "must be text like 'b1:9092,b2:9092'")
    cleaned = [p.strip() for p in parts]
    for broker in cleaned:
        found = _BROKER.fullmatch(broker)
        if not found or not 1 <= int(found["port"] or 9092) <= 65535:
            raise refuse("brokers", "must be text like 'b1:9092,b2:9092'")
    return ",".join(cleaned)


def _choice(field: str, value: str | None, choices: tuple[str, ...]) -> str | None:
    """One of the known values, whatever its case."""
    if value is None:
        return None
    return one_of(field, next((c for c in choices if c.lower() == value.lower()), value), choices)


def _check_security(parsed: dict[str, Any]) -> None:
    """Fill the protocol in and refuse what contradicts it, so that nobody believes a line encrypted that is not."""
    login = [f for f in ("sasl_mechanism", "sasl_username", "sasl_password") if parsed[f] is not None]
    if parsed["security_protocol"] is None:
        parsed["security_protocol"] = "sasl_ssl" if login else "ssl" if parsed["ssl_ca"] else "plaintext"
    protocol = parsed["security_protocol"]
    if protocol.startswith("sasl"):
        for field in ("sasl_username", "sasl_password"):
            if not parsed[field]:
                raise refuse(field, f"is required with security_protocol {protocol}")
        parsed["sasl_mechanism"] = parsed["sasl_mechanism"] or "PLAIN"
    elif login:
        raise refuse(login[0], f"is of no use with security_protocol {protocol}")
    if parsed["ssl_ca"] and not protocol.endswith("ssl"):
        raise refuse("ssl_ca", f"is of no use with security_protocol {protocol}")
