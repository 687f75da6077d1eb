"""What must be true of a SingleStore cluster before a migration works, each point with its own stable id."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Final

import pyarrow as pa

from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.singlestore.connection import (
    LEAST_LEVEL,
    SingleStoreSession,
    connect,
    conversion_level,
    make_ours,
)
from whimbrel.connectors.singlestore.dialect import DIALECT, SingleStoreDialect, dialect_of
from whimbrel.connectors.singlestore.stage import loading
from whimbrel.connectors.sql.ledger import SqlLedger
from whimbrel.connectors.sql.trials import RUN, TargetChecks, schemas_and_tables, trial_name
from whimbrel.connectors.verdicts import verdict
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

_LEAST: Final = (8, 0)
_YES: Final = ("1", "yes", "true", "on")
_NEEDED: Final = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER"


class SingleStoreChecks(TargetChecks):
    """See ``protocols.Checks``."""

    title = "SingleStore"

    def needed(self, endpoint: Endpoint, tables: Sequence[TableName]) -> Iterator[Statement]:
        return _statements(endpoint.parameters)

    def results(self, endpoint: Endpoint, changes: bool, tables: Sequence[TableName]) -> Iterator[CheckResult]:
        with closing(connect(endpoint.parameters, "checks")) as session:
            yield from _checks(session, endpoint.parameters)


def _statements(parameters: Mapping[str, Any]) -> Iterator[Statement]:
    """What an administrator runs once."""
    account = f"{DIALECT.literal(parameters['user'])}@'%'"
    database = parameters["database"]
    yield Statement(
        DIALECT.create_schema(database),
        f"the database {database}, for the tables and for our own that keep the progress; if it is there already, look "
        "at what the check singlestore.durability says of it",
    )
    yield Statement(
        f"GRANT {_NEEDED} ON {DIALECT.identifier(database)}.* TO {account}",
        "tables are made there, filled and compared",
    )
    yield Statement(
        f"GRANT PROCESS, SHOW METADATA ON *.* TO {account}", "sessions of a dead worker are found and ended"
    )
    yield Statement(
        "SET GLOBAL data_conversion_compatibility_level = '8.0'",
        "a value that does not fit is an error; look at the vendor's page 'Data Type Conversion' if there are computed "
        "columns",
    )


def _checks(session: SingleStoreSession, parameters: Mapping[str, Any]) -> Iterator[CheckResult]:
    told = str(session.query("SELECT @@memsql_version")[0][0])
    version = tuple(int(n) for n in told.split("-")[0].split(".") if n.isdigit())
    yield verdict(
        "singlestore.version",
        version >= _LEAST,
        f"the version is {told}",
        f"the version is {told}, and {'.'.join(map(str, _LEAST))} is the least",
        "Upgrade the cluster.",
    )
    level = conversion_level(session)
    yield verdict(
        "singlestore.conversion",
        level >= LEAST_LEVEL,
        "values that do not fit are errors",
        f"data_conversion_compatibility_level is {'.'.join(map(str, level))}: values that do not fit are cut",
        RUN,
    )
    there = {str(row[0]) for row in session.query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")}
    database = parameters["database"]
    yield from schemas_and_tables(session, "singlestore", database, [], there, DIALECT.identifier, "DATABASE")
    yield _durability(session, database, there=database in there)
    yield _processes(session)
    yield _one_transaction(session, parameters, there=database in there)


def _durability(session: SingleStoreSession, database: str, *, there: bool) -> CheckResult:
    """Position and rows are in different partitions, each with a log of its own."""
    sql = (
        "SELECT d.IS_SYNC_DURABILITY FROM information_schema.DISTRIBUTED_DATABASES d "  # noqa: S608
        f"WHERE d.DATABASE_NAME = {DIALECT.literal(database)}"
    )
    try:
        rows = session.query(sql)
    except WhimbrelError as e:
        if e.retryable:
            raise
        told = f"its durability cannot be seen: {e.message}"
    else:
        told = "its durability cannot be seen" if not rows else "it is made WITH ASYNC DURABILITY"
        if not there or (rows and str(rows[0][0]).lower() in _YES):
            told = ""
    return verdict(
        "singlestore.durability",
        not told,
        f"what is committed to the database {database} is on disk" if there else "the database is not there yet",
        f"the database {database}: {told}; if nodes lose their power, the progress may be kept and rows be lost",
        "Make the database WITH SYNC DURABILITY before the migration, or validate after any loss of power.",
        otherwise="warn",
    )


def _processes(session: SingleStoreSession) -> CheckResult:
    why = ""
    try:
        here = f"p.ID = {session.number} AND p.NODE_ID = {session.node}"
        if not session.query(f"SELECT p.ID FROM information_schema.MV_PROCESSLIST p WHERE {here}"):  # noqa: S608
            why = "not even this session is among them"
    except WhimbrelError as e:
        if e.retryable:
            raise
        why = e.message
    return verdict(
        "singlestore.processes",
        not why,
        "sessions of a dead worker can be found",
        f"the cluster's processes cannot be seen: {why}",
        RUN,
        otherwise="warn",
    )


def _one_transaction(session: SingleStoreSession, parameters: Mapping[str, Any], *, there: bool) -> CheckResult:
    """Whether a table and our own are written in one transaction; in a database that is made for it and dropped, where
    that of the migration is absent."""
    place = str(parameters["database"]) if there else trial_name()
    why = ""
    try:
        if not there:
            session.execute(DIALECT.create_schema(place))
        with closing(connect({**parameters, "database": place}, "checks")) as tried:
            why = _not_one(tried, dialect_of({**parameters, "database": place}))
    except WhimbrelError as e:
        if e.retryable:
            raise
        why = e.message
    finally:
        if not there:
            with suppress(WhimbrelError):
                session.execute(f"DROP DATABASE IF EXISTS {DIALECT.identifier(place)}")
    return verdict(
        "singlestore.one_transaction",
        not why,
        "rows and progress are kept or undone together",
        f"rows and progress are not kept in one transaction: {why}",
        RUN,
    )


def _not_one(session: SingleStoreSession, dialect: SingleStoreDialect) -> str:
    """Tried by what is sent later on: undone together, kept together, and the guard tells one from the other. What is
    wrong with it; '' for nothing. Raises WhimbrelError when it cannot be tried."""
    make_ours(session, dialect)
    made = [dialect.own(f"trial_{uuid.uuid4().hex[:12]}") for _ in range(2)]
    loaded, other = made
    try:
        for table in made:
            session.execute(f"CREATE TABLE {table} (a BIGINT NOT NULL, PRIMARY KEY (a), SHARD KEY (a))")
        for keep in (False, True):
            session.begin()
            session.load(loading(loaded, [("a", pa.int64())]), [memoryview(b"1\n")], loaded)
            session.execute(f"INSERT INTO {other} SELECT 1{dialect.no_table} WHERE {session.guard()}")
            if keep:
                session.commit()
            else:
                session.rollback()
            counts = [int(session.query(f"SELECT COUNT(*) FROM {table}")[0][0]) for table in made]  # noqa: S608
            if counts != [int(keep)] * 2:
                return f"after {'COMMIT' if keep else 'ROLLBACK'} the tables have {counts} rows"
        ledger = SqlLedger(session, dialect, trial_name())
        first = ledger.claim()
        second = ledger.claim()
        ledger.remove()
        return "" if second > first else "an owner of the progress is not told from the one before"
    finally:
        session.rollback()
        for table in made:
            with suppress(WhimbrelError):
                session.execute(f"DROP TABLE IF EXISTS {table}")


CHECKS: Final = SingleStoreChecks()
