"""Record one history of every scene anew: ``python -m tests.replay.record``, or of those named.

The files of ``histories`` stand for operations in flight that earlier versions began, so none is recorded over: what
was begun under the workflows of then must go on under those of now (``workflow.patched``). What a change adds goes
beside them, into the folder of that change, which ``NEWEST`` names. Needs no database: the pipeline's functions are
played by actors.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from tests.servers.temporal import Temporal
from tests.unit.workflows.house import House, failing, open_house, until, until_told, until_told_and_done
from whimbrel.errors import SourceInterrupted, ValueRefused
from workflows.messages import CONTROL_QUEUE, IDLE_WATCH_WORKFLOW, IdleWatchRequest

HISTORIES = Path(__file__).parent / "histories"
NEWEST = HISTORIES / "two-queues"  # steps on a queue of their own, titles and summaries
Handle = WorkflowHandle[Any, Any]
# Histories name the machine that made them; that says nothing about the workflow.
PERSONAL = re.compile(r"\d+@.+")


async def completed(house: House, mode: str) -> Handle:
    handle = await house.begin(mode)
    await house.ended(handle)
    return handle


async def data_after_a_retry(house: House) -> Handle:
    house.actors.acts["copy_data"] = [failing(SourceInterrupted("the source restarted")), lambda job, control: None]
    return await completed(house, "data")


async def data_failed(house: House) -> Handle:
    house.actors.acts["copy_data"] = [failing(ValueRefused("public.a.c: a NUL byte"))]
    return await completed(house, "data")


async def data_cancelled(house: House) -> Handle:
    house.actors.acts["copy_data"] = [until_told]
    handle = await house.begin("data")
    await house.reached("copy_data")
    await handle.cancel()
    await house.ended(handle)
    return handle


async def _replicate(house: House, mode: str, **body: Any) -> Handle:
    house.actors.acts["replicate"] = [until_told]
    handle = await house.begin(mode, **body)
    await house.reached("replicate")
    return handle


async def replication_paused_and_cancelled(house: House) -> Handle:
    handle = await _replicate(house, "change", position="0/16B3748")
    await handle.execute_update("pause")
    await handle.execute_update("resume")
    await handle.cancel()
    await house.ended(handle)
    return handle


async def replication_as_a_new_run(house: House) -> Handle:
    """The first of two runs."""
    handle = await _replicate(house, "change")
    first = str((await handle.describe()).run_id)
    for _ in range(10):
        await handle.execute_update("pause")
        await handle.execute_update("resume")
    again = {"resume": True, "position": None, "handoff": False}
    await until(lambda: house.actors.called("replicate")[-1] == again, 30, "a new run")
    return house.client.get_workflow_handle(handle.id, run_id=first)


async def data_replication_cancelled(house: House) -> Handle:
    handle = await _replicate(house, "data-replication")
    await handle.cancel()
    await house.ended(handle)
    return handle


async def data_replication_cancelled_between_steps(house: House) -> Handle:
    """The cancel meets the end of the data phase, which ends well."""
    house.actors.acts["copy_data"] = [until_told_and_done]
    handle = await house.begin("data-replication")
    await house.reached("copy_data")
    await handle.cancel()
    await house.ended(handle)
    return handle


async def data_replication_resumed_and_failed(house: House) -> Handle:
    house.actors.complete = True
    house.actors.acts["replicate"] = [failing(ValueRefused("public.a.c: a NUL byte"))]
    handle = await house.begin("data-replication", resume=True)
    await house.ended(handle)
    return handle


async def data_replication_running(house: House) -> Handle:
    """Still open, as operations are when a new version of the worker starts."""
    return await _replicate(house, "data-replication")


async def cleanup(house: House) -> Handle:
    handle = await _replicate(house, "change")
    await house.stop(handle, "change")
    return house.client.get_workflow_handle(f"{handle.id}-cleanup")


async def idle_watch(house: House) -> Handle:
    """Still open: between two looks."""
    handle = await house.client.start_workflow(
        IDLE_WATCH_WORKFLOW, IdleWatchRequest(3.0), id="idle-watch", task_queue=CONTROL_QUEUE
    )
    house.opened(handle)
    while await _timers(handle) < 2:
        await asyncio.sleep(0.2)
    return handle


async def _timers(handle: Handle) -> int:
    events = (await handle.fetch_history()).events
    return sum(e.event_type == EventType.EVENT_TYPE_TIMER_STARTED for e in events)


def _plain(mode: str) -> Callable[[House], Awaitable[Handle]]:
    return lambda house: completed(house, mode)


SCENES: dict[str, Callable[[House], Awaitable[Handle]]] = {
    **{mode: _plain(mode) for mode in ("schema-extract", "schema-apply", "objects-apply", "reset", "validate", "data")},
    **{
        scene.__name__.replace("_", "-"): scene
        for scene in (
            data_after_a_retry,
            data_failed,
            data_cancelled,
            replication_paused_and_cancelled,
            replication_as_a_new_run,
            data_replication_cancelled,
            data_replication_cancelled_between_steps,
            data_replication_resumed_and_failed,
            data_replication_running,
            cleanup,
            idle_watch,
        )
    },
}


def impersonal(value: Any) -> Any:
    """The history without process ids, host names and paths of the recording machine."""
    if isinstance(value, dict):
        return {k: impersonal(v) for k, v in value.items() if k != "stackTrace"}
    if isinstance(value, str):
        return "recorder" if PERSONAL.match(value) else value
    return [impersonal(v) for v in value] if isinstance(value, list) else value


async def record(address: str, folder: Path, names: Sequence[str]) -> None:
    NEWEST.mkdir(exist_ok=True)
    for name, scene in SCENES.items():
        if names and name not in names:
            continue
        async with open_house(address, folder / name) as house, house.worker():
            handle = await scene(house)
            history = impersonal(json.loads((await handle.fetch_history()).to_json()))
        content = {"workflow_id": handle.id, "history": history}
        (NEWEST / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
        print(f"{name}: {len(history['events'])} events")


def main() -> None:
    """All scenes, or those named, as when a new one is added beside the old."""
    with tempfile.TemporaryDirectory() as folder:
        server = Temporal.make(
            Path(folder) / "temporal", ["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=100"]
        )
        server.start()
        try:
            asyncio.run(record(server.address, Path(folder), sys.argv[1:]))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
