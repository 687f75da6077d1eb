"""The last step of every operation: the catalog learns how it ended."""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from temporalio import activity

from activities.control import OperationControl, told_to_leave
from activities.errors import as_failure, classify
from activities.jobs import catalog, differing
from activities.messages import Outcome, Recorded
from activities.recorded import require_workflow
from whimbrel.catalog.records import Status
from whimbrel.errors import CatalogDiffers, CatalogUnreachable, InvalidRequest, OperationNotFound
from whimbrel.pipeline.load.patience import patiently

logger = logging.getLogger(__name__)

UNKNOWN_SECONDS = 600.0  # how long some worker may take to know an operation that the catalog of others does not have


@activity.defn(no_thread_cancel_exception=True)
def record_outcome(outcome: Outcome) -> Recorded:
    """Write it, unless somebody (a stop, the step itself) has written an end before.

    Every failure is one to try again, bugs included: were it final, the workflow would close and nobody would be left
    who knows how the operation ended. Only an operation that no catalog knows is given up after a while.
    """
    result = asdict(outcome.data) if outcome.data else None
    try:
        require_workflow(outcome.operation)
        record = catalog().finish_operation(outcome.operation, Status(outcome.status), result, outcome.error)
    except InvalidRequest as e:
        raise as_failure(e) from None
    except (CatalogDiffers, OperationNotFound):
        waited = (datetime.now(UTC) - activity.info().scheduled_time).total_seconds()
        raise as_failure(differing(outcome.operation), retryable=waited < UNKNOWN_SECONDS) from None
    except Exception as e:
        error = classify(e)
        logger.warning(
            "operation %s ended (%s), which is not recorded yet: %s", outcome.operation, outcome.status, error
        )
        raise as_failure(error, retryable=True) from None
    return Recorded(record.status.value)


def complete(operation: str, result: dict[str, Any], control: OperationControl) -> None:
    """Record that a step, which is its whole operation, has worked.

    A catalog that is away for a while must not cost the work: it is waited for. Raises CatalogUnreachable when it does
    not come back, or the step is told to leave meanwhile.
    """
    patiently(
        lambda: catalog().finish_operation(operation, Status.COMPLETED, result),
        (CatalogUnreachable,),
        lambda line, _: control.log("orchestrator", f"the result is not recorded yet: {line}"),
        told_to_leave,
    )
