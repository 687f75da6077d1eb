"""What stands around the rows of a load, where an engine has it: keys, indexes, foreign keys, numbering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from whimbrel.connectors.protocols.ledger import Claim
from whimbrel.model.table import Table


class Finisher(Protocol):
    """Takes off what slows a load, and builds it once the rows are there. Every method is idempotent; what is done
    under a claim raises Fenced, and changes nothing, once somebody else has claimed the migration."""

    def prepare(self, tables: Sequence[Table], claim: Claim | None = None) -> None:
        """Before rows of a fresh load: drop secondary indexes, keys and foreign keys that slow it."""

    def indexes(self, source: Table, target: Table, stop: Callable[[], bool], claim: Claim | None = None) -> None:
        """After a table's rows: keys, secondary and unique indexes, identity values, statistics. Returns early once
        ``stop`` says so."""

    def keys(self, target: Sequence[Table], claim: Claim | None = None) -> None:
        """After all tables: foreign keys between them."""

    def sequences(self, source: Sequence[Table], target: Sequence[Table], patience: int | None = None) -> None:
        """Set identity and sequence values past the greatest value of each column.

        ``patience`` bounds the wait for a lock, in seconds; by default it is that of every session on the target.
        """
