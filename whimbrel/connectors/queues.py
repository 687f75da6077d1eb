"""Queues by the type of their endpoint."""

from __future__ import annotations

from whimbrel.connectors import registry
from whimbrel.connectors.protocols import Queue
from whimbrel.errors import InvalidRequest


def queue_of(type: str) -> Queue:
    """The queue's side of a type's engine. Raises InvalidRequest for a type that is no queue, DriverMissing."""
    found = registry.engine(type).queue
    if found is None:
        raise InvalidRequest(f"type: {type!r} is not a queue", field="type")
    return found
