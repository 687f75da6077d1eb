"""What must be true of a Firebolt database before a migration works, each point with its own stable id."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from whimbrel.connectors.firebolt.config import is_core
from whimbrel.connectors.firebolt.connection import FireboltSession, connect
from whimbrel.connectors.firebolt.dialect import DIALECT, PREFIX, SCHEMA
from whimbrel.connectors.firebolt.refusals import STAGE, is_conflict
from whimbrel.connectors.firebolt.stage import stage_of
from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.sql.trials import RUN, TargetChecks, refusal, trial_name
from whimbrel.connectors.verdicts import offenders, schemas_of, verdict
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName


class FireboltChecks(TargetChecks):
    """See ``protocols.Checks``."""

    title = "Firebolt"

    def needed(self, endpoint: Endpoint, tables: Sequence[TableName]) -> Iterator[Statement]:
        return _statements(endpoint.parameters, tables)

    def results(self, endpoint: Endpoint, changes: bool, tables: Sequence[TableName]) -> Iterator[CheckResult]:
        with closing(connect(endpoint.parameters, "checks")) as session:
            yield from _checks(session, endpoint, tables)


def _statements(parameters: Any, tables: Sequence[TableName]) -> Iterator[Statement]:
    """What an account's administrator runs once, for the role of the service account's user; Core has no roles."""
    quote, database = DIALECT.identifier, DIALECT.identifier(parameters["database"])
    yield Statement(f"CREATE DATABASE IF NOT EXISTS {database}", "only where it is not there yet")
    if not is_core(parameters):
        engine, role = quote(parameters["engine"]), "<role of the service account's user>"
        yield Statement(f"GRANT USAGE ON ENGINE {engine} TO {role}", "all statements run on it")
        yield Statement(f"ALTER ENGINE {engine} SET AUTO_START = TRUE", "it wakes up when rows come")
        yield Statement(f"GRANT USAGE ON DATABASE {database} TO {role}", "tables are made in it")
        for schema in dict.fromkeys((SCHEMA, *_wanted(parameters, tables))):
            yield Statement(
                f"GRANT USAGE, CREATE ON SCHEMA {quote(schema)} TO {role}",
                f"tables are made there, and in {SCHEMA} those that keep the progress ({PREFIX}…)",
            )
    if "staging" in parameters:
        location, url = quote(parameters["staging_location"]), DIALECT.literal(parameters["staging"].rstrip("/") + "/")
        yield Statement(
            f"CREATE LOCATION IF NOT EXISTS {location} WITH SOURCE = 'AMAZON_S3' URL = {url} "
            "CREDENTIALS = (AWS_ROLE_ARN = '<role that may read there>')",
            "files are put into the bucket by us, and read from it by Firebolt",
        )


def _wanted(parameters: Any, tables: Sequence[TableName]) -> list[str]:
    return [parameters.get("schema", s) for s in schemas_of(tables)]


def _checks(session: FireboltSession, endpoint: Endpoint, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    yield CheckResult("firebolt.engine", "ok", "the engine runs statements")
    yield _looks(session)
    there = {str(row[0]) for row in session.query("SELECT schema_name FROM information_schema.schemata")} | {SCHEMA}
    wanted = list(dict.fromkeys(_wanted(endpoint.parameters, tables)))
    absent = [s for s in wanted if s not in there]
    why_not = refusal(session, *_trial_schema()) if absent else ""
    own = refusal(session, *_trial_table(SCHEMA))
    yield verdict(
        "firebolt.progress_tables",
        not own,
        f"tables can be made in {SCHEMA}, where those that keep the progress are",
        f"no table can be made in {SCHEMA}, where those that keep the progress are: {own}",
        RUN,
    )
    problems = [f"the schema {s} cannot be made: {why_not}" for s in absent if why_not]
    for schema in (s for s in wanted if s in there and s != SCHEMA):
        why = refusal(session, *_trial_table(schema))
        problems += [f"no table in schema {schema}: {why}"] if why else []
    yield offenders("firebolt.schema_create", problems, "tables can be made", "tables cannot be made", RUN)
    if own:
        return
    why = _transaction_refusal(session, endpoint)
    yield verdict(
        "firebolt.transactions",
        not why,
        "of two transactions that write one row one is undone, and nothing is left of what was undone or has ended",
        f"transactions do not work as they must: {why}",
        "Use a version of Firebolt that has explicit transactions.",
    )
    why = _staging_refusal(session, endpoint)
    yield verdict("firebolt.staging", not why, "a file was brought to the engine and read", why, STAGE)


def _looks(session: FireboltSession) -> CheckResult:
    """Whether it can be seen what runs, without which a target that is silent is not told from one that is at work."""
    why = ""
    try:
        session.running("whimbrel:")
    except WhimbrelError as e:
        if e.retryable:
            raise
        why = e.message
    return verdict(
        "firebolt.running_queries",
        not why,
        "statements that run can be seen",
        f"statements that run cannot be seen: {why}",
        "Let the user read information_schema.engine_running_queries.",
        otherwise="warn",
    )


def _trial(schema: str) -> str:
    return f"{DIALECT.identifier(schema)}.{DIALECT.identifier(trial_name())}"


def _trial_schema() -> tuple[str, str]:
    name = DIALECT.identifier(trial_name())
    return f"CREATE SCHEMA {name}", f"DROP SCHEMA IF EXISTS {name}"


def _trial_table(schema: str) -> tuple[str, str]:
    name = _trial(schema)
    return f"CREATE TABLE {name} (a INTEGER NULL)", f"DROP TABLE IF EXISTS {name}"


def _transaction_refusal(session: FireboltSession, endpoint: Endpoint) -> str:
    """What transactions over tables of ours do that they must not; '' when all is as the fence needs it."""
    name, other_name = _trial(SCHEMA), _trial(SCHEMA)
    try:
        session.execute(f"CREATE TABLE {name} (a INTEGER NOT NULL, b INTEGER NOT NULL)")
        session.execute(f"INSERT INTO {name} VALUES (1, 0)")  # noqa: S608
        with closing(connect(endpoint.parameters, "checks", bounded=True)) as other:
            return _own_rows(session, name, other_name) or _conflicts(session, other, name) or _dead_name(session, name)
    except WhimbrelError as e:
        if e.retryable and not _is_none(e):
            raise
        return e.message
    finally:
        session.rollback()
        for table in (name, other_name):
            with suppress(WhimbrelError):
                session.execute(f"DROP TABLE IF EXISTS {table}")


def _is_none(error: WhimbrelError) -> bool:
    """Whether an engine has no transactions at all."""
    return error.details.get("transactions") is False


def _own_rows(session: FireboltSession, name: str, other_name: str) -> str:
    """Whether a transaction sees what it wrote, and all of it is undone."""
    count = f"SELECT COUNT(*) FROM {name}"  # noqa: S608
    session.begin()
    session.execute(f"INSERT INTO {name} VALUES (2, 0)")  # noqa: S608
    session.execute(f"CREATE TABLE {other_name} (a INTEGER NULL)")
    seen = int(session.query(count)[0][0])
    session.rollback()
    if seen != 2:
        return "a transaction does not see its own rows"
    if int(session.query(count)[0][0]) != 1:
        return "rows of a transaction that was undone are still there"
    try:
        session.query(f"SELECT 1 FROM {other_name}")  # noqa: S608
    except WhimbrelError as e:
        if e.retryable:
            raise
        return ""
    return "a table that was made in a transaction that was undone is still there"


def _conflicts(session: FireboltSession, other: FireboltSession, name: str) -> str:
    """Whether of two that write one row one is undone, and of two that add rows none."""
    update, insert = f"UPDATE {name} SET b = b + 1 WHERE a = 1", f"INSERT INTO {name} VALUES (3, 0)"  # noqa: S608
    for write, meets in ((update, True), (insert, False)):
        undone = 0
        session.begin()
        other.begin()
        for one in (session, other):
            try:
                one.execute(write)
            except WhimbrelError as e:
                undone += _conflict(e)
                one.rollback()
        for one in (session, other):
            if one.in_transaction:
                try:
                    one.commit()
                except WhimbrelError as e:
                    undone += _conflict(e)
                    one.rollback()
        if undone != int(meets):
            return (
                "of two transactions that write one row both are kept, so that two workers could own one migration"
                if meets
                else "of two transactions that add rows to one table one is undone"
            )
    return ""


def _conflict(error: WhimbrelError) -> int:
    if not is_conflict(error):
        raise error
    return 1


def _dead_name(session: FireboltSession, name: str) -> str:
    """Whether a statement under the name of a transaction that has ended is refused."""
    session.begin()
    ended = session.name_of_transaction()
    session.rollback()
    if session.takes(f"INSERT INTO {name} VALUES (4, 0)", ended):  # noqa: S608
        return "a statement of a transaction that has ended runs by itself"
    return ""


def _staging_refusal(session: FireboltSession, endpoint: Endpoint) -> str:
    """Why a small file could not be brought there, read and removed; '' when it could."""
    stage, name = stage_of(endpoint.parameters, "checks"), _trial(SCHEMA)
    try:
        session.execute(f"CREATE TABLE {name} (a BIGINT NULL)")
        with tempfile.TemporaryDirectory(prefix="whimbrel-check-") as folder:
            file = Path(folder) / "trial.parquet"
            pq.write_table(pa.table({"a": [1]}), file)
            staged = stage.put(session, file)
        try:
            rows = stage.load(session, staged, name, ["a"])
        finally:
            stage.remove(session, staged)
    except WhimbrelError as e:
        if e.retryable:
            raise
        return f"a file cannot be brought to the engine and read there: {e.message}"
    finally:
        with suppress(WhimbrelError):
            session.execute(f"DROP TABLE IF EXISTS {name}")
    return "" if rows == 1 else f"of a file with one row {rows} came"


CHECKS: Final = FireboltChecks()
