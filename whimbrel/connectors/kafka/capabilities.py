"""What Kafka and Redpanda can do, as data."""

from __future__ import annotations

from whimbrel.connectors.protocols import Capabilities

CAPABILITIES = Capabilities(source=False, target=False, queue=True)
