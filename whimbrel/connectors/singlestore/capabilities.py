"""What SingleStore can do, as data."""

from __future__ import annotations

from whimbrel.connectors.protocols import Capabilities
from whimbrel.model.chunk import Format

CAPABILITIES = Capabilities(
    source=False,
    target=True,
    loads=(Format.PARQUET,),
    prints_floats=False,
    identifier_length=64,
    one_key=True,
    decimal_digits=65,
    decimal_scale=30,
    batch_seconds=0.5,
)
