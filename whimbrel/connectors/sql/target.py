"""The writing side of a server that takes files and SQL: ``protocols.Target`` over a dialect, sessions and a stage."""

from __future__ import annotations

import threading
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Literal

from whimbrel.connectors.protocols import Holder, Ledger, Loader, Pace, Rehearsal, Rendered
from whimbrel.connectors.sql import merge
from whimbrel.connectors.sql.applier import SqlApplier
from whimbrel.connectors.sql.definitions import convert, create_table, render
from whimbrel.connectors.sql.dialect import SqlDialect
from whimbrel.connectors.sql.differences import differences
from whimbrel.connectors.sql.ledger import SqlLedger
from whimbrel.connectors.sql.loader import SqlLoader
from whimbrel.connectors.sql.merge import Pair
from whimbrel.connectors.sql.scripts import statements
from whimbrel.connectors.sql.session import Session
from whimbrel.connectors.sql.stage import Stage
from whimbrel.errors import ConnectionRefused, TableMissing, WhimbrelError
from whimbrel.model.difference import Difference
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Table

IDLE_SECONDS = 60.0  # between stored positions without changes: each wakes a warehouse up
_IDLE_BATCHES = 12
_REHEARSED = 20  # tables that are made and taken back by a check; each takes a statement of some tenths of a second


class SqlTarget(ABC):
    """See ``protocols.Target``. Questions and DDL share one session, one statement at a time, as opening one takes a
    second; ledgers, loaders and appliers have sessions of their own."""

    finisher = None  # keys stand in CREATE TABLE; there is no index, no foreign key and no numbering
    dialect: SqlDialect
    progress: TableName = TableName("whimbrel", "progress")  # where the ledger stands, as the catalog writes it

    def __init__(self, endpoint: Endpoint, operation: str) -> None:
        self._endpoint, self._operation = endpoint, operation
        gather = float(endpoint.parameters.get("batch_seconds", self.dialect.capabilities.batch_seconds))
        self._lock = threading.RLock()
        self._shared: Session | None = None
        most = self.dialect.capabilities.batch_bytes
        self.pace = Pace(gather, min(IDLE_SECONDS, gather * _IDLE_BATCHES), most)

    @abstractmethod
    def connect(self) -> Session:
        """A new session. Raises a leaf of ConnectionRefused."""

    @abstractmethod
    def stage(self) -> Stage:
        """Where this operation's files come."""

    @abstractmethod
    def prepare(self, session: Session) -> None:
        """Make our schema and what is in it, where it is absent. Needs no right when all is there."""

    @abstractmethod
    def reflected(self, session: Session, names: Sequence[TableName]) -> Mapping[TableName, Table]:
        """Definitions of those that exist: columns with their types, and whether they take NULL."""

    @abstractmethod
    def at_work(self, job: Job) -> int | None: ...

    @abstractmethod
    def end_sessions(self, session: Session, job: Job) -> None:
        """End what other sessions of the operation have in hand, and wait until it is undone."""

    @contextmanager
    def _session(self) -> Iterator[Session]:
        """The shared session, opened when first needed and again after it was lost."""
        with self._lock:
            if self._shared is None:
                self._shared = self.connect()
            try:
                yield self._shared
            except WhimbrelError as e:
                if e.retryable:
                    self.close()
                raise

    def _opened(self) -> Session:
        session = self.connect()
        try:
            self.prepare(session)
        except BaseException:
            session.close()
            raise
        return session

    # --- definitions --------------------------------------------------------------------------------------------------

    def map_schemas(self, tables: Sequence[Table], job: Job, source_type: str) -> Mapping[str, str]:
        """A schema keeps its name, unless the endpoint names the one for all."""
        one = self._endpoint.parameters.get("schema")
        schemas = sorted({t.name.schema for t in tables} | set(job.schema_rename))
        return {s: job.schema_rename.get(s, one or s) for s in schemas}

    def render(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> Rendered:
        return render(self.dialect, convert(self.dialect, tables, schemas))

    def target_tables(self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str) -> tuple[Table, ...]:
        return convert(self.dialect, tables, schemas).tables

    def execute_script(self, sql: str) -> None:
        with self._session() as session:
            for statement in statements(sql):
                session.execute(statement)

    def reflect(self, names: Sequence[TableName]) -> tuple[Table, ...]:
        with self._session() as session:
            found = self.reflected(session, names)
        missing = [str(n) for n in names if n not in found]
        if missing:
            raise TableMissing(f"the target has no table {', '.join(missing[:20])}", tables=missing[:100])
        return tuple(found[n] for n in names)

    def existing(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        with self._session() as session:
            found = self.reflected(session, names)
        return tuple(n for n in names if n in found)

    def nonempty(self, names: Sequence[TableName]) -> tuple[TableName, ...]:
        with self._session() as session:
            there = self.reflected(session, names)
            return tuple(n for n in names if n in there and self._has_rows(session, n))

    def _has_rows(self, session: Session, name: TableName) -> bool:
        return bool(session.query(f"SELECT 1 FROM {self.dialect.qualified(name)} LIMIT 1"))  # noqa: S608

    def differences(self, tables: Sequence[Table]) -> tuple[Difference, ...]:
        with self._session() as session:
            there = self.reflected(session, [t.name for t in tables])
            return tuple(differences(tables, there, self.dialect.types.read))

    def stricter(self, source: Sequence[Table], target: Sequence[Table]) -> tuple[str, ...]:
        """Nothing that enforces no keys takes two rows for one."""
        return ()

    def rehearse(
        self, tables: Sequence[Table], schemas: Mapping[str, str], source_type: str, *, changes: bool
    ) -> Rehearsal:
        converted = convert(self.dialect, tables, schemas).tables
        refused: list[str] = []
        trial = f"trial_{uuid.uuid4().hex[:12]}"
        with self._session() as session:
            self.prepare(session)
            for number, (source, target) in enumerate(zip(tables[:_REHEARSED], converted, strict=False)):
                pair = Pair(number, source, target, self.dialect)
                made = self.dialect.own(trial)
                sql = create_table(self.dialect, target).replace(self.dialect.qualified(target.name), made, 1)
                try:
                    session.execute(sql)
                    if changes:
                        self._try_staging(session, pair)
                except ConnectionRefused:
                    raise
                except WhimbrelError as e:
                    if e.retryable:
                        raise
                    refused.append(f"{source.name}: {e.message}")
                finally:
                    with suppress(WhimbrelError):
                        session.execute(f"DROP TABLE IF EXISTS {made}")
        left = len(tables) - _REHEARSED
        return Rehearsal(tuple(refused), (), f"{left} tables not tested: too many" if left > 0 else "")

    def _try_staging(self, session: Session, pair: Pair) -> None:
        """Make a table's staging table, which ends with the session."""
        session.execute(merge.create_staging(pair))

    # --- loading and applying -----------------------------------------------------------------------------------------

    def ledger(self, migration: str) -> Ledger:
        return SqlLedger(self._opened(), self.dialect, migration)

    def has_ledger(self) -> bool:
        return bool(self.existing([self.progress]))

    def open_loader(self, job: Job) -> Loader:
        return SqlLoader(self._opened(), self.dialect, self.stage(), job.migration)

    def open_applier(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Holder:
        return SqlApplier(self._opened(), self.dialect, self.stage(), job, source, target)

    def open_holder(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Holder:
        return self.open_applier(job, source, target)

    # --- undoing ------------------------------------------------------------------------------------------------------

    def reset(self, names: Sequence[TableName], mode: Literal["drop", "truncate"]) -> tuple[int, int]:
        failed = 0
        with self._session() as session:
            there = self.reflected(session, names)
            for name in there:
                try:
                    table = self.dialect.qualified(name)
                    session.execute(f"DROP TABLE {table}" if mode == "drop" else self.dialect.truncate(table))
                except WhimbrelError as e:
                    if e.retryable or isinstance(e, ConnectionRefused):
                        raise
                    failed += 1
        return len(there) - failed, failed

    def cleanup(self, job: Job) -> None:
        with self._session() as session:
            self.prepare(session)
            self.end_sessions(session, job)
            self.stage().clear(session)

    def close(self) -> None:
        with self._lock:
            session, self._shared = self._shared, None
            if session is not None:
                session.close()
