"""Whether anybody would take the work that the API hands out.

A worker asks for long steps only while it has a place for one. That it works and has none left is told by its
heartbeat, which the SDK sends to Temporal once a minute; a cluster that is too old to know of workers cannot say.
"""

from __future__ import annotations

import time
from datetime import timedelta
from enum import StrEnum

from temporalio.api.enums.v1 import TaskQueueType, WorkerStatus
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkerRequest,
    ListWorkersRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from workflows.messages import CONTROL_QUEUE, DATA_QUEUE

_ACTIVITY, _WORKFLOW = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY, TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
_CONTROL = ((CONTROL_QUEUE, _WORKFLOW), (CONTROL_QUEUE, _ACTIVITY))
_RECENT = 70.0  # seconds: a poll waits for a minute before it comes back empty
_ALIVE = 90.0  # seconds since a worker's last heartbeat, of which one comes every minute


class Workers(StrEnum):
    """What the workers of a cluster do, taken together."""

    POLL = "polls"
    BUSY = "busy"  # they work, and all their places for long steps are taken
    MISSING = "missing"
    UNKNOWN = "unknown"


async def workers(client: Client, seconds: float = 2.0) -> Workers:
    """Whether both of our task queues were polled lately, for all that they carry. Each question takes at most
    ``seconds``; raises temporalio's RPCError."""
    for queue, kind in _CONTROL:
        if not await _polled(client, queue, kind, seconds):
            return Workers.MISSING
    if await _polled(client, DATA_QUEUE, _ACTIVITY, seconds):
        return Workers.POLL
    try:
        full = await _full(client, seconds)
    except RPCError:
        return Workers.UNKNOWN
    return Workers.BUSY if full else Workers.MISSING


async def _full(client: Client, seconds: float) -> bool:
    """Whether a worker lives that has no place left for a long step."""
    within = timedelta(seconds=seconds)
    query = f"TaskQueue='{DATA_QUEUE}'"
    found = await client.workflow_service.list_workers(
        ListWorkersRequest(namespace=client.namespace, query=query), timeout=within
    )
    for one in found.workers:
        if one.status != WorkerStatus.WORKER_STATUS_RUNNING:
            continue
        request = DescribeWorkerRequest(namespace=client.namespace, worker_instance_key=one.worker_instance_key)
        answer = await client.workflow_service.describe_worker(request, timeout=within)
        heartbeat = answer.worker_info.worker_heartbeat
        age = time.time() - heartbeat.heartbeat_time.ToSeconds()
        if age < _ALIVE and heartbeat.activity_task_slots_info.current_available_slots == 0:
            return True
    return False


async def _polled(client: Client, queue: str, kind: TaskQueueType.ValueType, seconds: float) -> bool:
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), task_queue_type=kind
    )
    now = time.time()
    answer = await client.workflow_service.describe_task_queue(request, timeout=timedelta(seconds=seconds))
    return any(now - p.last_access_time.ToSeconds() < _RECENT for p in answer.pollers)
