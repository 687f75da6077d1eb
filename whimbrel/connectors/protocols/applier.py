"""Applying changes, and repairing rows beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from whimbrel.model.change import Segment
from whimbrel.model.names import TableName
from whimbrel.model.position import Position


@dataclass(frozen=True)
class Pace:
    """How often a target wants to be written to; what is slow, billed by the statement or kept awake by it wants few
    large batches.

    ``gather``: for how many seconds changes are gathered before they are applied, unless there are many; 0: as soon as
    there is something. ``idle``: how many seconds apart positions are stored that moved without changes. ``bytes``: of
    how many bytes of changes a batch has at most, to which a single transaction is cut too; a target that needs
    ``seconds`` for each batch however large keeps up with ``bytes / seconds``. A worker holds up to three of them.
    """

    gather: float = 0.0
    idle: float = 0.0
    bytes: int = 16 << 20


Refetch = Callable[[TableName, pa.RecordBatch], pa.RecordBatch]


class Applier(Protocol):
    """Applies segments. One connection, one transaction at a time."""

    def apply(self, segment: Segment, refetch: Refetch) -> None:
        """Apply all steps inside the open transaction (begun when needed). Nothing is committed.

        Raises ValueRefused, among others, where the target takes a row for another one that it has: a row is put in
        the place of the one with its key and of no other, but for one that the source cannot have beside it.
        """

    def commit(self, epoch: int, position: Position) -> None:
        """Store the position in the same transaction and commit. Raises Fenced (and rolls back)."""

    def rollback(self) -> None: ...

    def close(self) -> None: ...


class Holder(Applier, Protocol):
    """An applier that can keep the others waiting: what a repair reads and writes meanwhile is one moment's."""

    def hold(self) -> None:
        """Begin the transaction and keep every other applier of the migration from committing until it ends.

        Gives up after about a second, also on each row that another one has changed: raises TargetInterrupted.
        """

    def release(self) -> None:
        """Commit what was applied since ``hold``; the stored position stays."""
