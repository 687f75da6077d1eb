"""Seeing to it that somebody looks after idle migrations, whichever worker comes first."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from temporalio.client import Client
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from workflows.messages import CONTROL_QUEUE, IDLE_WATCH_ID, IDLE_WATCH_WORKFLOW, IdleWatchRequest

logger = logging.getLogger("worker.idle")

EVERY_SECONDS = 300.0


async def start_idle_watch(client: Client) -> None:
    """Start the workflow unless it runs. Raises RPCError."""
    await client.start_workflow(
        IDLE_WATCH_WORKFLOW,
        IdleWatchRequest(),
        id=IDLE_WATCH_ID,
        task_queue=CONTROL_QUEUE,
        static_summary="what sources keep for migrations that nobody follows",
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        rpc_timeout=timedelta(seconds=10),
    )


async def keep_idle_watch(client: Client) -> None:
    """Until cancelled: somebody may have terminated it."""
    while True:
        try:
            await start_idle_watch(client)
        except RPCError as e:
            logger.warning("nobody looks after idle migrations yet: %s", e.message)
        await asyncio.sleep(EVERY_SECONDS)
