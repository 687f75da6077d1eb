"""What the API asks of connectors: read parameters, test a connection, list and run checks. All of it may block."""

from __future__ import annotations

import logging
import traceback
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from whimbrel.catalog.records import EndpointRecord
from whimbrel.catalog.secrets import MASK, is_secret, redact
from whimbrel.connectors import live_sessions
from whimbrel.connectors.deadline import within
from whimbrel.connectors.protocols import CheckResult, Checks, Engine
from whimbrel.connectors.queues import queue_of
from whimbrel.connectors.registry import DATABASE_TARGET_TYPES, QUEUE_TYPES, SOURCE_TYPES, engine, known_types
from whimbrel.errors import ConnectionRefused, HostUnreachable, InternalError, InvalidRequest, WhimbrelError, printable
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Table
from whimbrel.pipeline import cleanup
from whimbrel.pipeline.fitting import check_fit

logger = logging.getLogger("api.connectors")

PAIR_SECONDS = 300.0  # for all that both sides are asked together

Role = Literal["source", "target"]
_TYPES: Mapping[Role, tuple[str, ...]] = {"source": SOURCE_TYPES, "target": (*DATABASE_TARGET_TYPES, *QUEUE_TYPES)}


def parse(role: Role, name: str, type: str, parameters: Mapping[str, Any]) -> EndpointRecord:
    """A checked source or target with its parameters normalised. Raises InvalidRequest naming the field."""
    for field, value in parameters.items():
        texts = [field, *(value if isinstance(value, list) else [value])]
        if any(isinstance(t, str) and t != printable(t) for t in texts) and not is_secret(field):
            shown = f"parameters.{printable(field)[:80]}"
            raise InvalidRequest(f"{shown}: holds a control character", field=shown)
    return EndpointRecord(name, type, dict(serving(role, type).parse(type, parameters)))


def serving(role: Role, type: str) -> Engine:
    """The engine for this type in this role. Raises InvalidRequest naming the types this build has."""
    if type in known_types():
        found = engine(type)
        as_target = found.capabilities.target or found.capabilities.queue
        if found.capabilities.source if role == "source" else as_target:
            return found
    known = sorted(t for t in known_types() if t in _TYPES[role])
    if type in _TYPES[role]:
        why = f"this build has no connector for {type!r} as a {role}"
    else:
        why = f"{type[:40]!r} is not a type of {role}s"
    raise InvalidRequest(f"type: {why}; it has {', '.join(known)}", field="type", known=known)


def refuse_queue(type: str) -> None:
    """Raise InvalidRequest for a queue type where a database is tested."""
    if type in QUEUE_TYPES:
        raise InvalidRequest(f"type: {type} is a queue", field="type", remedy="Test queues with POST /v1/queues/test.")


def require_queue(type: str) -> None:
    """Raise InvalidRequest for a type that is no queue."""
    if type not in QUEUE_TYPES:
        raise InvalidRequest(
            f"type: {type[:40]!r} is not a queue; queues are {', '.join(QUEUE_TYPES)}",
            field="type",
            remedy="Test databases with POST /v1/targets/test.",
        )
    serving("target", type)


def check_position(source: EndpointRecord, text: str) -> None:
    """Raise InvalidRequest for what cannot be a position in the log of such a source. Connects to nothing."""
    serving("source", source.type).check_position(text)


def test(role: Role, record: EndpointRecord) -> str:
    """Connect and disconnect; a sentence naming server and version. Raises a leaf of ConnectionRefused."""
    require_secrets(record)
    with _without_secrets(record.parameters):
        info = serving(role, record.type).test(_endpoint(record))
    if record.type in QUEUE_TYPES:
        return f"broker reachable, topic {record.parameters['topic']!r} found"
    host, port = record.parameters.get("host"), record.parameters.get("port")
    where = f" at {host}:{port}" if host else ""
    return f"connected to {info.title}{where}"


def require_secrets(record: EndpointRecord) -> None:
    """Raise InvalidRequest where a mask stands for a secret that is not at hand."""
    for field, value in record.parameters.items():
        if is_secret(field) and value == MASK:
            raise InvalidRequest(
                f"parameters.{field}: '{MASK}' stands for a stored secret; here the secret itself is needed",
                remedy="Send the secret, or name the saved source or target.",
                field=f"parameters.{field}",
            )


def statements(role: Role, record: EndpointRecord, mode: str, tables: Sequence[TableName]) -> list[dict[str, Any]]:
    """SQL to run before the migration; connects to nothing. Raises InvalidRequest when the connector has none."""
    with _without_secrets(record.parameters):
        return [asdict(s) for s in _checks(role, record).statements(_endpoint(record), role, mode, tables)]


def run_checks(role: Role, record: EndpointRecord, mode: str, tables: Sequence[TableName]) -> list[dict[str, Any]]:
    """Every prerequisite, checked. A server that cannot be reached is a failed check, not an error."""
    checks = _checks(role, record)
    try:
        with _without_secrets(record.parameters):
            found: Sequence[CheckResult] = checks.run(_endpoint(record), role, mode, tables)
    except ConnectionRefused as e:
        found = [CheckResult("connection", "fail", e.message, e.how_to_fix)]
    return [asdict(c) for c in found]


def run_pair_checks(
    source: EndpointRecord,
    target: EndpointRecord,
    mode: str,
    tables: Sequence[TableName],
    schema_rename: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Whether the source's tables fit the target. Nothing where the target is a queue, or a side cannot be reached.

    A side that lets us in and then says nothing is cut off after ``PAIR_SECONDS``, and is a failed check.
    """
    if target.type in QUEUE_TYPES:
        return []
    job = _job(source, target, tables, schema_rename)

    def cut() -> None:
        live_sessions.cut(job.operation)

    try:
        with (
            _without_secrets(source.parameters),
            _without_secrets(target.parameters),
            within(PAIR_SECONDS, cut) as look,
        ):
            found = [asdict(c) for c in check_fit(job, data=mode != "replication", changes=mode != "data")]
    except ConnectionRefused:
        found = []  # which is a failed check of that side
    if look.passed:
        silent = f"source or target did not answer all that was asked of both within {PAIR_SECONDS:g} s"
        found = [asdict(CheckResult("connection", "fail", silent, HostUnreachable.remedy))]
    return found


def on_target(
    source: EndpointRecord, target: EndpointRecord, tables: Sequence[TableName], schema_rename: Mapping[str, str]
) -> tuple[TableName, ...]:
    """The tables (or patterns) under the schemas that they have on the target; connects to nothing."""
    if target.type in QUEUE_TYPES:
        return tuple(tables)
    job = _job(source, target, tables, schema_rename)
    opened = engine(target.type).target(job.target, job.operation)
    schemas = opened.map_schemas([Table(t, ()) for t in tables], job, source.type)
    return tuple(dict.fromkeys(t.renamed(schemas) for t in tables))


def _job(
    source: EndpointRecord, target: EndpointRecord, tables: Sequence[TableName], schema_rename: Mapping[str, str]
) -> Job:
    """What both sides are looked at for; nothing is run."""
    return Job(
        "checks",
        f"checks-{uuid.uuid4().hex[:12]}",  # its sessions are cut by this name, and nobody else's
        _endpoint(source),
        _endpoint(target),
        tuple(tables),
        Path(),
        schema_rename=schema_rename,
    )


def remove_capture(source: EndpointRecord, job: Job) -> None:
    """Remove slot and publication of a migration from its source. Raises ConnectionRefused, ExtractorFailed, ..."""
    with _without_secrets(source.parameters):
        opened = serving("source", source.type).source(_endpoint(source), job.operation)
        try:
            opened.cleanup(job)
        finally:
            opened.close()


def forget_progress(target: EndpointRecord, job: Job) -> None:
    """Remove what a migration keeps on its target for itself. Raises ConnectionRefused, LoaderFailed, ..."""
    with _without_secrets(target.parameters):
        cleanup.forget_progress(replace(job, target=_endpoint(target)))


def forget_in_queue(queue: EndpointRecord, job: Job) -> None:
    """Remove what a migration keeps in its queue for itself. Raises as ``Queue.forget`` does."""
    with _without_secrets(queue.parameters):
        queue_of(queue.type).forget(_endpoint(queue), job)


def _checks(role: Role, record: EndpointRecord) -> Checks:
    return serving(role, record.type).checks


def _endpoint(record: EndpointRecord) -> Endpoint:
    return Endpoint(record.name, record.type, record.parameters)


@contextmanager
def _without_secrets(parameters: Mapping[str, Any]) -> Iterator[None]:
    """Keep what servers and drivers say from carrying a secret into an answer or the log."""
    try:
        yield
    except WhimbrelError as e:
        e.message = redact(e.message, parameters)
        e.extra = {k: redact(v, parameters) if isinstance(v, str) else v for k, v in e.extra.items()}
        raise e.with_traceback(None) from None
    except Exception as e:
        error_id = uuid.uuid4().hex
        logger.error(
            "error %s in a connector\n%s", error_id, redact("".join(traceback.format_exception(e)), parameters)
        )
        raise InternalError(
            "an unexpected error in the connector; the log tells more under this id", error_id=error_id
        ) from None
