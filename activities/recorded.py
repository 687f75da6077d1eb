"""Whether what Temporal gives us to do is what the API has recorded.

Whoever reaches Temporal may start any workflow with any operation's id. What an operation may do stands in the catalog,
which they do not reach, and a step that changes something does only that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from temporalio import activity

from activities.jobs import known
from activities.messages import CopyData, Replicate
from whimbrel.catalog.records import Mode, OperationRecord, Status
from whimbrel.errors import InvalidRequest

WORKFLOWS: Mapping[Mode, str] = {
    Mode.DATA: "Data",
    Mode.CHANGE: "Replication",
    Mode.CHANGE_QUEUE: "Replication",
    Mode.DATA_REPLICATION: "DataReplication",
    Mode.SCHEMA_EXTRACT: "SchemaExtract",
    Mode.SCHEMA_APPLY: "SchemaApply",
    Mode.OBJECTS_APPLY: "ObjectsApply",
    Mode.RESET: "Reset",
    Mode.VALIDATE: "Validate",
}
CLEANUP = "Cleanup"
CLEANING = frozenset({"clean_up", "record_outcome"})


class Addressed(Protocol):
    """Any activity's input that names its operation and migration."""

    @property
    def operation(self) -> str: ...

    @property
    def migration(self) -> str: ...


def require_step(step: Addressed) -> None:
    """Raises InvalidRequest unless the recorded operation is running, of this migration, and of the workflow's type,
    and began with what was asked of the API.

    An attempt after the first may find that the step itself has recorded its end, and only the answer was lost.
    """
    record = require_workflow(step.operation)
    if record.migration != step.migration:
        raise _foreign(record, f"it is one of migration {record.migration}, not of {step.migration[:64]}")
    info = activity.info()
    if record.status is not Status.RUNNING and info.attempt == 1 and info.activity_type not in CLEANING:
        raise _foreign(record, f"it has ended: {record.status}")
    _require_as_asked(step, record)


def _require_as_asked(step: Addressed, record: OperationRecord) -> None:
    """A change phase goes on, from then on by the target's position, in as many steps as it takes."""
    both = record.mode is Mode.DATA_REPLICATION
    resume, position = bool(record.body.get("resume", False)), record.body.get("position")
    right = True
    if isinstance(step, CopyData):
        right = (step.capture, step.resume) == (both, resume)
    elif isinstance(step, Replicate):
        begun = (step.resume, step.position) in ((resume or both, position), (True, None))
        right = begun and step.handoff == both
    if not right:
        raise _foreign(record, "resume or position are not what was asked for")


def require_workflow(operation: str) -> OperationRecord:
    """The operation's record. Raises InvalidRequest unless the workflow that asks is the operation's own, or the one
    that cleans up behind it; CatalogDiffers when the catalog has no such operation."""
    record, info = known(operation), activity.info()
    if (info.workflow_id, info.workflow_type) == (record.id, WORKFLOWS[record.mode]):
        return record
    cleans = (info.workflow_id, info.workflow_type) == (f"{record.id}-cleanup", CLEANUP)
    if cleans and info.activity_type in CLEANING:
        return record
    raise _foreign(record, f"workflow {info.workflow_id!r} of type {info.workflow_type} is not its own")


def _foreign(record: OperationRecord, why: str) -> InvalidRequest:
    return InvalidRequest(
        f"operation {record.id} was recorded as {record.mode}, and this step does not belong to it: {why}",
        remedy="Start operations through the API. If you did, somebody else starts workflows on this Temporal server.",
        operation_id=record.id,
    )
