"""What Temporal's UI shows as a workflow's current details: the figures of the catalog, at the moment it is asked.

A workflow that kept its own figures would have to be told of them, by events that stay in its history; a load of weeks
has no room for them there. So the workflow says only what it knows by itself, and whoever looks gets the rest from the
catalog on the way out. A query changes nothing, and replays do not see it.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from temporalio import workflow
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.worker import (
    HandleQueryInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from activities.figures import details
from activities.jobs import catalog
from activities.recorded import WORKFLOWS
from whimbrel.errors import OperationNotFound, WhimbrelError

logger = logging.getLogger(__name__)

QUERY = "__temporal_workflow_metadata"  # which the UI asks
SECONDS = 1.0  # for the catalog; the SDK takes a workflow that is held up for two to be stuck
_OPERATIONS = frozenset(WORKFLOWS.values())
_looking = ThreadPoolExecutor(4, thread_name_prefix="details")


class CurrentDetails(Interceptor):
    """To be given to the worker that runs the workflows."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _Detailed


class _Detailed(WorkflowInboundInterceptor):
    async def handle_query(self, input: HandleQueryInput) -> Any:
        answer = await super().handle_query(input)
        if input.query == QUERY and isinstance(answer, WorkflowMetadata):
            info = workflow.info()
            if info.workflow_type in _OPERATIONS:
                answer.current_details = _figures(info.workflow_id) or answer.current_details
        return answer


def _figures(operation: str) -> str | None:
    """None where the catalog does not say."""
    looking = _looking.submit(_look, operation)
    try:
        return looking.result(SECONDS)
    except TimeoutError:
        looking.cancel()
        return None


def _look(operation: str) -> str | None:
    try:
        return details(catalog().figures(operation), datetime.now(UTC))
    except OperationNotFound:
        return None
    except WhimbrelError as e:
        logger.warning("figures for the UI could not be read: %s", e.message)
        return None
