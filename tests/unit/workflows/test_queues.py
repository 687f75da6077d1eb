"""Two task queues: however many long steps there are, a pause and a stop do not wait for them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.runtime import Runtime, TelemetryConfig

from activities.control import OperationControl
from tests.unit.workflows.house import House, until, until_told
from whimbrel.catalog.records import Status
from worker import polling
from worker.polling import Workers
from workflows import options
from workflows.messages import CONTROL_QUEUE, DATA_QUEUE

SOON = 8.0  # seconds; a stop alone takes two, for stragglers


async def queues(handle: WorkflowHandle[Any, Any]) -> dict[str, str]:
    """Activity type -> the queue that it was put on."""
    found = {}
    for event in (await handle.fetch_history()).events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            told = event.activity_task_scheduled_event_attributes
            found[told.activity_type.name] = told.task_queue.name
    return found


async def test_a_pause_and_a_stop_do_not_wait_for_a_place_of_long_steps(still_house: House) -> None:
    """Every place for long steps is taken, and more wait; the places of control are few."""
    house = still_house
    house.actors.acts["replicate"] = [until_told]
    async with house.worker(activities=2, control_activities=1):
        handles = [await house.begin("change", migration) for migration in house.migrations(4)]
        await house.reached("replicate", 2)
        running = [h for h in handles if house.operation(h).phase == "change"]
        async with asyncio.timeout(SOON):
            while len(running) < 2:
                await asyncio.sleep(0.05)
                running = [h for h in handles if house.operation(h).phase == "change"]
        began = time.monotonic()
        assert (await running[0].execute_update("pause"))["action"] == "paused"
        await house.stop(running[1], "change")
        assert time.monotonic() - began < SOON
        assert house.operation(running[1]).status is Status.STOPPED
        await house.reached("replicate", 3)  # the freed place goes to one that waited
        assert await queues(running[0]) == {"replicate": DATA_QUEUE, "set_pause": CONTROL_QUEUE}
        for handle in handles:
            await handle.terminate() if handle is not running[1] else None


async def test_an_operation_that_has_no_place_yet_is_paused_at_once_and_begins_nothing(still_house: House) -> None:
    house = still_house
    house.actors.acts["copy_data"] = [until_told]
    async with house.worker(activities=1):
        first, second = [await house.begin("data", migration) for migration in house.migrations(2)]
        await house.reached("copy_data")
        await until(lambda: any(house.operation(h).phase for h in (first, second)), 10, "one to say its phase")
        if house.operation(first).phase is None:
            first, second = second, first
        began = time.monotonic()
        assert (await second.execute_update("pause"))["action"] == "paused"
        assert time.monotonic() - began < SOON
        assert house.operation(second).paused
        assert (await second.execute_update("resume"))["action"] == "resumed"
        assert not house.operation(second).paused
        await second.execute_update("pause")
        looks: list[str] = []
        check = OperationControl.check

        def seen(control: OperationControl) -> None:
            looks.append(control._operation)
            check(control)

        with patch.object(OperationControl, "check", seen):
            await first.cancel()
            await house.ended(first)
            await until(lambda: looks.count(second.id) > 2, 10, "the second to have the place, and to look again")
        assert house.operation(second).paused
        assert len(house.actors.called("copy_data")) == 1
        await second.execute_update("resume")
        await house.reached("copy_data", 2)
        await second.execute_update("pause")
        await second.cancel()
        assert (await house.ended(second)).status is Status.CANCELLED


async def test_a_long_step_that_an_earlier_version_has_put_on_its_one_queue_is_done(still_house: House) -> None:
    """And even where such steps take all the places they can, a pause has its own."""
    house = still_house
    house.actors.acts["copy_data"] = [until_told]
    earlier = replace(options.LONG, queue=CONTROL_QUEUE)
    with patch("workflows.options.LONG", earlier):
        async with house.worker(activities=1, control_activities=1):
            handle = await house.begin("data")
            await house.reached("copy_data")
            assert (await handle.execute_update("pause"))["action"] == "paused"
            assert (await queues(handle))["copy_data"] == CONTROL_QUEUE
    async with house.worker(activities=1, control_activities=1):
        await house.reached("copy_data", 2)
        await handle.execute_update("resume")
        await handle.cancel()
        assert (await house.ended(handle)).status is Status.CANCELLED


async def test_a_worker_polls_both(still_house: House) -> None:
    house = still_house
    async with house.worker():
        async with asyncio.timeout(SOON):
            while await polling.workers(house.client) is not Workers.POLL:
                await asyncio.sleep(0.1)


async def test_one_that_has_no_place_left_is_busy_and_not_missing(still_house: House) -> None:
    house = still_house
    often = Runtime(telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(seconds=1))
    house.client = await Client.connect(house.client.service_client.config.target_host, runtime=often)
    house.actors.acts["replicate"] = [until_told]

    async def seen(wanted: Workers) -> None:
        async with asyncio.timeout(20):
            while await polling.workers(house.client) is not wanted:
                await asyncio.sleep(0.1)

    async with house.worker(activities=1):
        await seen(Workers.POLL)
        handle = await house.begin("change")
        await house.reached("replicate")
        with (
            patch.object(polling, "_RECENT", 1.0),
            patch.object(polling, "_CONTROL", ()),
        ):  # that one is polled all along
            await seen(Workers.BUSY)
            with patch.object(polling, "_ALIVE", -1e9):  # as after it was killed
                assert await polling.workers(house.client) is Workers.MISSING
        await handle.cancel()
        await house.ended(handle)
    with patch.object(polling, "_RECENT", 1.0):
        await seen(Workers.MISSING)
