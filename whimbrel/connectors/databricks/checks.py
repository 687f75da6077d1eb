"""What must be true of a Databricks workspace before a migration works, each point with its own stable id."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from whimbrel.connectors.databricks.config import OWN_SCHEMA, volume
from whimbrel.connectors.databricks.connection import DatabricksSession, connect
from whimbrel.connectors.databricks.dialect import DIALECT
from whimbrel.connectors.databricks.target import DatabricksTarget
from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.sql.trials import RUN, TargetChecks, schemas_and_tables, trial_name
from whimbrel.connectors.verdicts import schemas_of, verdict
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName


class DatabricksChecks(TargetChecks):
    """See ``protocols.Checks``."""

    title = "Databricks"

    def needed(self, endpoint: Endpoint, tables: Sequence[TableName]) -> Iterator[Statement]:
        return _statements(endpoint.parameters, tables)

    def results(self, endpoint: Endpoint, changes: bool, tables: Sequence[TableName]) -> Iterator[CheckResult]:
        with closing(connect(endpoint.parameters, "checks")) as session:
            yield from _checks(session, endpoint, changes, tables)


def _statements(parameters: Any, tables: Sequence[TableName]) -> Iterator[Statement]:
    """What an owner of the catalog runs once, for the principal that the endpoint logs in as."""
    quote = DIALECT.identifier
    catalog, who = quote(parameters["catalog"]), quote(parameters.get("client_id", "<user or service principal>"))
    own = f"{catalog}.{quote(OWN_SCHEMA)}"
    yield Statement(f"GRANT USE CATALOG, CREATE SCHEMA ON CATALOG {catalog} TO {who}", "schemas are made there")
    yield Statement(f"CREATE SCHEMA IF NOT EXISTS {own}", "the progress and the staged files are kept there")
    yield Statement(
        f"GRANT USE SCHEMA, CREATE TABLE, CREATE VOLUME, SELECT, MODIFY ON SCHEMA {own} TO {who}",
        "only where the schema belongs to somebody else",
    )
    _, _, its_catalog, its_schema, its_name = volume(parameters).split("/")
    where = ".".join(map(quote, (its_catalog, its_schema, its_name)))
    if "staging_volume" not in parameters:
        yield Statement(f"CREATE VOLUME IF NOT EXISTS {where}", "files are put there, loaded, and removed")
    yield Statement(
        f"GRANT READ VOLUME, WRITE VOLUME ON VOLUME {where} TO {who}", "only where the volume belongs to somebody else"
    )
    for schema in schemas_of(tables):
        name = parameters.get("schema", schema).lower()
        yield Statement(
            f"GRANT USE SCHEMA, CREATE TABLE, SELECT, MODIFY ON SCHEMA {catalog}.{quote(name)} TO {who}",
            "only where the schema is there already and belongs to somebody else",
        )


def _checks(
    session: DatabricksSession, endpoint: Endpoint, changes: bool, tables: Sequence[TableName]
) -> Iterator[CheckResult]:
    parameters = endpoint.parameters
    yield CheckResult("databricks.warehouse", "ok", "the warehouse runs statements")
    there = {str(row[0]) for row in session.query("SELECT schema_name FROM information_schema.schemata")}
    wanted = [parameters.get("schema", s).lower() for s in schemas_of(tables)]
    made = list(schemas_and_tables(session, "databricks", OWN_SCHEMA, wanted, there, DIALECT.identifier))
    yield from made
    if any(result.status == "fail" for result in made):
        return
    why = _staging_refusal(session, endpoint)
    yield verdict(
        "databricks.staging",
        not why,
        f"files can be put into {volume(parameters)}, read there and removed",
        f"a file cannot be put into {volume(parameters)}, read there and removed: {why}",
        f"{RUN} The machine of the worker must reach the storage of the volume, too.",
    )
    if changes:
        yield _transactions(session)


def _transactions(session: DatabricksSession) -> CheckResult:
    """Whether several statements can be one transaction: tried with two tables of ours that the catalog manages."""
    id, names = "databricks.transactions", [DIALECT.own(trial_name()) for _ in range(2)]
    try:
        for name in names:
            session.execute(f"CREATE TABLE {name} (a INT) TBLPROPERTIES ('delta.feature.catalogManaged' = 'supported')")
        inserts = " ".join(f"INSERT INTO {name} VALUES (1);" for name in names)  # noqa: S608
        session.execute(f"BEGIN ATOMIC {inserts} END")
        counted = [int(session.query(f"SELECT COUNT(*) FROM {name}")[0][0]) for name in names]  # noqa: S608
        able = counted == [1, 1]
    except WhimbrelError as e:
        if e.retryable:
            raise
        able = False
    finally:
        for name in names:
            with suppress(WhimbrelError):
                session.execute(f"DROP TABLE IF EXISTS {name}")
    has = "has" if able else "has no"
    return CheckResult(
        id,
        "ok",
        f"the workspace {has} transactions over several tables; changes are written table by table, the position after "
        "them",
    )


def _staging_refusal(session: DatabricksSession, endpoint: Endpoint) -> str:
    """Why a small file could not be put, read and removed; '' when it could."""
    target = DatabricksTarget(endpoint, "checks")
    try:
        target.prepare(session)
        stage, name = target.stage(), ""
        with tempfile.TemporaryDirectory(prefix="whimbrel-check-") as folder:
            file = Path(folder) / "trial.parquet"
            pq.write_table(pa.table({"a": [1]}), file)
            name = stage.put(session, file)
        try:
            session.query(f"SELECT a FROM {stage.rows(name)}")  # noqa: S608
        finally:
            stage.remove(session, name)
    except WhimbrelError as e:
        if e.retryable:
            raise
        return e.message
    finally:
        target.close()
    return ""


CHECKS: Final = DatabricksChecks()
