"""Loading staged files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from whimbrel.connectors.staged import StagedFile
from whimbrel.model.chunk import Chunk, Format
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table


class Loader(Protocol):
    def load(
        self,
        epoch: int,
        source: Table,
        target: Table,
        columns: Sequence[Column],
        chunk: Chunk,
        format: Format,
        file: StagedFile,
        *,
        upsert: bool,
    ) -> int:
        """Load a staged file and record the chunk, in one transaction; return the rows. Nothing is committed unless
        the file is what was written and the target counts as many rows as the reader (StagingDamaged, DataFailed).

        A chunk already recorded is not loaded again (its rows are returned). ``upsert`` replaces rows whose key exists,
        and no others (used when a second snapshot finishes what a first one began). Raises Fenced, TargetFull,
        ValueRefused (also where the target takes a row for another one that it has), ...
        """

    def truncate(self, epoch: int, source: TableName, target: TableName) -> None:
        """Empty the target table and forget its loaded chunks, in one transaction where the engine can."""

    def close(self) -> None: ...
