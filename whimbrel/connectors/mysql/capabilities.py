"""What MySQL and MariaDB can do, as data."""

from __future__ import annotations

from whimbrel.connectors.protocols import Capabilities
from whimbrel.model.chunk import Format

CAPABILITIES = Capabilities(
    source=True,
    target=True,
    reads=(Format.TAB_TEXT, Format.COPY_TEXT, Format.RESULT_SET),
    loads=(Format.TAB_TEXT,),
    identifier_length=64,
    foreign_keys="unchecked",
    indexes=True,
    decimal_digits=65,
    decimal_scale=30,
)
