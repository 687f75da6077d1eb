"""What must be true of a SingleStore cluster before a migration works, each point with its own stable id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Any, Final

import pyarrow as pa

from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.singlestore.connection import (
    LEAST_LEVEL,
    SingleStoreSession,
    connect,
    conversion_level,
)
from whimbrel.connectors.singlestore.dialect import DATABASE, DIALECT, OWN_OBJECTS
from whimbrel.connectors.singlestore.stage import loading
from whimbrel.connectors.sql.ledger import SqlLedger
from whimbrel.connectors.sql.trials import RUN, TargetChecks, schemas_and_tables, trial_name
from whimbrel.connectors.verdicts import schemas_of, verdict
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

_LEAST: Final = (8, 0)
_NEEDED: Final = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER"


class SingleStoreChecks(TargetChecks):
    """See ``protocols.Checks``."""

    title = "SingleStore"

    def needed(self, endpoint: Endpoint, tables: Sequence[TableName]) -> Iterator[Statement]:
        return _statements(endpoint.parameters, tables)

    def results(self, endpoint: Endpoint, changes: bool, tables: Sequence[TableName]) -> Iterator[CheckResult]:
        with closing(connect(endpoint.parameters, "checks")) as session:
            yield from _checks(session, tables)


def _statements(parameters: Any, tables: Sequence[TableName]) -> Iterator[Statement]:
    """What an administrator runs once."""
    account = f"{DIALECT.literal(parameters['user'])}@'%'"
    for name in (DATABASE, *schemas_of(tables)):
        database = DIALECT.identifier(name)
        why = "which keeps the progress" if name == DATABASE else "for the tables"
        yield Statement(DIALECT.create_schema(name), f"the database {name}, {why}")
        yield Statement(f"GRANT {_NEEDED} ON {database}.* TO {account}", "tables are made there, filled and compared")
    yield Statement(
        f"GRANT PROCESS, SHOW METADATA ON *.* TO {account}", "sessions of a dead worker are found and ended"
    )
    yield Statement(
        "SET GLOBAL data_conversion_compatibility_level = '8.0'",
        "a value that does not fit is an error; look at the vendor's page 'Data Type Conversion' if there are computed "
        "columns",
    )


def _checks(session: SingleStoreSession, tables: Sequence[TableName]) -> Iterator[CheckResult]:
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
    wanted = list(schemas_of(tables))
    yield from schemas_and_tables(session, "singlestore", DATABASE, wanted, there, DIALECT.identifier, "DATABASE")
    yield _processes(session)
    yield _one_transaction(session, next((s for s in wanted if s in there), None))


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


def _one_transaction(session: SingleStoreSession, database: str | None) -> CheckResult:
    """Whether a table of the migration and one of ours are written in one transaction, tried by what is sent later on:
    undone together, kept together, and the guard tells one from the other."""
    made: list[str] = []
    why = ""
    try:
        for statement in OWN_OBJECTS:
            session.execute(statement)
        for place in dict.fromkeys((database or DATABASE, DATABASE)):
            made.append(f"{DIALECT.identifier(place)}.{DIALECT.identifier(trial_name())}")
            session.execute(f"CREATE TABLE {made[-1]} (a BIGINT NOT NULL, PRIMARY KEY (a), SHARD KEY (a))")
        for keep in (False, True):
            session.begin()
            session.load(loading(made[0], [("a", pa.int64())]), [memoryview(b"1\n")], made[0])
            for table in made[1:]:
                session.execute(f"INSERT INTO {table} SELECT 1{DIALECT.no_table} WHERE {session.guard()}")
            if keep:
                session.commit()
            else:
                session.rollback()
            counts = [int(session.query(f"SELECT COUNT(*) FROM {table}")[0][0]) for table in made]  # noqa: S608
            if counts != [int(keep)] * len(made):
                why = f"after {'COMMIT' if keep else 'ROLLBACK'} the tables have {counts} rows"
                break
        ledger = SqlLedger(session, DIALECT, trial_name())
        if not why and ledger.claim() >= ledger.claim():
            why = "an owner of the progress is not told from the one before"
        ledger.remove()
    except WhimbrelError as e:
        if e.retryable:
            raise
        why = e.message
    finally:
        session.rollback()
        for table in made:
            with suppress(WhimbrelError):
                session.execute(f"DROP TABLE IF EXISTS {table}")
    return verdict(
        "singlestore.one_transaction",
        not why,
        "rows and progress are kept or undone together",
        f"rows and progress are not kept in one transaction: {why}",
        RUN,
    )


CHECKS: Final = SingleStoreChecks()
