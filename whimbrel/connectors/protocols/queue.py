"""What a queue may implement: the counterpart of ``Target`` for targets that hold messages and not rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from whimbrel.model.change import Segment
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.position import Position
from whimbrel.model.table import Table


@dataclass(frozen=True)
class QueueState:
    """How far a migration has come in a queue, kept in the queue. ``operation`` is the one that began it."""

    operation: str
    position: Position


class QueueWriter(Protocol):
    """Writes changes as messages, in transactions that hold the position too. For one thread.

    After any error it is of no use but to be closed; what its last transaction came to, ``recover`` of the next tells.
    """

    @property
    def keeps_position_in(self) -> str:
        """What in which queue holds the position, as its users know it; known once ``recover`` was called."""

    def recover(self) -> QueueState | None:
        """Take the migration over: shut out older writers, end what they left open, read what is stored.

        None when nothing is stored. Raises TopicMissing, TargetPermissionDenied, leaves of ConnectionRefused.
        """

    def restart(self, state: QueueState) -> None:
        """Store where a replication begins, in place of what was stored."""

    def write(self, segment: Segment) -> Position | None:
        """Send the segment's messages; begins transactions and ends them at ends of the source's, as batches fill.

        Needs a segment captured in order. Returns the last position it committed, None when it committed none. Raises
        ValueRefused, Fenced, TargetInterrupted.
        """

    def commit(self, position: Position) -> None:
        """Store the position in the open transaction (begun when needed) and commit it."""

    def abort(self) -> None:
        """Forget what was sent since the last commit."""

    def close(self) -> None: ...


class Queue(Protocol):
    """What an engine has that holds messages and not rows, in place of a target."""

    def writer(self, endpoint: Endpoint, job: Job, tables: Sequence[Table]) -> QueueWriter:
        """The writing side of one operation. Connects to nothing yet."""

    def end_transactions(self, endpoint: Endpoint, job: Job) -> None:
        """End what a writer of this migration may have left open. Called twice it is no error."""

    def forget(self, endpoint: Endpoint, job: Job) -> None:
        """Remove what a migration keeps in the queue for itself; never a message. Called twice it is no error.

        Raises leaves of ConnectionRefused; TargetPermissionDenied or LoaderFailed when it stays where it is.
        """
