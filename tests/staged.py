"""Files as loaders take them, made by tests."""

from __future__ import annotations

import zlib
from pathlib import Path

from whimbrel.connectors.staged import StagedFile


def staged(path: Path, rows: int) -> StagedFile:
    """The file as it is now."""
    content = path.read_bytes()
    return StagedFile(path, rows, len(content), zlib.crc32(content))
