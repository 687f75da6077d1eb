"""How statements run on a target; each engine has its own, over its vendor's driver."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any


class Session(ABC):
    """One session for one thread. Every method raises errors of ``whimbrel.errors`` only. A session that lost its link
    is of no more use; the server rolls back what it left open."""

    in_transaction = False

    @abstractmethod
    def execute(self, sql: str) -> int:
        """Run a statement; how many rows it wrote, as far as the server says."""

    @abstractmethod
    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement whose result is small."""

    @abstractmethod
    def stream(self, sql: str) -> Iterator[list[tuple[Any, ...]]]:
        """Run a statement whose result is large, a bounded number of rows at a time."""

    @abstractmethod
    def now(self) -> datetime:
        """The server's clock, with its zone."""

    @abstractmethod
    def bound_waits(self, seconds: int) -> None:
        """From here on wait no longer for somebody's lock, then raise TargetInterrupted."""

    @abstractmethod
    def cancel(self) -> None:
        """End the statement in hand; callable from another thread."""

    @abstractmethod
    def close(self) -> None: ...

    # --- transactions -----------------------------------------------------------------------------------------------

    @abstractmethod
    def _begin(self) -> None: ...

    def guard(self) -> str:
        """A condition that holds only inside the transaction in hand, which somebody may have ended on the server. ''
        where the server itself refuses whatever follows."""
        return ""

    def begin(self) -> None:
        """Begin a transaction unless one is open."""
        if not self.in_transaction:
            self._begin()
            self.in_transaction = True

    def commit(self) -> None:
        self.execute("COMMIT")
        self.in_transaction = False

    @abstractmethod
    def rollback(self) -> None:
        """Undo what is open. Never raises: what a lost session leaves, the server undoes."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block did, or undo it."""
        self.begin()
        try:
            yield
            self.commit()
        except BaseException:
            self.rollback()
            raise
