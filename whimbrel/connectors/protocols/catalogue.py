"""What tables a target has, and how they differ from those that it should have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from whimbrel.model.difference import Difference
from whimbrel.model.names import TableName
from whimbrel.model.table import Table


class Catalogue(Protocol):
    """Names are the target's. A table that is not there is no error, but for ``reflect``."""

    def reflect(self, names: Sequence[TableName]) -> tuple[Table, ...]:
        """The definitions of target tables as they are, in the order asked; columns and keys at least. Raises
        TableMissing."""

    def existing(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        """Those of the names that exist."""

    def nonempty(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        """Those of the names that hold at least one row."""

    def differences(self, tables: Sequence[Table]) -> tuple[Difference, ...]:
        """For target tables as target_tables gives them: how existing ones differ in columns; empty when they fit."""

    def stricter(self, source: Sequence[Table], target: Sequence[Table]) -> tuple[str, ...]:
        """What may make two rows of the source one in existing target tables: unique keys that the source has not, and
        types and collations of keys that tell fewer values apart. Empty when there is nothing."""

    def reset(self, names: Sequence[TableName], mode: Literal["drop", "truncate"]) -> tuple[int, int]:
        """Drop or empty these tables; (done, failed). Foreign keys between them do not stop it."""
