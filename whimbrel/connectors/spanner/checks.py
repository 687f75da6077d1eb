"""What must be true of a database of Spanner before a migration works, each point with its own stable id."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, Final

from google.cloud.spanner_admin_database_v1 import types as admin
from google.iam.v1 import iam_policy_pb2

from whimbrel.connectors.protocols import CheckResult, Statement
from whimbrel.connectors.spanner.config import DEFAULT_SCHEMA
from whimbrel.connectors.spanner.connection import ERRORS, REQUEST_SECONDS, SpannerSession, Transaction, connect
from whimbrel.connectors.spanner.dialect import DIALECT, OWN
from whimbrel.connectors.spanner.ledger import prepare
from whimbrel.connectors.spanner.mutations import delete_all
from whimbrel.connectors.spanner.refusals import code_of
from whimbrel.connectors.sql.trials import RUN, TargetChecks, trial_name
from whimbrel.connectors.verdicts import offenders, verdict
from whimbrel.errors import WhimbrelError
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

_WHO: Final = "<service account>"
_NEEDED: Final = (
    "spanner.databases.select",
    "spanner.databases.read",
    "spanner.databases.write",
    "spanner.databases.updateDdl",
    "spanner.databases.beginOrRollbackReadWriteTransaction",
    "spanner.sessions.create",
    "spanner.sessions.delete",
)


class SpannerChecks(TargetChecks):
    """See ``protocols.Checks``."""

    title = "Spanner"

    def needed(self, endpoint: Endpoint, tables: Sequence[TableName]) -> Iterator[Statement]:
        """What an administrator of the project runs once."""
        parameters = endpoint.parameters
        where = f"--instance={parameters['instance']} --project={parameters['project']}"
        yield Statement(
            f"gcloud spanner databases create {parameters['database']} {where} --database-dialect=GOOGLE_STANDARD_SQL",
            "tables are made and written there, unless the database is there already",
        )
        yield Statement(
            f"gcloud spanner databases add-iam-policy-binding {parameters['database']} {where} "
            f"--member='serviceAccount:{_account(parameters)}' --role=roles/spanner.databaseUser",
            "rows and definitions are read and written, and progress is kept in the schema whimbrel",
        )

    def results(self, endpoint: Endpoint, changes: bool, tables: Sequence[TableName]) -> Iterator[CheckResult]:
        with closing(connect(endpoint.parameters, "checks")) as session:
            yield _state(session)
            yield _permissions(session)
            yield from _trials(session, tables)


def _account(parameters: Mapping[str, Any]) -> str:
    """Who a key is of: the one thing in it that is no secret."""
    try:
        found = json.loads(parameters.get("credentials_json", "{}"))
    except ValueError:
        return _WHO
    return str(found.get("client_email") or _WHO) if isinstance(found, dict) else _WHO


def _state(session: SpannerSession) -> CheckResult:
    """A database that is being restored is read at half its speed."""
    id = "spanner.database"
    request = admin.GetDatabaseRequest(name=session.path)
    try:
        found = session.admin.get_database(request, timeout=REQUEST_SECONDS, metadata=session._metadata)
    except ERRORS:  # to see it is a right of its own; that it answers is known
        return CheckResult(id, "ok", f"the database {session.path} answers, and speaks GoogleSQL")
    state = admin.Database.State(found.state).name
    return verdict(
        id,
        state in ("READY", "READY_OPTIMIZING"),
        f"the database {session.path} is there, ready, and speaks GoogleSQL",
        f"the database {session.path} is {state.lower()}",
        "Wait until it is ready.",
    )


def _permissions(session: SpannerSession) -> CheckResult:
    id = "spanner.permissions"
    request = iam_policy_pb2.TestIamPermissionsRequest(resource=session.path, permissions=_NEEDED)
    try:
        found = session.admin.test_iam_permissions(request, timeout=REQUEST_SECONDS, metadata=session._metadata)
    except ERRORS as e:
        if code_of(e) == "UNIMPLEMENTED":
            return CheckResult(id, "warn", "what the account may do cannot be asked of an emulator", "Nothing there.")
        return CheckResult(id, "warn", f"what the account may do could not be asked ({code_of(e)})", RUN)
    missing = [p for p in _NEEDED if p not in set(found.permissions)]
    return offenders(id, missing, "the account may do all that is needed", "the account may not", RUN)


def _trials(session: SpannerSession, tables: Sequence[TableName]) -> Iterator[CheckResult]:
    why = _tried(lambda: prepare(session, DIALECT))
    yield verdict(
        "spanner.progress_schema",
        not why,
        f"the schema {OWN}, which keeps the progress, is there",
        f"the schema {OWN}, which keeps the progress, cannot be made: {why}",
        RUN,
    )
    if why:
        return
    schemas = [OWN, *(s for s in dict.fromkeys(t.schema for t in tables) if s != DEFAULT_SCHEMA)]
    there = {str(row[0]) for row in session.query("SELECT schema_name FROM information_schema.schemata")}
    made = [TableName(s, trial_name()) for s in schemas if s in there]
    problem = _tried(lambda: _rows(session, made))
    with suppress(WhimbrelError):
        session.define([f"DROP TABLE IF EXISTS {DIALECT.qualified(name)}" for name in made])
    yield verdict(
        "spanner.tables",
        not problem,
        "tables can be made and dropped, and rows written and removed",
        f"tables cannot be made, or not be written to: {problem}",
        RUN,
    )


def _rows(session: SpannerSession, made: Sequence[TableName]) -> None:
    session.define([f"CREATE TABLE {DIALECT.qualified(name)} (a INT64) PRIMARY KEY (a)" for name in made])
    name = made[0]

    def work(transaction: Transaction) -> Iterable[bytes]:
        transaction.run([f"INSERT INTO {DIALECT.qualified(name)} (a) VALUES (1)"])  # noqa: S608
        return [delete_all(f"{name.schema}.{name.table}")]

    session.transact(work)


def _tried(work: Any) -> str:
    try:
        work()
    except WhimbrelError as e:
        if e.retryable:
            raise
        return e.message
    return ""


CHECKS: Final = SpannerChecks()
