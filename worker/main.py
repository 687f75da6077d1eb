"""Connect, poll, work, and leave well: the life of one worker process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta

from temporalio.client import Client
from temporalio.common import VersioningBehavior
from temporalio.runtime import Runtime
from temporalio.worker import Worker, WorkerDeploymentConfig, WorkerDeploymentVersion
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.idle import most_held
from whimbrel.pipeline.load.budget import BUDGET
from worker.attributes import register_search_attributes
from worker.details import CurrentDetails
from worker.guard import CleaningGuard
from worker.idle import keep_idle_watch
from worker.logs import set_up
from worker.metrics import keep_lane_gauges, runtime_of
from worker.registry import BY_QUEUE, WORKFLOWS
from worker.settings import Settings
from workflows.messages import CONTROL_QUEUE, DATA_QUEUE

logger = logging.getLogger("worker")

Threads = Mapping[str, ThreadPoolExecutor]  # by task queue

RECONNECT_SECONDS = 2.0
PASSED_THROUGH = ("activities", "whimbrel", "workflows.messages", "workflows.options", "workflows.titles")


def workflow_runner() -> SandboxedWorkflowRunner:
    """The sandbox that workflow code runs in: no clock, no randomness, no input or output but by activities."""
    return SandboxedWorkflowRunner(SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))


def places(settings: Settings) -> dict[str, int]:
    """How many activities of each task queue run at once.

    A pause keeps its place until its step has come to rest, so the control queue has one more for each long step; the
    same places hold the long steps that an earlier version, which had one queue, has left there.
    """
    return {CONTROL_QUEUE: settings.control_activities + settings.activities, DATA_QUEUE: settings.activities}


@contextmanager
def activity_threads(settings: Settings) -> Iterator[Threads]:
    """A thread for each place; each begins when it is first needed."""
    with ExitStack() as stack:
        yield {
            queue: stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix=queue))
            for queue, count in places(settings).items()
        }


def build_workers(client: Client, settings: Settings, threads: Threads) -> tuple[Worker, ...]:
    """A worker for each task queue, not yet polling: all workflows run on the first, which is that of control."""
    return tuple(_build(client, settings, queue, count, threads[queue]) for queue, count in places(settings).items())


def _build(client: Client, settings: Settings, queue: str, count: int, threads: ThreadPoolExecutor) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=WORKFLOWS if queue == CONTROL_QUEUE else (),
        activities=BY_QUEUE[queue],
        activity_executor=threads,
        max_concurrent_activities=count,
        workflow_runner=workflow_runner(),
        interceptors=[CleaningGuard(client), CurrentDetails()],
        deployment_config=_version(settings),
        graceful_shutdown_timeout=timedelta(seconds=settings.grace_seconds),
        # A cancel comes back with a heartbeat, so heartbeats must not be held back for long.
        max_heartbeat_throttle_interval=timedelta(seconds=1),
        default_heartbeat_throttle_interval=timedelta(seconds=1),
    )


def _version(settings: Settings) -> WorkerDeploymentConfig | None:
    """Operations run for weeks, so none is pinned to the build that began it: their workflows go on under the current
    one, which tests/replay makes sure of."""
    if settings.build_id is None:
        return None
    return WorkerDeploymentConfig(
        WorkerDeploymentVersion(settings.deployment, settings.build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


async def connect(settings: Settings, stopping: asyncio.Event, runtime: Runtime | None = None) -> Client | None:
    """Wait for Temporal as long as it takes; None when told to stop meanwhile."""
    while not stopping.is_set():
        try:
            return await settings.connect(runtime)
        except RuntimeError as e:
            logger.warning(
                "Temporal does not answer at %s (%s); trying again. Start it with temporal-dev/start.py or "
                "'whimbrel up', or set WHIMBREL_TEMPORAL_ADDRESS",
                settings.address,
                e,
            )
            await _sleep(RECONNECT_SECONDS, stopping)
    return None


async def run(settings: Settings, stopping: asyncio.Event, runtime: Runtime | None = None) -> None:
    """Work until told to stop. What Temporal refuses (a missing namespace, a revoked key) is tried again."""
    with activity_threads(settings) as threads:
        while not stopping.is_set():
            client = await connect(settings, stopping, runtime)
            if client is None:
                return
            await register_search_attributes(client)
            watching = asyncio.create_task(keep_idle_watch(client))
            try:
                await _poll(build_workers(client, settings, threads), settings, stopping)
            except Exception:
                logger.exception("the worker cannot poll %s; trying again", settings.address)
                await _sleep(RECONNECT_SECONDS, stopping)
            finally:
                watching.cancel()


async def _poll(workers: Sequence[Worker], settings: Settings, stopping: asyncio.Event) -> None:
    """Run the workers until one fails or all are told to stop; then let activities come to rest."""
    running = [asyncio.create_task(worker.run()) for worker in workers]
    told = asyncio.create_task(stopping.wait())
    queues = " and ".join(worker.task_queue for worker in workers)
    logger.info("polling %s, namespace %s, task queues %s", settings.address, settings.namespace, queues)
    if settings.build_id is not None:
        logger.info(
            "as build %s of deployment %s; work comes once that is its current version: temporal worker deployment "
            "set-current-version --deployment-name %s --build-id %s",
            settings.build_id,
            settings.deployment,
            settings.deployment,
            settings.build_id,
        )
    await asyncio.wait((*running, told), return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if all(not task.done() for task in running):
        logger.info("coming to rest, at most %g s", settings.grace_seconds)
    left = [worker for worker, task in zip(workers, running, strict=True) if not task.done()]
    await asyncio.gather(*(worker.shutdown() for worker in left))
    await asyncio.gather(*running)


async def _sleep(seconds: float, stopping: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stopping.wait(), seconds)
    except TimeoutError:
        return


async def _main() -> None:
    settings = Settings.from_environment()
    if settings.lanes is not None:
        BUDGET.resize(settings.lanes)
    most_held()  # a setting that is wrong is told now
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if stopping.is_set():  # asked twice: leave at once, the steps are tried again elsewhere
            logger.warning("leaving at once")
            logging.shutdown()
            os._exit(1)
        stopping.set()
        # Activities that do not come to rest must not keep the process for ever; Temporal tries them again.
        loop.call_later(settings.grace_seconds + 10, stop)

    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop)
    runtime = runtime_of(settings)
    telling = asyncio.create_task(keep_lane_gauges(runtime)) if runtime is not None else None
    await run(settings, stopping, runtime)
    if telling is not None:
        telling.cancel()
    logger.info("stopped")


def main() -> None:
    """``python -m worker`` and ``whimbrel worker``."""
    set_up()
    asyncio.run(_main())
