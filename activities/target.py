"""Steps on what the target holds: reset and validate. Whole operations, which write their own results."""

from __future__ import annotations

from temporalio import activity

from activities.control import OperationControl
from activities.jobs import body, catalog
from activities.messages import DataValidated, Step, TargetReset
from activities.step import run_step
from whimbrel.catalog.records import Status
from whimbrel.model.job import Job
from whimbrel.pipeline import reset, validation


@activity.defn(no_thread_cancel_exception=True)
def reset_target(step: Step) -> TargetReset:
    """Drop or empty the migration's tables, or forget its progress."""

    def work(job: Job, control: OperationControl) -> TargetReset:
        mode = str(body(step.operation).get("mode") or "drop")
        catalog().finish_operation(step.operation, Status.COMPLETED, reset.reset_target(job, control, mode))
        return TargetReset(mode)

    return run_step(step, work)


@activity.defn(no_thread_cancel_exception=True)
def validate_data(step: Step) -> DataValidated:
    """Compare source and target."""

    def work(job: Job, control: OperationControl) -> DataValidated:
        sample = body(step.operation).get("sample_percent")
        result = validation.validate_data(job, control, 100 if sample is None else int(sample))
        catalog().finish_operation(step.operation, Status.COMPLETED, result)
        return DataValidated(bool(result["valid"]))

    return run_step(step, work)
