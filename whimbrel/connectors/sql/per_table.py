"""What a target gives where each statement is a transaction of its own: the delivery level *per table*."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from whimbrel.connectors.sql.session import Session
from whimbrel.connectors.sql.stage import Stage
from whimbrel.errors import InternalError


@dataclass(frozen=True)
class Merged:
    """What a MERGE did: rows that it ``put`` (new or over old ones) and ``removed``."""

    put: int
    removed: int


class StatementSession(Session):
    """A session without transactions of several statements."""

    @abstractmethod
    def merge(self, sql: str) -> Merged:
        """Run a MERGE."""

    def _begin(self) -> None:
        raise InternalError("there are no transactions of several statements here")

    def rollback(self) -> None:
        """Nothing is ever open."""

    def bound_waits(self, seconds: int) -> None:
        """Nothing waits for locks where writers that meet are refused."""


class ReadableStage(Stage, Protocol):
    """A stage whose files statements can read, and under whose names each file is loaded into a table once: a second
    ``load`` of a name, whatever the file is by then, loads nothing and tells 0 rows."""

    def new_name(self) -> str:
        """A name that was never used."""

    def put_as(self, session: Session, file: Path, name: str) -> None:
        """``put`` under this name, in place of what is there."""

    def rows(self, name: str) -> str:
        """The file as a table expression."""
