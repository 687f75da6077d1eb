"""The writing side of one MySQL or MariaDB server."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Literal

import pymysql

from whimbrel.connectors.mysql.checks import rehearsal
from whimbrel.connectors.mysql.connection import (
    Session,
    at_work,
    connect,
    end_sessions,
    execute,
    mapped,
    qualified,
    query,
)
from whimbrel.connectors.mysql.locks import lock_holders_named
from whimbrel.connectors.mysql.refusals import server_refusal
from whimbrel.connectors.mysql.source import schema
from whimbrel.connectors.mysql.source.reading import MySQLSource
from whimbrel.connectors.mysql.target import ddl, script
from whimbrel.connectors.mysql.target import unique_keys as target_keys
from whimbrel.connectors.mysql.target.conversion import Conversion, convert
from whimbrel.connectors.mysql.target.dialect import Dialect, dialect_of
from whimbrel.connectors.mysql.target.finish import MySQLFinisher
from whimbrel.connectors.mysql.target.ledger import open_ledger
from whimbrel.connectors.mysql.target.load import MySQLLoader
from whimbrel.connectors.protocols import Applier, Holder, Ledger, Loader, Pace, Rehearsal, Rendered
from whimbrel.errors import TargetInterrupted
from whimbrel.model.difference import Difference
from whimbrel.model.job import Endpoint, Job, session_name
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

_PROGRESS = TableName("whimbrel", "progress")
_AT_ONCE = 200  # tables asked about in one statement
_DEFAULT_SCHEMAS = {"postgres": "public", "sqlserver": "dbo"}


class MySQLTarget:
    """See ``protocols.Target``. A database is a schema. Thread-safe: one session, one statement at a time."""

    pace = Pace()

    def __init__(self, endpoint: Endpoint, operation: str) -> None:
        self.endpoint, self.operation = endpoint, operation
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._dialect: Dialect | None = None
        self.finisher = MySQLFinisher(self._own_session)

    @property
    def session(self) -> Session:
        """The session for DDL and questions, opened when first needed and again after it was lost."""
        with self._lock:
            if self._session is None or not self._session.open:
                self._session = connect(self.endpoint.parameters, self.operation, role="target")
            return self._session

    @contextmanager
    def _own_session(self) -> Iterator[Session]:
        """For what may wait or take long: others can go on asking."""
        with (
            closing(connect(self.endpoint.parameters, self.operation, role="target")) as session,
            lock_holders_named(session),
        ):
            yield session

    @property
    def dialect(self) -> Dialect:
        with self._lock, mapped("target"):
            if self._dialect is None:
                self._dialect = dialect_of(self.session)
            return self._dialect

    def map_schemas(self, tables: Sequence[Table], job: Job, source_type: str) -> Mapping[str, str]:
        default, database = _DEFAULT_SCHEMAS.get(source_type), self.endpoint.parameters.get("database")
        return {
            schema_: job.schema_rename.get(schema_, database if database and schema_ == default else schema_)
            for schema_ in dict.fromkeys(t.name.schema for t in tables)
        }

    def render(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> Rendered:
        return ddl.render(self._convert(tables, schemas, source_type))

    def target_tables(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> tuple[Table, ...]:
        return tuple(self._convert(tables, schemas, source_type).tables)

    def _convert(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> Conversion:
        return convert(tables, schemas, source_type, self.dialect)

    def execute_script(self, sql: str) -> None:
        with self._lock:
            script.run_script(self.session, sql)

    def reflect(self, names: Sequence[TableName]) -> tuple[Table, ...]:
        """Its sessions are named as the target's others, so that whoever ends those ends these too."""
        with closing(MySQLSource(self.endpoint, session_name(self.operation, "target"))) as reader:
            return reader.reflect(names)

    def existing(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        wanted = {self._spelled(n): n for n in names}
        found: set[TableName] = set()
        with self._lock, mapped("target"):
            for schema_ in {n.schema for n in names}:
                sql = "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s"
                rows = query(self.session, sql, (schema_,))
                found |= {wanted[key] for row in rows if (key := self._spelled(TableName(*row))) in wanted}
        return tuple(n for n in names if n in found)

    def _spelled(self, name: TableName) -> str:
        return str(name).casefold() if self.dialect.folds_names else str(name)

    def nonempty(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        there = self.existing(names)
        filled: set[int] = set()
        with self._lock, mapped("target"):
            for start in range(0, len(there), _AT_ONCE):
                batch = there[start : start + _AT_ONCE]
                parts = (
                    f"(SELECT {start + n} FROM {qualified(name)} LIMIT 1)"  # noqa: S608 - quoted
                    for n, name in enumerate(batch)
                )
                filled |= {int(row[0]) for row in query(self.session, " UNION ALL ".join(parts))}
        return tuple(name for number, name in enumerate(there) if number in filled)

    def differences(self, tables: Sequence[Table]) -> tuple[Difference, ...]:
        there = self.existing([t.name for t in tables])
        with self._lock, mapped("target"):
            return ddl.differences(tables, schema.reflect(self.session, there) if there else ())

    def rehearse(
        self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str, *, changes: bool
    ) -> Rehearsal:
        targets = self.target_tables(tables, schemas, source_type)
        names = self.existing([t.name for t in targets])
        with closing(connect(self.endpoint.parameters, self.operation, role="target")) as session, mapped("target"):
            there = {t.name: t for t in schema.reflect(session, names)} if names else {}
            return rehearsal.rehearse(session, tables, targets, there, changes=changes)

    def stricter(self, source: Sequence[Table], target: Sequence[Table]) -> tuple[str, ...]:
        there = set(self.existing([t.name for t in target]))
        with self._lock, mapped("target"):
            pairs = [(s, t) for s, t in zip(source, target, strict=True) if t.name in there]
            return tuple(told for s, t in pairs for told in target_keys.stricter(self.session, s, t))

    def ledger(self, migration: str) -> Ledger:
        return open_ledger(self.endpoint.parameters, self.operation, migration)

    def has_ledger(self) -> bool:
        return bool(self.existing([_PROGRESS]))

    def open_loader(self, job: Job) -> Loader:
        return MySQLLoader(self.endpoint.parameters, job)

    def open_applier(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Applier:
        return self.open_holder(job, source, target)

    def open_holder(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Holder:
        from whimbrel.connectors.mysql.target.apply import MySQLApplier

        return MySQLApplier(self.endpoint.parameters, job, source, target)

    def reset(self, names: Sequence[TableName], mode: Literal["drop", "truncate"]) -> tuple[int, int]:
        done = failed = 0
        verb = "DROP TABLE" if mode == "drop" else "TRUNCATE TABLE"
        with closing(connect(self.endpoint.parameters, self.operation, role="target")) as session, mapped("target"):
            execute(session, "SET SESSION foreign_key_checks = 0")
            for name in self.existing(names):
                try:
                    execute(session, f"{verb} {qualified(name)}")
                except pymysql.MySQLError as e:
                    if isinstance(server_refusal(e, "target"), TargetInterrupted):
                        raise
                    failed += 1
                else:
                    done += 1
        return done, failed

    def at_work(self, job: Job) -> int:
        return at_work(self.endpoint.parameters, job.operation, "target")

    def cleanup(self, job: Job) -> None:
        """Staged tables are temporary, and go with the sessions."""
        self.close()
        end_sessions(self.endpoint.parameters, job.operation, "target")

    def close(self) -> None:
        with self._lock:
            if self._session is not None:
                self._session.close()
                self._session = None
