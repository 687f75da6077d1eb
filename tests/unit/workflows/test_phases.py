"""data-replication: its two phases, and when the first may be skipped; workers that leave in the middle."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.servers.temporal import Temporal
from tests.unit.workflows.house import House, open_house, until, until_told
from whimbrel.catalog.records import Status


async def test_the_change_phase_takes_over_from_the_data_phase(house: House) -> None:
    house.actors.acts["replicate"] = [until_told]
    handle = await house.begin("data-replication")
    await house.reached("replicate")
    assert house.actors.called("copy_data") == [{"capture": True, "resume": False}]
    assert house.actors.called("replicate") == [{"resume": True, "position": None, "handoff": True}]
    await until(lambda: house.operation(handle).phase == "change", 10, "the phase to be shown")
    await handle.cancel()
    record = await house.ended(handle)
    assert record.result == {"tables": 1, "rows": 10, "bytes": 100, "seconds": 0.5}


async def test_a_complete_data_phase_is_skipped_when_resuming(house: House) -> None:
    house.actors.acts["replicate"] = [until_told]
    house.actors.complete = True
    handle = await house.begin("data-replication", resume=True)
    await house.reached("replicate")
    assert house.actors.called("copy_data") == []
    await handle.cancel()
    await house.ended(handle)


async def test_one_that_was_cut_off_is_not(house: House) -> None:
    house.actors.acts["replicate"] = [until_told]
    handle = await house.begin("data-replication", resume=True)
    await house.reached("replicate")
    assert house.actors.called("copy_data") == [{"capture": True, "resume": True}]
    await handle.cancel()
    await house.ended(handle)


async def test_without_resume_a_complete_data_phase_is_done_again(house: House) -> None:
    house.actors.acts["replicate"] = [until_told]
    house.actors.complete = True
    handle = await house.begin("data-replication", resume=False)
    await house.reached("replicate")
    assert house.actors.called("copy_data") == [{"capture": True, "resume": False}]
    await handle.cancel()
    await house.ended(handle)


async def test_a_worker_that_leaves_hands_the_step_to_the_next(still_house: House) -> None:
    house = still_house
    house.actors.acts["copy_data"] = [until_told, lambda job, control: None]
    async with house.worker():
        handle = await house.begin("data")
        await house.reached("copy_data")
    assert house.operation(handle).status is Status.RUNNING
    async with house.worker():
        record = await house.ended(handle)
    assert record.status is Status.COMPLETED
    assert len(house.actors.called("copy_data")) == 2
    assert house.actors.called("clean_up") == []


async def test_an_operation_outlives_a_killed_temporal_server(tmp_path: Path) -> None:
    server = Temporal.make(tmp_path / "temporal")
    await asyncio.to_thread(server.start)
    try:
        async with open_house(server.address, tmp_path / "home") as house, house.worker():
            house.actors.acts["replicate"] = [until_told]
            handle = await house.begin("data-replication")
            await house.reached("replicate")
            await asyncio.to_thread(server.kill)
            house.catalog.request_pause(handle.id, True)
            await until(lambda: house.operation(handle).paused, 5, "the step to rest while Temporal is away")
            await asyncio.to_thread(server.start)
            await handle.execute_update("resume")
            await handle.cancel()
            assert (await house.ended(handle)).status is Status.CANCELLED
            assert len(house.actors.called("copy_data")) == 1
            assert house.actors.called("clean_up") == [{}]
    finally:
        server.stop()
