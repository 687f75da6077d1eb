"""The last step of every operation: the catalog learns how it ended."""

from __future__ import annotations

from dataclasses import asdict

from temporalio import activity

from activities.errors import as_failure, classify
from activities.jobs import catalog
from activities.messages import Outcome, Recorded
from whimbrel.catalog.records import Status


@activity.defn(no_thread_cancel_exception=True)
def record_outcome(outcome: Outcome) -> Recorded:
    """Write it, unless somebody (a stop, the step itself) has written an end before."""
    result = asdict(outcome.data) if outcome.data else None
    try:
        record = catalog().finish_operation(outcome.operation, Status(outcome.status), result, outcome.error)
    except Exception as e:
        raise as_failure(classify(e)) from None
    return Recorded(record.status.value)
