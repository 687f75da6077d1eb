"""The writing side of a PostgreSQL server."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Literal

from whimbrel.connectors.postgres.checks import rehearsal
from whimbrel.connectors.postgres.connection import at_work, connect, mapped
from whimbrel.connectors.postgres.locks import lock_holders_named
from whimbrel.connectors.postgres.source.reading import PostgresSource
from whimbrel.connectors.postgres.source.reflection import Connection
from whimbrel.connectors.postgres.target import ddl, inventory, pairs, scripts
from whimbrel.connectors.postgres.target.convert import convert
from whimbrel.connectors.postgres.target.finish import PostgresFinisher
from whimbrel.connectors.postgres.target.ledger import open_ledger
from whimbrel.connectors.postgres.target.load import PostgresLoader
from whimbrel.connectors.protocols import Applier, Holder, Ledger, Loader, Pace, Rehearsal, Rendered
from whimbrel.errors import TargetInterrupted
from whimbrel.model.difference import Difference
from whimbrel.model.job import Endpoint, Job, session_name
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

_PROGRESS = TableName("whimbrel", "progress")
_VIRTUAL_COLUMNS_SINCE = 180000
_GONE_SECONDS = 30.0


class PostgresTarget:
    """See protocols.Target. Each call opens a connection of its own, so that calls may come from any thread."""

    pace = Pace()

    def __init__(self, endpoint: Endpoint, operation: str) -> None:
        self._endpoint = endpoint
        self._operation = operation
        self.finisher = PostgresFinisher(self._session)

    def _connect(self) -> Connection:
        return connect(self._endpoint.parameters, self._operation, role="target")

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        with closing(self._connect()) as connection, lock_holders_named(connection), mapped("target"):
            yield connection

    def map_schemas(self, tables: Sequence[Table], job: Job, source_type: str) -> Mapping[str, str]:
        """A schema keeps its name; a MySQL database becomes the schema of that name."""
        schemas = sorted({t.name.schema for t in tables} | set(job.schema_rename))
        return {s: job.schema_rename.get(s, s) for s in schemas}

    def render(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> Rendered:
        converted = convert(tables, schemas, source_type)
        with self._session() as connection:
            virtual = connection.info.server_version >= _VIRTUAL_COLUMNS_SINCE
        return ddl.render(converted, virtual_columns=virtual)

    def target_tables(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> tuple[Table, ...]:
        return convert(tables, schemas, source_type).tables

    def execute_script(self, sql: str) -> None:
        with self._session() as connection:
            scripts.execute(connection, sql)

    def reflect(self, names: Sequence[TableName]) -> tuple[Table, ...]:
        """Its sessions are named as the target's others, so that whoever ends those ends these too."""
        with closing(PostgresSource(self._endpoint, session_name(self._operation, "target"))) as reader:
            return reader.reflect(names)

    def existing(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        with self._session() as connection:
            return inventory.existing(connection, names)

    def nonempty(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        with self._session() as connection:
            return inventory.nonempty(connection, names)

    def differences(self, tables: Sequence[Table]) -> tuple[Difference, ...]:
        with self._session() as connection:
            return inventory.differences(connection, tables)

    def rehearse(
        self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str, *, changes: bool
    ) -> Rehearsal:
        with self._session() as connection:
            there = inventory.existing(connection, [t.name.renamed(schemas) for t in tables])
            virtual = connection.info.server_version >= _VIRTUAL_COLUMNS_SINCE
            return rehearsal.rehearse(
                *(connection, tables, schemas, source_type, there), virtual_columns=virtual, changes=changes
            )

    def stricter(self, source: Sequence[Table], target: Sequence[Table]) -> tuple[str, ...]:
        with self._session() as connection:
            there = set(inventory.existing(connection, [t.name for t in target]))
            both = [(s, t) for s, t in zip(source, target, strict=True) if t.name in there]
            return tuple(pairs.stricter(connection, [s for s, _ in both], [t for _, t in both]))

    def ledger(self, migration: str) -> Ledger:
        return open_ledger(self._connect(), self._operation, migration)

    def has_ledger(self) -> bool:
        return bool(self.existing([_PROGRESS]))

    def open_loader(self, job: Job) -> Loader:
        return PostgresLoader(self._connect(), job.migration)

    def open_applier(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Applier:
        return self.open_holder(job, source, target)

    def open_holder(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Holder:
        from whimbrel.connectors.postgres.target.apply import open_applier

        return open_applier(self._endpoint, job, source, target)

    def reset(self, names: Sequence[TableName], mode: Literal["drop", "truncate"]) -> tuple[int, int]:
        with self._session() as connection:
            return inventory.reset(connection, names, mode)

    def at_work(self, job: Job) -> int:
        return at_work(self._endpoint.parameters, job.operation, "target")

    def cleanup(self, job: Job) -> None:
        """What was staged lives in temporary tables, which go with their connection."""
        with self._session() as connection:
            deadline = time.monotonic() + _GONE_SECONDS
            while _terminate_others(connection, job.operation):
                if time.monotonic() > deadline:
                    raise TargetInterrupted(f"sessions of operation {job.operation} do not end on the target")
                time.sleep(0.05)

    def close(self) -> None:
        """Nothing is kept open between calls."""


def _terminate_others(connection: Connection, operation: str) -> int:
    """Ask the other sessions of this operation in this database to end; how many there were."""
    found = connection.execute(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where application_name = %s and datname = current_database() and pid <> pg_backend_pid()",
        [f"whimbrel:{session_name(operation, 'target')}"],
    ).fetchone()
    return int(found[0]) if found else 0
