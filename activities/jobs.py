"""From an operation's name to the job that the pipeline gets; the only place where secrets enter this process."""

from __future__ import annotations

from functools import cache
from typing import Any

from activities.masking import remember
from whimbrel.catalog.home import private_dir
from whimbrel.catalog.records import REPLICATING, EndpointRecord
from whimbrel.catalog.store import Catalog
from whimbrel.connectors.registry import engine
from whimbrel.errors import InvalidRequest
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName


@cache
def catalog() -> Catalog:
    """This process's catalog."""
    return Catalog.open()


def build_job(operation: str, migration: str) -> Job:
    """What the catalog says about it. Raises MigrationNotFound, SourceNotFound, TargetNotFound, InvalidRequest.

    Only operations that feed the queue get to know of it: a validation beside a replication, cleaning up behind itself,
    must not shut the replication's producer out.
    """
    record = catalog().get_migration(migration)
    feeds = catalog().get_operation(operation, detail=False).mode in REPLICATING
    queue = _endpoint(catalog().get_target(record.queue_target)) if record.queue_target and feeds else None
    target = _endpoint(catalog().get_target(record.file_target)) if record.file_target else queue
    if target is None:
        raise InvalidRequest(f"migration {migration} has no target for this operation", field="fileTarget")
    return Job(
        migration=record.name,
        operation=operation,
        source=_endpoint(catalog().get_source(record.source)),
        target=target,
        tables=tuple(TableName.parse(t) for t in record.tables),
        workdir=private_dir(catalog().workdir(record.name)),
        threads=record.threads,
        rows_per_file=record.rows_per_file,
        schema_rename=dict(record.schema_rename),
        verbose=record.log_detail == "verbose",
        queue=queue,
    )


def body(operation: str) -> dict[str, Any]:
    """The request's body, as the API recorded it."""
    return catalog().get_operation(operation, detail=False).body


def _endpoint(record: EndpointRecord) -> Endpoint:
    secret = engine(record.type).secret_parameters
    remember(str(v) for k, v in record.parameters.items() if k in secret and v)
    return Endpoint(record.name, record.type, record.parameters)
