"""The writing side of a SingleStore cluster or workspace."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

from whimbrel.connectors.protocols import Holder, Loader
from whimbrel.connectors.singlestore.connection import (
    CALLER,
    SingleStoreSession,
    connect,
    has_database,
    make_ours,
    require_strict,
)
from whimbrel.connectors.singlestore.dialect import DIALECT, PREFIX, TABLES, SingleStoreDialect, dialect_of
from whimbrel.connectors.singlestore.stage import SingleStoreStage
from whimbrel.connectors.sql.applier import SqlApplier
from whimbrel.connectors.sql.joins import put_by_joins
from whimbrel.connectors.sql.loader import SqlLoader
from whimbrel.connectors.sql.merge import Pair
from whimbrel.connectors.sql.scripts import statements
from whimbrel.connectors.sql.session import Session
from whimbrel.connectors.sql.stage import Stage
from whimbrel.connectors.sql.target import SqlTarget
from whimbrel.errors import IdentifierRefused, TableMissing, TargetInterrupted, ValueRefused, WhimbrelError
from whimbrel.model.default import Default
from whimbrel.model.expression import Expression
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Column, Table

_GONE_SECONDS: Final = 30.0
_COLUMNS: Final = (
    "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA "
    "FROM information_schema.COLUMNS"
)
_WIDTH: Final = re.compile(r"\A(tinyint|smallint|mediumint|int|bigint)\(\d+\)", re.IGNORECASE)  # of display
_SIGN: Final = re.compile(r"\A(.*?)(\s+unsigned)?(\s+zerofill)?\Z", re.IGNORECASE)
# Commands and states of a connection for which the server does not work: it waits for its client, or for nothing.
_IDLE: Final = ("sleep", "daemon")
_FOR_CLIENT: Final = ("writing to net", "sending to client", "reading from net", "receiving from client")


class SingleStoreLoader(SqlLoader):
    """Puts by joins, as there is no MERGE."""

    _stage: SingleStoreStage

    def _loaded(self, pair: Pair, name: str, *, staged: bool, replacing: bool) -> int:
        self._stage.expect(pair.columns)
        with _named(pair):
            return super()._loaded(pair, name, staged=staged, replacing=replacing)

    def _put(self, pair: Pair) -> int:
        return put_by_joins(self._session, pair, pair.loading, removing=False)


class SingleStoreApplier(SqlApplier):
    """Puts by joins, as there is no MERGE."""

    _stage: SingleStoreStage

    def _load(self, pair: Pair, batch: Any, into: str) -> None:
        self._stage.expect(pair.columns)
        with _named(pair):
            super()._load(pair, batch, into)

    def _put(self, pair: Pair) -> int:
        with _named(pair):
            return put_by_joins(self._session, pair, pair.staging, removing=True)


@contextmanager
def _named(pair: Pair) -> Iterator[None]:
    """What the server refuses inside the block is of this table, which its errors do not say."""
    try:
        yield
    except ValueRefused as e:
        name = str(pair.target.name)
        if e.extra.get("table") == name:
            raise
        raise ValueRefused(f"{name}: {e.message}", remedy=e.how_to_fix, **{**e.extra, "table": name}) from e


class SingleStoreTarget(SqlTarget):
    """See ``protocols.Target``."""

    dialect: SingleStoreDialect

    def __init__(self, endpoint: Endpoint, operation: str) -> None:
        self.dialect = dialect_of(endpoint.parameters)
        self._database = self.dialect.database
        self.progress = TableName(self._database, f"{PREFIX}progress")
        super().__init__(endpoint, operation)

    def connect(self) -> SingleStoreSession:
        session = connect(self._endpoint.parameters, self._operation)
        try:
            session.tell()
        except BaseException:
            session.close()
            raise
        return session

    def stage(self) -> Stage:
        return SingleStoreStage()

    def prepare(self, session: Session) -> None:
        assert isinstance(session, SingleStoreSession)
        database = DIALECT.literal(self._database)
        there = session.query(f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {database}")  # noqa: S608
        if not {PREFIX + name for name in TABLES} <= {str(row[0]) for row in there}:
            make_ours(session, self.dialect)
        session.execute(f"USE {DIALECT.identifier(self._database)}")
        session.tell()

    def execute_script(self, sql: str) -> None:
        with self._session() as session:
            for statement in statements(sql):
                ours = statement.rstrip("; \n") == self.dialect.create_schema(self._database)
                if not (ours and has_database(session, self._database)):
                    session.execute(statement)

    def map_schemas(self, tables: Sequence[Table], job: Job, source_type: str) -> Mapping[str, str]:
        """All schemas become the endpoint's database: SingleStore has none below it, and writes to one database in a
        transaction. Raises IdentifierRefused for a schema that is to have another one."""
        elsewhere = [f"{s} -> {name}" for s, name in sorted(job.schema_rename.items()) if name != self._database]
        if elsewhere:
            raise IdentifierRefused(
                f"schema_rename: {', '.join(elsewhere[:20])}: everything goes to the database {self._database}, as a "
                "transaction of SingleStore does not write to two",
                remedy=f"Rename these schemas to {self._database} or not at all, or give them a migration of their own "
                "with another target.",
                names=elsewhere[:100],
            )
        return dict.fromkeys(sorted({t.name.schema for t in tables} | set(job.schema_rename)), self._database)

    def reflected(self, session: Session, names: Sequence[TableName]) -> Mapping[TableName, Table]:
        if not names:
            return {}
        schemas = ", ".join(DIALECT.literal(s) for s in sorted({n.schema for n in names}))
        columns: dict[TableName, list[Column]] = {}
        for row in session.query(f"{_COLUMNS} WHERE TABLE_SCHEMA IN ({schemas}) ORDER BY 1, 2, ORDINAL_POSITION"):
            columns.setdefault(TableName(str(row[0]), str(row[1])), []).append(_column(row))
        return {n: Table(n, tuple(columns[n])) for n in names if n in columns}

    def open_loader(self, job: Job) -> Loader:
        return SingleStoreLoader(self._strict(), self.dialect, self.stage(), job.migration)

    def open_applier(self, job: Job, source: Sequence[Table], target: Sequence[Table]) -> Holder:
        return SingleStoreApplier(self._strict(), self.dialect, self.stage(), job, source, target)

    def _strict(self) -> Session:
        session = self._opened()
        try:
            require_strict(session)
        except BaseException:
            session.close()
            raise
        return session

    # --- sessions -----------------------------------------------------------------------------------------------------

    def at_work(self, job: Job) -> int:
        with closing(self.connect()) as session:
            return sum(
                str(command).lower() not in _IDLE and str(state or "").lower() not in _FOR_CLIENT
                for _, _, command, state in _processes(session, job)
            )

    def end_sessions(self, session: Session, job: Job) -> None:
        assert isinstance(session, SingleStoreSession)
        deadline = time.monotonic() + _GONE_SECONDS
        while found := _processes(session, job):
            if time.monotonic() > deadline:
                raise TargetInterrupted(f"sessions of operation {job.operation} do not end on the target")
            for number, node, *_ in found:
                try:
                    session.execute(f"KILL CONNECTION {number} {node}")
                except WhimbrelError as e:
                    if e.extra.get("errno") != _NO_THREAD:
                        raise
            time.sleep(0.05)
        own = f"node = {session.node} AND process_id = {session.number}"
        others = f"operation = {DIALECT.literal(job.operation)} AND NOT ({own})"
        session.execute(f"DELETE FROM {session.sessions} WHERE {others}")  # noqa: S608


_NO_THREAD: Final = 1094  # it has ended meanwhile


def _processes(session: SingleStoreSession, job: Job) -> list[tuple[int, int, Any, Any]]:
    """Number, node, command and state of the operation's other connections, on whatever aggregator. Each counts for
    itself, and from the beginning when it starts again, so account and address of the connection must be those that
    were noted, and the name that it gave when it came that of the operation, where the server tells that."""
    try:
        noted = session.query(
            f"SELECT process_id, node, address FROM {session.sessions} "  # noqa: S608
            f"WHERE operation = {DIALECT.literal(job.operation)} AND side = 'target'"
        )
    except TableMissing:
        return []  # nobody has been here
    ours = {(int(number), int(node), str(host)) for number, node, host in noted}
    ours = {who for who in ours if who[:2] != (session.number, session.node)}
    if not ours:
        return []
    running = session.query(
        f"SELECT p.ID, p.NODE_ID, p.COMMAND, p.STATE, {CALLER} FROM information_schema.MV_PROCESSLIST p "  # noqa: S608
        f"WHERE p.ID IN ({', '.join(str(who[0]) for who in ours)})"
    )
    found = [
        (int(number), int(node), command, state)
        for number, node, command, state, host in running
        if (int(number), int(node), str(host)) in ours
    ]
    named = session.named([who[:2] for who in found], job.operation) if found else None
    return found if named is None else [who for who in found if who[:2] in named]


def _column(row: Sequence[Any]) -> Column:
    _, _, name, declared, nullable, default, extra = row
    computed = "computed" in str(extra).lower() or "generated" in str(extra).lower()
    return Column(
        str(name),
        DIALECT.types.read(_native(str(declared))),
        nullable=str(nullable) == "YES",
        default=Default.shown(default, "singlestore"),
        generated=Expression("computed", "singlestore") if computed else None,
    )


def _native(declared: str) -> str:
    """``bigint(20) unsigned`` -> ``BIGINT UNSIGNED``; ``varchar(40)`` -> ``VARCHAR(40)``."""
    found = _SIGN.match(_WIDTH.sub(r"\1", declared))
    base, unsigned = (found[1], found[2]) if found else (declared, None)
    return f"{base.upper()}{' UNSIGNED' if unsigned else ''}"
