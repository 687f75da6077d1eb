"""What Spanner can do, as data."""

from __future__ import annotations

from whimbrel.connectors.protocols import Capabilities
from whimbrel.model.chunk import Format

CAPABILITIES = Capabilities(
    source=False,
    target=True,
    loads=(Format.PARQUET,),
    changes_need_key=True,
    prints_floats=False,
    identifier_length=64,  # of the 128 that a schema and a table have together
    foreign_keys="compared",
    indexes=True,
    decimal_digits=38,
    decimal_scale=9,
    batch_seconds=0.5,
)
