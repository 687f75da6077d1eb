"""The writing side of a Firebolt database."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Final

from whimbrel.connectors.firebolt.connection import FireboltSession, connect, label_of, replayed
from whimbrel.connectors.firebolt.dialect import DIALECT, PREFIX, SCHEMA, FireboltDialect, own_table
from whimbrel.connectors.firebolt.ledger import FIRST_ROW, FireboltLedger
from whimbrel.connectors.firebolt.stage import FireboltStage, stage_of
from whimbrel.connectors.firebolt.writing import FireboltApplier, FireboltLoader
from whimbrel.connectors.protocols import Holder, Ledger, Loader
from whimbrel.connectors.sql import merge
from whimbrel.connectors.sql.ledger import TABLES
from whimbrel.connectors.sql.merge import Pair
from whimbrel.connectors.sql.session import Session
from whimbrel.connectors.sql.target import SqlTarget
from whimbrel.errors import SchemaFailed, TargetInterrupted, WhimbrelError
from whimbrel.model.default import Default
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table

_GONE_SECONDS: Final = 30.0
_COLUMNS: Final = (
    "SELECT table_schema, table_name, column_name, data_type, numeric_precision, numeric_scale, is_nullable, "
    "column_default FROM information_schema.columns"
)


class FireboltTarget(SqlTarget):
    """See ``protocols.Target``. Everything of ours stands in the schema that every database has, under names that begin
    with ``whimbrel_``."""

    dialect = DIALECT
    progress = TableName(SCHEMA, f"{PREFIX}progress")

    def connect(self) -> FireboltSession:
        return connect(self._endpoint.parameters, self._operation)

    def stage(self) -> FireboltStage:
        return stage_of(self._endpoint.parameters, self._operation)

    def prepare(self, session: Session) -> None:
        if self._absent(session):
            replayed(self._make)(session)

    def _make(self, session: Session) -> None:
        """In one transaction, which fails as a whole where somebody else makes them at the same time."""
        try:
            with session.transaction():
                absent = self._absent(session)
                for name in absent:
                    session.execute(own_table(name))
                if "progress" in absent:
                    session.execute(f"INSERT INTO {DIALECT.own('progress')} VALUES {FIRST_ROW}")  # noqa: S608
        except SchemaFailed:
            if self._absent(session):
                raise

    def _absent(self, session: Session) -> list[str]:
        found = session.query(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{SCHEMA}'"  # noqa: S608
        )
        there = {str(row[0]) for row in found}
        return [name for name in TABLES if f"{PREFIX}{name}" not in there]

    def reflected(self, session: Session, names: Sequence[TableName]) -> Mapping[TableName, Table]:
        if not names:
            return {}
        schemas = ", ".join(DIALECT.literal(s) for s in sorted({n.schema for n in names}))
        columns: dict[TableName, list[Column]] = {}
        for row in session.query(f"{_COLUMNS} WHERE table_schema IN ({schemas}) ORDER BY 1, 2, ordinal_position"):
            columns.setdefault(TableName(row[0], row[1]), []).append(_column(row))
        return {n: Table(n, tuple(columns[n])) for n in names if n in columns}

    def at_work(self, job: Job) -> int | None:
        """Statements of the operation that run. Between two of them a transaction holds nothing back."""
        with closing(connect(self._endpoint.parameters, "look", bounded=True)) as session:
            try:
                return session.running(label_of(job.operation, "target"))
            except WhimbrelError as e:
                if e.retryable:
                    raise
                return None  # the user may not look

    def end_sessions(self, session: Session, job: Job) -> None:
        """Cancel what runs, and come before whatever is between two statements: it is undone when it commits."""
        assert isinstance(session, FireboltSession)
        deadline = time.monotonic() + _GONE_SECONDS
        while session.end_statements(label_of(job.operation, "target")):
            if time.monotonic() > deadline:
                raise TargetInterrupted(f"statements of operation {job.operation} do not end on the target")
            time.sleep(0.1)
        replayed(FireboltLedger(session, self.dialect, job.migration).touch)()

    def _try_staging(self, session: Session, pair: Pair) -> None:
        try:
            session.execute(merge.create_staging(pair))
        finally:
            with suppress(WhimbrelError):
                session.execute(f"DROP TABLE IF EXISTS {pair.staging}")

    # --- loading and applying -----------------------------------------------------------------------------------------

    def ledger(self, migration: str) -> Ledger:
        return FireboltLedger(self._opened(), self.dialect, migration)

    def open_loader(self, job: Job) -> Loader:
        return FireboltLoader(self._opened(), _own_dialect(), self.stage(), job.migration)

    def open_applier(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Holder:
        return FireboltApplier(self._opened(), _own_dialect(), self.stage(), job, source, target)


def _own_dialect() -> FireboltDialect:
    return FireboltDialect(f"{uuid.uuid4().hex[:16]}_")


def _column(row: Sequence[Any]) -> Column:
    _, _, name, native, precision, scale, nullable, default = row
    if native.upper() in ("NUMERIC", "DECIMAL") and precision is not None:
        native = f"{native}({precision},{scale or 0})"
    return Column(
        name, DIALECT.types.read(native.upper()), nullable == "YES", default=Default.shown(default, "firebolt")
    )
