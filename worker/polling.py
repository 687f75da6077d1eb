"""Whether anybody would take the work that the API hands out."""

from __future__ import annotations

import time
from datetime import timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from workflows.messages import CONTROL_QUEUE, DATA_QUEUE

_ACTIVITY, _WORKFLOW = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
_ASKED = ((CONTROL_QUEUE, _WORKFLOW), (CONTROL_QUEUE, _ACTIVITY), (DATA_QUEUE, _ACTIVITY))
_RECENT = 70.0  # seconds: a poll waits for a minute before it comes back empty


async def worker_polls(client: Client, seconds: float = 2.0) -> bool:
    """Whether both of our task queues were polled lately, for all that they carry. Each question takes at most
    ``seconds``; raises temporalio's RPCError."""
    for queue, kind in _ASKED:
        request = DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
        )
        now = time.time()
        answer = await client.workflow_service.describe_task_queue(request, timeout=timedelta(seconds=seconds))
        if not any(now - p.last_access_time.ToSeconds() < _RECENT for p in answer.pollers):
            return False
    return True
