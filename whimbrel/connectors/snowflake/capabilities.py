"""What Snowflake can do, as data."""

from __future__ import annotations

from whimbrel.connectors.protocols import Capabilities
from whimbrel.model.chunk import Format

CAPABILITIES = Capabilities(
    source=False,
    target=True,
    loads=(Format.PARQUET,),
    prints_floats=False,
    identifier_length=255,
    enforces_keys=False,
    decimal_digits=38,
    decimal_scale=37,
    batch_seconds=5.0,
    batch_bytes=64 << 20,
)
