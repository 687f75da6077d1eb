"""What must be true of a project of BigQuery before a migration works, each point with its own stable id."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from whimbrel.connectors.bigquery.config import own_dataset
from whimbrel.connectors.bigquery.connection import REQUEST_SECONDS, RETRY, BigQuerySession, connect, mapped
from whimbrel.connectors.bigquery.dialect import DIALECT
from whimbrel.connectors.bigquery.ledger import make_dataset
from whimbrel.connectors.bigquery.stage import BigQueryStage
from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.sql.trials import RUN, TargetChecks, schemas_and_tables, trial_name
from whimbrel.connectors.verdicts import offenders, verdict
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

_WHO: Final = "<service account>"


class BigQueryChecks(TargetChecks):
    """See ``protocols.Checks``."""

    title = "BigQuery"

    def needed(self, endpoint: Endpoint, tables: Sequence[TableName]) -> Iterator[Statement]:
        return _statements(endpoint.parameters)

    def results(self, endpoint: Endpoint, changes: bool, tables: Sequence[TableName]) -> Iterator[CheckResult]:
        with closing(connect(endpoint.parameters, "checks")) as session:
            yield from _checks(session)


def _statements(parameters: Mapping[str, Any]) -> Iterator[Statement]:
    """What an administrator of the project runs once; the first by gcloud, the others as SQL."""
    project, dataset, own = parameters["project"], parameters["dataset"], own_dataset(parameters)
    who = _account(parameters)
    where = f" OPTIONS (location = {DIALECT.literal(parameters['location'])})" if "location" in parameters else ""
    yield Statement(
        f"gcloud projects add-iam-policy-binding {project} --member='serviceAccount:{who}' "
        "--role=roles/bigquery.jobUser",
        "jobs are run in the project: loads, scripts, questions",
    )
    for name, why in ((dataset, "tables are made and written there"), (own, "progress and staged rows are kept there")):
        yield Statement(f"CREATE SCHEMA IF NOT EXISTS {DIALECT.identifier(name)}{where}", why)
        yield Statement(
            f"GRANT `roles/bigquery.dataEditor` ON SCHEMA {DIALECT.identifier(name)} TO 'serviceAccount:{who}'", why
        )


def _account(parameters: Mapping[str, Any]) -> str:
    """Who a key is of: the one thing in it that is no secret."""
    try:
        found = json.loads(parameters.get("credentials_json", "{}"))
    except ValueError:
        return _WHO
    return str(found.get("client_email") or _WHO) if isinstance(found, dict) else _WHO


def _checks(session: BigQuerySession) -> Iterator[CheckResult]:
    yield CheckResult("bigquery.dataset", "ok", f"the dataset {session.dataset} is there, in {session.location}")
    why = _tried(lambda: session.query("SELECT 1"))
    yield verdict("bigquery.jobs", not why, "jobs can be run", f"no job can be run: {why}", RUN)
    if why:
        return
    with mapped():
        there = {d.dataset_id for d in session.client.list_datasets(retry=RETRY, timeout=REQUEST_SECONDS)}
        collated = [
            name for name in (session.dataset, session.own_dataset) if name in there and _collation(session, name)
        ]
    yield offenders(
        "bigquery.collation",
        collated,
        "texts are compared as they are",
        "texts that differ in case only would be one key, as the default collation is und:ci, in datasets",
        "ALTER SCHEMA … SET DEFAULT COLLATE '', and make the tables in it again.",
    )
    results = list(
        schemas_and_tables(session, "bigquery", session.own_dataset, [session.dataset], there, DIALECT.identifier)
    )
    yield from results
    if all(r.status == "ok" for r in results):
        why = _tried(lambda: _staging(session))
        yield verdict(
            "bigquery.staging",
            not why,
            f"files can be loaded into tables of {session.own_dataset}, which are dropped again",
            f"files cannot be loaded into {session.own_dataset}: {why}",
            RUN,
        )


def _collation(session: BigQuerySession, dataset: str) -> str:
    """What tables that are made in it get; '' where texts are what they are."""
    name = f"{session.project}.{dataset}"
    found = session.client.get_dataset(name, retry=RETRY, timeout=REQUEST_SECONDS)
    return str(found.to_api_repr().get("defaultCollation") or "")


def _tried(work: Any) -> str:
    try:
        work()
    except WhimbrelError as e:
        if e.retryable:
            raise
        return e.message
    return ""


def _staging(session: BigQuerySession) -> None:
    """A row in a file, loaded into a table of ours."""
    make_dataset(session)
    stage, columns = BigQueryStage(trial_name()), [("a", "INT64")]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trial.parquet"
        pq.write_table(pa.table({"a": [1]}), file)
        table = stage.make(session, columns)
        try:
            stage.load(session, file, table, columns)
        finally:
            stage.remove(session, table)


CHECKS: Final = BigQueryChecks()
