"""What Oracle can do here, as data."""

from __future__ import annotations

from whimbrel.connectors.protocols import Capabilities
from whimbrel.model.chunk import Format

CAPABILITIES = Capabilities(
    source=True,
    target=False,
    follows=False,
    compares=False,
    reads=(Format.COPY_TEXT, Format.TAB_TEXT),
    identifier_length=128,
    identifier_unit="bytes",
)
