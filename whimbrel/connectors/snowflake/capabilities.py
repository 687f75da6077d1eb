"""What Snowflake can do, as data."""

from __future__ import annotations

from whimbrel.connectors.protocols import Capabilities
from whimbrel.model.chunk import Format

CAPABILITIES = Capabilities(
    source=False,
    target=True,
    loads=(Format.PARQUET,),
    apply=True,
    compare=True,
    prints_floats=False,
    transactional_ddl=False,
    identifier_bytes=255,
)
