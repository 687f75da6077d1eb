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
from whimbrel.connectors.firebolt.refusals import STAGE
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
    why = _transaction_refusal(session)
    yield verdict(
        "firebolt.transactions",
        not why,
        "a transaction sees what it has written, and leaves nothing when it is undone",
        f"transactions do not work as they must: {why}",
        "Use a version of Firebolt that has explicit transactions.",
    )
    why = _staging_refusal(session, endpoint)
    yield verdict("firebolt.staging", not why, "a file was brought to the engine and read", why, STAGE)


def _trial(schema: str) -> str:
    return f"{DIALECT.identifier(schema)}.{DIALECT.identifier(trial_name())}"


def _trial_schema() -> tuple[str, str]:
    name = DIALECT.identifier(trial_name())
    return f"CREATE SCHEMA {name}", f"DROP SCHEMA IF EXISTS {name}"


def _trial_table(schema: str) -> tuple[str, str]:
    name = _trial(schema)
    return f"CREATE TABLE {name} (a INTEGER NULL)", f"DROP TABLE IF EXISTS {name}"


def _transaction_refusal(session: FireboltSession) -> str:
    """What a transaction over a table of ours does that it must not; '' when it does as it must."""
    name = _trial(SCHEMA)
    count = f"SELECT COUNT(*) FROM {name}"  # noqa: S608
    try:
        session.execute(f"CREATE TABLE {name} (a INTEGER NULL)")
        session.begin()
        session.execute(f"INSERT INTO {name} VALUES (1)")  # noqa: S608
        seen = int(session.query(count)[0][0])
        session.rollback()
        left = int(session.query(count)[0][0])
    except WhimbrelError as e:
        if e.retryable:
            raise
        return e.message
    finally:
        session.rollback()
        with suppress(WhimbrelError):
            session.execute(f"DROP TABLE IF EXISTS {name}")
    if seen != 1:
        return "a transaction does not see its own rows"
    return "" if left == 0 else "what was undone is still there"


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
