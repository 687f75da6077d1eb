"""What PostgreSQL can do, as data."""

from __future__ import annotations

from whimbrel.connectors.protocols import Capabilities
from whimbrel.model.chunk import Format

CAPABILITIES = Capabilities(
    source=True,
    target=True,
    reads=(Format.COPY_BINARY, Format.COPY_TEXT, Format.TAB_TEXT),
    loads=(Format.COPY_BINARY, Format.COPY_TEXT),
    changes=True,
    layouts_in_log=True,
    apply=True,
    compare=True,
    finishes=True,
    transactional_ddl=True,
    identifier_bytes=63,
    parallel_snapshot=True,
)
