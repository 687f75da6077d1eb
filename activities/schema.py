"""Schema in, schema out: the steps behind schema/extract, schema/apply and objects/apply.

These are whole operations, so each writes its result to the catalog itself: results may be long, and Temporal's
history takes figures only.
"""

from __future__ import annotations

from pathlib import Path

from temporalio import activity

from activities.control import OperationControl
from activities.jobs import body
from activities.messages import ObjectsApplied, SchemaApplied, SchemaExtracted, Step
from activities.outcome import complete
from activities.step import run_step
from whimbrel.model.job import Job
from whimbrel.pipeline import schema


@activity.defn(no_thread_cancel_exception=True)
def extract_schema(step: Step) -> SchemaExtracted:
    """Write the migration's DDL files."""

    def work(job: Job, control: OperationControl) -> SchemaExtracted:
        done = schema.extract_schema(job, control)
        result = {"sql_file": done.sql_file, "tables": done.tables, "notes": list(done.notes)}
        complete(step.operation, result, control)
        return SchemaExtracted(done.tables)

    return run_step(step, work)


@activity.defn(no_thread_cancel_exception=True)
def apply_schema(step: Step) -> SchemaApplied:
    """Run the extracted DDL, or the file that the request names, on the target."""

    def work(job: Job, control: OperationControl) -> SchemaApplied:
        sql_file = body(step.operation).get("sql_file")
        tables = schema.apply_schema(job, control, Path(sql_file) if sql_file else None)
        complete(step.operation, {"tables_created": tables}, control)
        return SchemaApplied(tables)

    return run_step(step, work)


@activity.defn(no_thread_cancel_exception=True)
def apply_objects(step: Step) -> ObjectsApplied:
    """Apply what is not a table: indexes, foreign keys, views and the rest."""

    def work(job: Job, control: OperationControl) -> ObjectsApplied:
        done = schema.apply_objects(job, control)
        result = {
            "objects_succeeded": done.succeeded,
            "objects_failed": done.failed,
            "objects": list(done.objects),
        }
        complete(step.operation, result, control)
        return ObjectsApplied(done.succeeded, done.failed)

    return run_step(step, work)
