"""A file of rows between reader and loader, and what it was when it was written, so that a loader takes no other."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from whimbrel.errors import DataFailed, StagingDamaged


@dataclass(frozen=True)
class StagedFile:
    """``rows`` as the reader counted them, ``size`` in bytes and their CRC-32 as they were handed to the disk."""

    path: Path
    rows: int
    size: int
    checksum: int

    def blocks(self, most: int, table: str) -> Iterator[bytes]:
        """The whole file. Raises StagingDamaged, behind the last block, when it is not what was written; whoever loads
        it must not commit then."""
        seen, checksum = 0, 0
        try:
            with self.path.open("rb", buffering=0) as stream:
                while block := stream.read(most):
                    seen += len(block)
                    checksum = zlib.crc32(block, checksum)
                    yield block
        except FileNotFoundError:
            raise StagingDamaged(f"{table}: the staged file {self.path.name} is gone") from None
        if (seen, checksum) != (self.size, self.checksum):
            raise StagingDamaged(
                f"{table}: the staged file {self.path.name} is not what was written: {self.size} bytes with checksum "
                f"{self.checksum:08x} then, {seen} with {checksum:08x} now"
            )

    def require_all(self, rows: int, table: str) -> None:
        """Raise DataFailed unless the target counts as many rows as the reader; to be asked before the commit."""
        if rows != self.rows:
            raise DataFailed(
                f"{table}: {self.rows} rows were read, but the target counts {rows}",
                remedy="Reset the target table and load again; if it repeats, look for triggers on the target.",
            )


class Checksum:
    """Size and CRC-32 of what is written block by block."""

    def __init__(self) -> None:
        self.size, self.value = 0, 0

    def add(self, block: bytes | bytearray | memoryview) -> None:
        self.size += len(block)
        self.value = zlib.crc32(block, self.value)
