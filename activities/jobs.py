"""From an operation's name to the job that the pipeline gets; the only place where secrets enter this process."""

from __future__ import annotations

import socket
import threading
from functools import cache
from typing import Any

from activities.masking import remember
from whimbrel.catalog.home import private_dir
from whimbrel.catalog.records import REPLICATING, EndpointRecord, OperationRecord
from whimbrel.catalog.store import Catalog
from whimbrel.connectors.registry import engine
from whimbrel.errors import CatalogDiffers, InvalidRequest, OperationNotFound
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.files import require_unlinked

_opening = threading.Lock()


def catalog() -> Catalog:
    """This process's catalog. Opened once, however many activities ask for it first."""
    with _opening:
        return _catalog()


@cache
def _catalog() -> Catalog:
    return Catalog.open()


def build_job(operation: str, migration: str) -> Job:
    """What the catalog says about it.

    Raises MigrationNotFound, SourceNotFound, TargetNotFound, InvalidRequest, CatalogDiffers.

    Only operations that feed the queue get to know of it: a validation beside a replication, cleaning up behind itself,
    must not shut the replication's producer out.
    """
    feeds = known(operation).mode in REPLICATING
    record = catalog().get_migration(migration)
    queue = _endpoint(catalog().get_target(record.queue_target)) if record.queue_target and feeds else None
    target = _endpoint(catalog().get_target(record.file_target)) if record.file_target else queue
    if target is None:
        raise InvalidRequest(f"migration {migration} has no target for this operation", field="fileTarget")
    workdir = catalog().workdir(record.name)
    require_unlinked(workdir)
    return Job(
        migration=record.name,
        operation=operation,
        source=_endpoint(catalog().get_source(record.source)),
        target=target,
        tables=tuple(TableName.parse(t) for t in record.tables),
        workdir=private_dir(workdir),
        threads=record.threads,
        rows_per_file=record.rows_per_file,
        schema_rename=dict(record.schema_rename),
        case=record.case,
        column_types=dict(record.column_types),
        value_policy=record.value_policy,
        verbose=record.log_detail == "verbose",
        queue=queue,
    )


def known(operation: str) -> OperationRecord:
    """What the catalog says of an operation that Temporal gave us. Raises CatalogDiffers when it has no such one."""
    try:
        return catalog().get_operation(operation, detail=False)
    except OperationNotFound:
        raise differing(operation) from None


def differing(operation: str) -> CatalogDiffers:
    """The error of a worker that cannot do what it was given; another worker perhaps can."""
    return CatalogDiffers(
        f"operation {operation} is not in this worker's catalog ({catalog().title}, worker on {socket.gethostname()})",
        operation_id=operation,
    )


def body(operation: str) -> dict[str, Any]:
    """The request's body, as the API recorded it."""
    return known(operation).body


def _endpoint(record: EndpointRecord) -> Endpoint:
    secret = engine(record.type).secret_parameters
    remember(str(v) for k, v in record.parameters.items() if k in secret and v)
    return Endpoint(record.name, record.type, record.parameters)
