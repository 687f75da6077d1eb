"""Steps on what the target holds: reset and validate. Whole operations, which write their own results."""

from __future__ import annotations

from temporalio import activity

from activities.control import OperationControl
from activities.jobs import body, catalog
from activities.messages import DataValidated, Step, TargetReset
from activities.outcome import complete
from activities.step import run_step
from whimbrel.catalog.records import Mode, OperationRecord, Status
from whimbrel.errors import InvalidRequest
from whimbrel.model.job import Job
from whimbrel.pipeline import reset
from whimbrel.pipeline.validation import repair
from whimbrel.pipeline.validation import tables as validation


@activity.defn(no_thread_cancel_exception=True)
def reset_target(step: Step) -> TargetReset:
    """Drop or empty the migration's tables, or forget its progress."""

    def work(job: Job, control: OperationControl) -> TargetReset:
        asked = body(step.operation)
        mode = str(asked.get("mode") or "drop")
        done = reset.reset_target(job, control, mode, force=asked.get("force") is True)
        catalog().held.forget(job.migration, let_go=True)
        complete(step.operation, done, control)
        return TargetReset(mode)

    return run_step(step, work)


@activity.defn(no_thread_cancel_exception=True)
def validate_data(step: Step) -> DataValidated:
    """Compare source and target, or repair what the last comparison has named."""

    def work(job: Job, control: OperationControl) -> DataValidated:
        asked = body(step.operation)
        if asked.get("repair"):
            report = _last_report(step.migration)
            result = {**repair.repair_data(job, control, report.result or {}, report.id), "report": report.id}
        else:
            sample = asked.get("sample_percent")
            result = validation.validate_data(job, control, 100 if sample is None else int(sample))
        complete(step.operation, result, control)
        return DataValidated(bool(result["valid"]))

    return run_step(step, work)


def _last_report(migration: str) -> OperationRecord:
    """The newest comparison of the migration that came to its end. Raises InvalidRequest when there is none."""
    at = 0
    while True:
        page, total = catalog().list_operations(migration, Status.COMPLETED, Mode.VALIDATE, limit=50, offset=at)
        for record in page:
            if record.result is not None and not record.body.get("repair"):
                return record
        at += len(page)
        if not page or at >= total:
            raise InvalidRequest(
                f"migration {migration} has not been validated yet: there is no report to repair by",
                remedy="POST validate without 'repair' first.",
                field="repair",
            )
