"""The parameters of a Kafka or Redpanda endpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from whimbrel.errors import InvalidRequest

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
    given: dict[str, Any] = {}
    for name, value in parameters.items():
        field = ALIASES.get(name, name)
        if field not in REQUIRED and field not in OPTIONAL:
            raise _refuse(name, f"is not a parameter of {type}", known=sorted((*REQUIRED, *OPTIONAL)))
        if field in given:
            raise _refuse(name, f"is given twice, as {field!r} too")
        given[field] = value
    for field in REQUIRED:
        if given.get(field) in (None, "", []):
            raise _refuse(field, "is required")
    parsed = {**OPTIONAL, **{k: v for k, v in given.items() if v is not None}}
    parsed["brokers"] = _brokers(parsed["brokers"])
    parsed["batchSize"] = _batch_size(parsed["batchSize"])
    for field, value in parsed.items():
        if field != "batchSize" and value is not None:
            _check_text(field, value)
    for field, known in CHOICES.items():
        parsed[field] = _choice(field, parsed[field], known)
    if not _TOPIC.fullmatch(parsed["topic"]) or parsed["topic"] in (".", ".."):
        raise _refuse("topic", "must be letters, digits, '.', '_' and '-', at most 249 of them")
    _check_security(parsed)
    return {k: v for k, v in parsed.items() if v is not None}


def _brokers(value: Any) -> str:
    """``host:port`` with commas between, or a list of them."""
    parts = value if isinstance(value, list) else str(value).split(",") if isinstance(value, str) else None
    if not parts or not all(isinstance(p, str) for p in parts):
        raise _refuse("brokers", "must be text like 'b1:9092,b2:9092'")
    cleaned = [p.strip() for p in parts]
    for broker in cleaned:
        found = _BROKER.fullmatch(broker)
        if not found or not 1 <= int(found["port"] or 9092) <= 65535:
            raise _refuse("brokers", "must be text like 'b1:9092,b2:9092'")
    return ",".join(cleaned)


def _batch_size(value: Any) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= LARGEST_BATCH:
        raise _refuse("batchSize", f"must be a whole number from 1 to {LARGEST_BATCH}")
    return number


def _choice(field: str, value: str | None, known: tuple[str, ...]) -> str | None:
    """One of the known values, whatever its case."""
    if value is None:
        return None
    found = next((k for k in known if k.lower() == value.lower()), None)
    if found is None:
        raise _refuse(field, f"must be one of {', '.join(known)}")
    return found


def _check_security(parsed: dict[str, Any]) -> None:
    """Fill the protocol in and refuse what contradicts it, so that nobody believes a line encrypted that is not."""
    login = [f for f in ("sasl_mechanism", "sasl_username", "sasl_password") if parsed[f] is not None]
    if parsed["security_protocol"] is None:
        parsed["security_protocol"] = "sasl_ssl" if login else "ssl" if parsed["ssl_ca"] else "plaintext"
    protocol = parsed["security_protocol"]
    if protocol.startswith("sasl"):
        for field in ("sasl_username", "sasl_password"):
            if not parsed[field]:
                raise _refuse(field, f"is required with security_protocol {protocol}")
        parsed["sasl_mechanism"] = parsed["sasl_mechanism"] or "PLAIN"
    elif login:
        raise _refuse(login[0], f"is of no use with security_protocol {protocol}")
    if parsed["ssl_ca"] and not protocol.endswith("ssl"):
        raise _refuse("ssl_ca", f"is of no use with security_protocol {protocol}")


def _check_text(field: str, value: Any) -> None:
    if not isinstance(value, str):
        raise _refuse(field, "must be text")
    if "\0" in value:
        raise _refuse(field, "must not hold a NUL")


def _refuse(field: str, why: str, **details: Any) -> InvalidRequest:
    return InvalidRequest(f"parameters.{field}: {why}", field=f"parameters.{field}", **details)
