"""Pause and resume are updates that return once they are true."""

from __future__ import annotations

import asyncio
import time

import pytest
from temporalio.client import WorkflowUpdateFailedError

from tests.unit.workflows.house import House, until, until_told
from whimbrel.catalog.records import Status


@pytest.mark.parametrize(("mode", "step"), [("change", "replicate"), ("data", "copy_data")])
async def test_pause_and_resume_answer_once_true_and_may_be_repeated(house: House, mode: str, step: str) -> None:
    house.actors.acts[step] = [until_told]
    handle = await house.begin(mode)
    await house.reached(step)
    for _ in range(2):
        assert (await handle.execute_update("pause"))["action"] == "paused"
        assert house.operation(handle).paused
    for _ in range(2):
        assert (await handle.execute_update("resume"))["action"] == "resumed"
        assert not house.operation(handle).paused
    await handle.cancel()
    assert (await house.ended(handle)).status is Status.CANCELLED


async def test_a_pause_outlives_the_worker(still_house: House) -> None:
    house = still_house
    house.actors.acts["replicate"] = [until_told]
    async with house.worker():
        handle = await house.begin("change")
        await house.reached("replicate")
        await handle.execute_update("pause")
    async with house.worker():
        await house.reached("replicate", 2)
        await asyncio.sleep(0.5)
        assert house.operation(handle).paused
        await handle.execute_update("resume")
        await handle.cancel()
        await house.ended(handle)


async def test_a_paused_operation_can_be_cancelled(house: House) -> None:
    house.actors.acts["replicate"] = [until_told]
    handle = await house.begin("change")
    await house.reached("replicate")
    await handle.execute_update("pause")
    await handle.cancel()
    assert (await house.ended(handle)).status is Status.CANCELLED


async def test_a_pause_that_comes_too_late_finds_no_operation(house: House) -> None:
    def deaf(job: object, control: object) -> None:
        until_told(job, _Deaf(control))  # type: ignore[arg-type]  # stands in for a Control

    house.actors.acts["replicate"] = [deaf]
    handle = await house.begin("change")
    await house.reached("replicate")
    pausing = asyncio.create_task(handle.execute_update("pause"))
    await asyncio.sleep(0.5)
    assert not pausing.done()
    await handle.cancel()
    with pytest.raises(WorkflowUpdateFailedError) as raised:
        await pausing
    assert "has ended" in str(raised.value.cause.__cause__)
    assert (await house.ended(handle)).status is Status.CANCELLED


class _Deaf:
    """A control that never sees a pause."""

    def __init__(self, control: object) -> None:
        self._control = control

    def pause_wanted(self) -> bool:
        return False

    def __getattr__(self, name: str) -> object:
        return getattr(self._control, name)


async def test_the_history_is_cut_without_losing_the_pause(house: House) -> None:
    house.actors.acts["replicate"] = [until_told]
    handle = await house.begin("change", position="0/10")
    await house.reached("replicate")
    first = (await handle.describe()).run_id
    for _ in range(9):
        await handle.execute_update("pause")
        await handle.execute_update("resume")
    await handle.execute_update("pause")
    deadline = time.monotonic() + 20
    while (await handle.describe()).run_id == first:
        assert time.monotonic() < deadline, "no new run"
        await asyncio.sleep(0.1)
    assert house.actors.called("replicate")[0] == {"resume": False, "position": "0/10", "handoff": False}
    again = {"resume": True, "position": None, "handoff": False}
    await until(lambda: house.actors.called("replicate")[-1] == again, 20, "replicate to go on")
    await asyncio.sleep(0.5)
    assert house.operation(handle).paused
    await handle.execute_update("resume")
    assert not house.operation(handle).paused
    await handle.cancel()
    assert (await house.ended(handle)).status is Status.CANCELLED
