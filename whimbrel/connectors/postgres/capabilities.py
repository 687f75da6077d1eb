"""What PostgreSQL can do, as data."""

from __future__ import annotations

from whimbrel.connectors.protocols import Capabilities
from whimbrel.model.chunk import Format

CAPABILITIES = Capabilities(
    source=True,
    target=True,
    reads=(Format.COPY_BINARY, Format.COPY_TEXT, Format.TAB_TEXT),
    loads=(Format.COPY_BINARY, Format.COPY_TEXT),
    layouts_in_log=True,
    identifier_length=63,
    identifier_unit="bytes",
    foreign_keys="compared",
    indexes=True,
)
