"""How a running step talks to whoever runs it: stop and pause requests in, progress and log lines out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from whimbrel.errors import WhimbrelError
from whimbrel.model.progress import ChangeProgress, Earlier, TableChangeTotals, TableProgress


class Control(Protocol):
    """Given to every long step. All methods are cheap, thread-safe and may be called many times a second."""

    def check(self) -> None:
        """Raise ``whimbrel.errors.Interrupted`` once cancel or stop was asked for."""

    def pause_wanted(self) -> bool:
        """Whether the operation should come to rest at the next safe point."""

    def followed(self) -> bool:
        """Whether an operation of the migration follows the source's changes now, and does not rest. One look at the
        catalog."""

    def at_rest(self, resting: bool) -> None:
        """Tell that the step has come to rest (True) or goes on (False)."""

    def phase(self, name: str) -> None:
        """'snapshot', 'waiting' (for a lane), 'data', 'indexes', 'change', 'validate', ..."""

    def earlier(self) -> Earlier:
        """What earlier attempts of this operation have told, to go on from; empty on the first. Not cheap."""

    def all_tables(self, progress: Sequence[TableProgress]) -> None:
        """The figures of several tables, shown at once. All of a load's tables come first, so that no sum or share is
        ever taken of a part of them."""

    def table(self, progress: TableProgress) -> None: ...

    def change_totals(self, totals: TableChangeTotals) -> None: ...

    def change(self, progress: ChangeProgress) -> None: ...

    def retained(self, bytes: int) -> None:
        """How much of its log the source keeps for this operation."""

    def waits_for(self, error: WhimbrelError) -> None:
        """Tell what the step waits for. It stands as the operation's error until some figure moves again."""

    def log(self, role: str, line: str) -> None:
        """``role`` is 'extractor', 'loader' or 'orchestrator'. Never a secret, never a row's value."""
