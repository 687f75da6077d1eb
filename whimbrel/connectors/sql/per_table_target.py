"""The writing side of a server where each statement is a transaction of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from whimbrel.connectors.protocols import Holder, Ledger, Loader, Rehearsal
from whimbrel.connectors.sql.per_table import ReadableStage, StatementSession
from whimbrel.connectors.sql.per_table_applier import PerTableApplier
from whimbrel.connectors.sql.per_table_ledger import PerTableLedger
from whimbrel.connectors.sql.per_table_loader import PerTableLoader
from whimbrel.connectors.sql.session import Session
from whimbrel.connectors.sql.target import SqlTarget
from whimbrel.connectors.verdicts import keyless
from whimbrel.model.job import Job
from whimbrel.model.table import Table


class PerTableTarget(SqlTarget):
    """See ``protocols.Target``."""

    @abstractmethod
    def stage(self) -> ReadableStage: ...

    def ledger(self, migration: str) -> Ledger:
        return PerTableLedger(self._opened(), self.dialect, migration)

    def open_loader(self, job: Job) -> Loader:
        return PerTableLoader(self._statements(), self.dialect, self.stage(), job.migration, self.reflected)

    def open_applier(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Holder:
        return PerTableApplier(self._statements(), self.dialect, self.stage(), job, source, target)

    def rehearse(
        self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str, *, changes: bool
    ) -> Rehearsal:
        """Changes need no table of ours, but a key."""
        found = super().rehearse(tables, schemas, source_type, changes=False)
        without_key = [str(t.name) for t in tables if not t.key] if changes else []
        refused = [keyless(without_key).message] if without_key else []
        return replace(found, refused=(*refused, *found.refused))

    def at_work(self, job: Job) -> int | None:
        """Nobody can be asked which statements run: a silent link is found by the driver, which asks after each
        statement again and again."""
        return None

    def end_sessions(self, session: Session, job: Job) -> None:
        """What another session has in hand ends by itself: every statement looks for its epoch, and a file is loaded
        once."""

    def _statements(self) -> StatementSession:
        return cast(StatementSession, self._opened())
