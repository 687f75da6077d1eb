"""What MySQL and MariaDB can do, as data."""

from __future__ import annotations

from whimbrel.connectors.protocols import Capabilities
from whimbrel.model.chunk import Format

CAPABILITIES = Capabilities(
    source=True,
    target=True,
    reads=(Format.TAB_TEXT, Format.COPY_TEXT),
    loads=(Format.TAB_TEXT,),
    changes=True,
    apply=True,
    compare=True,
    finishes=True,
    transactional_ddl=False,
    identifier_bytes=64,
    parallel_snapshot=True,
)
