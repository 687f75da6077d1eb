"""The writing side of a project of BigQuery."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from google.api_core.exceptions import NotFound

from whimbrel.connectors.bigquery.applier import BigQueryApplier
from whimbrel.connectors.bigquery.config import own_dataset
from whimbrel.connectors.bigquery.connection import (
    REQUEST_SECONDS,
    RETRY,
    BigQuerySession,
    connect,
    job_prefix,
    mapped,
)
from whimbrel.connectors.bigquery.dialect import BigQueryDialect, is_dataset
from whimbrel.connectors.bigquery.ledger import PROGRESS, BigQueryLedger, make_dataset
from whimbrel.connectors.bigquery.loader import BigQueryLoader
from whimbrel.connectors.bigquery.stage import BigQueryStage
from whimbrel.connectors.protocols import Holder, Ledger, Loader, Rehearsal
from whimbrel.connectors.sql.session import Session
from whimbrel.connectors.sql.stage import Stage
from whimbrel.connectors.sql.target import SqlTarget
from whimbrel.errors import IdentifierRefused, InternalError, TargetInterrupted
from whimbrel.model.default import Default
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table

_GONE_SECONDS: Final = 60.0
_TYPES: Final = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}


class BigQueryTarget(SqlTarget):
    """See ``protocols.Target``."""

    dialect: BigQueryDialect

    def __init__(self, endpoint: Endpoint, operation: str) -> None:
        self.dialect = BigQueryDialect(own_dataset(endpoint.parameters))
        super().__init__(endpoint, operation)

    def connect(self) -> BigQuerySession:
        return connect(self._endpoint.parameters, self._operation)

    def stage(self) -> Stage:
        raise InternalError("BigQuery's files go by load jobs, see BigQueryStage")

    def prepare(self, session: Session) -> None:
        make_dataset(_ours(session))

    def map_schemas(self, tables: Sequence[Table], job: Job, source_type: str) -> Mapping[str, str]:
        """All schemas go to the endpoint's dataset, unless ``schema_rename`` names another one for some."""
        schemas = sorted({t.name.schema for t in tables} | set(job.schema_rename))
        mapped = {s: job.schema_rename.get(s, str(self._endpoint.parameters["dataset"])) for s in schemas}
        bad = sorted({d for d in mapped.values() if not is_dataset(d) or d == self.dialect.own_dataset})
        if bad:
            raise IdentifierRefused(
                f"{', '.join(bad)}: a dataset's name is of letters, digits and underscores, and not that of ours",
                names=bad,
            )
        return mapped

    def rehearse(
        self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str, *, changes: bool
    ) -> Rehearsal:
        """Staging tables are made by requests that the checks try."""
        return super().rehearse(tables, schemas, source_type, changes=False)

    def reflected(self, session: Session, names: Sequence[TableName]) -> Mapping[TableName, Table]:
        """By requests that cost nothing, where INFORMATION_SCHEMA bills ten megabytes a question."""
        found = {n: _definition(_ours(session), n) for n in dict.fromkeys(names) if is_dataset(n.schema)}
        return {n: table for n, table in found.items() if table is not None}

    # --- loading and applying -----------------------------------------------------------------------------------------

    def ledger(self, migration: str) -> Ledger:
        return BigQueryLedger(self.connect(), self.dialect, migration)

    def has_ledger(self) -> bool:
        """Each migration has tables of its own."""
        with self._session() as session, mapped():
            ours = _ours(session)
            try:
                tables = ours.client.list_tables(
                    f"{ours.project}.{ours.own_dataset}", retry=RETRY, timeout=REQUEST_SECONDS
                )
                return any(t.table_id.startswith(PROGRESS) for t in tables)
            except NotFound:
                return False

    def open_loader(self, job: Job) -> Loader:
        return BigQueryLoader(self._prepared(), self.dialect, BigQueryStage(self._operation), job)

    def open_applier(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Holder:
        stage = BigQueryStage(self._operation)
        return BigQueryApplier(self._prepared(), self.dialect, stage, job, source, target)

    def _prepared(self) -> BigQuerySession:
        return _ours(self._opened())

    # --- who is at work -----------------------------------------------------------------------------------------------

    def at_work(self, job: Job) -> int:
        """The operation's jobs that run or wait."""
        with closing(self.connect()) as session:
            return len(session.jobs(job_prefix(job.operation, "target")))

    def end_sessions(self, session: Session, job: Job) -> None:
        """A job is cancelled, or comes to its end: it has done all of its work then, or nothing."""
        ours, deadline = _ours(session), time.monotonic() + _GONE_SECONDS
        while found := ours.jobs(job_prefix(job.operation, "target")):
            if time.monotonic() > deadline:
                raise TargetInterrupted(f"jobs of operation {job.operation} do not end on the target")
            for id in found:
                ours.cancel_job(id)
            time.sleep(0.2)

    def cleanup(self, job: Job) -> None:
        with self._session() as session:
            self.end_sessions(session, job)
            BigQueryStage(job.operation).clear(_ours(session))


def _ours(session: Session) -> BigQuerySession:
    assert isinstance(session, BigQuerySession)
    return session


def _definition(session: BigQuerySession, name: TableName) -> Table | None:
    with mapped():
        try:
            table = session.client.get_table(
                f"{session.project}.{name.schema}.{name.table}", retry=RETRY, timeout=REQUEST_SECONDS
            )
        except NotFound:
            return None
    return Table(name, tuple(_columns(table.schema)))


def _columns(fields: Sequence[Any]) -> Iterator[Column]:
    types = BigQueryDialect.types
    for field in fields:
        native = _TYPES.get(field.field_type, field.field_type)
        if field.mode == "REPEATED":
            native = f"ARRAY OF {native}"
        elif field.max_length is not None:
            native = f"{native}({field.max_length})"
        elif field.precision is not None:
            native = f"{native}({field.precision},{field.scale or 0})"
        if collation := field.to_api_repr().get("collation"):  # which makes one key of 'A' and 'a'
            native = f"{native} COLLATE {collation}"
        default = field.default_value_expression
        yield Column(
            field.name,
            types.read(native),
            nullable=field.mode != "REQUIRED",
            default=Default.shown(default, "bigquery"),
        )
