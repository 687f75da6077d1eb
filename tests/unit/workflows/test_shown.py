"""What Temporal's UI shows of an operation: a line for each workflow and step, and details that follow the figures."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from unittest.mock import patch

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import WorkflowHandle
from temporalio.converter import DataConverter

from tests.unit.workflows.house import SECRET, House, failing, until_told
from whimbrel.catalog.records import Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import CatalogUnreachable, SourceInterrupted
from whimbrel.model.job import Job
from whimbrel.model.progress import ChangeProgress, TableProgress
from whimbrel.pipeline.control import Control
from worker.details import QUERY
from workflows.titles import bounded

FIGURES = ChangeProgress("0/16B3748", "0/16B3800", 2.5, 1234, 7, 5, 4, 3, 0, 0, 9.0, 0)
STEPS = {
    "copy_data": "copy every row: s (postgres) → t (postgres), 1 table",
    "replicate": "follow every change: s (postgres) → t (postgres), 1 table",
    "set_pause": "bring it to rest, or let it go on",
    "clean_up": "end connections, remove staged files",
    "record_outcome": "record how it ended",
}


async def details(handle: WorkflowHandle[Any, Any]) -> str:
    """As the UI asks for them."""
    return str((await handle.query(QUERY, result_type=WorkflowMetadata)).current_details)


async def summaries(handle: WorkflowHandle[Any, Any]) -> dict[str, str]:
    found = {}
    for event in (await handle.fetch_history()).events:
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            payloads = [event.user_metadata.summary]
            named = event.activity_task_scheduled_event_attributes.activity_type.name
            found[named] = (await DataConverter.default.decode(payloads, [str]))[0]
    return found


async def shown(house: House, handle: WorkflowHandle[Any, Any], *wanted: str) -> str:
    """The details, once all of that stands in them."""
    deadline = time.monotonic() + 15
    while True:
        text = await details(handle)
        if all(w in text for w in wanted):
            return text
        assert time.monotonic() < deadline, f"{wanted} not all in {text!r}"
        await asyncio.sleep(0.05)


def half_loaded(job: Job, control: Control) -> None:
    control.phase("data")
    control.all_tables([TableProgress("public.a", "copying", 1_000, 500, 500, 100, 1, 2)])
    until_told(job, control)


def following(job: Job, control: Control) -> None:
    control.phase("change")
    control.change(FIGURES)
    until_told(job, control)


async def test_details_follow_the_figures_and_leave_no_event(house: House) -> None:
    house.actors.acts = {"copy_data": [half_loaded], "replicate": [following]}
    handle = await house.begin("data-replication")
    text = await shown(house, handle, "**running**, phase **data**", "rows: 500 of about 1,000", "0 of 1 done")
    assert "**50 %**" in text or "**49.9 %**" in text, text
    before = (await handle.describe()).history_length
    for _ in range(3):
        await details(handle)
    assert (await handle.describe()).history_length == before
    await handle.execute_update("pause")
    await shown(house, handle, "**paused**")
    await handle.cancel()
    assert (await house.ended(handle)).status is Status.CANCELLED
    assert "**cancelled**" in await details(handle)
    told = await summaries(handle)
    assert told == {name: text for name, text in STEPS.items() if name != "replicate"}
    assert await (await handle.describe()).static_summary() == "shop: s (postgres) → t (postgres), 1 table"


async def test_lag_changes_and_the_last_error_stand_in_them_and_no_secret(house: House) -> None:
    house.actors.acts["replicate"] = [
        failing(SourceInterrupted(f"lost with {SECRET}\n# no headline\n```", remedy="Wait.")),
        following,
    ]
    handle = await house.begin("change")
    text = await shown(house, handle, "**last error**", "    EXTRACTOR_FAILED: lost with ***")
    assert SECRET not in text
    assert all(line.startswith("    ") for line in text.splitlines() if "no headline" in line or "```" in line)
    await shown(house, handle, "lag: 2.5 s, 1,234 bytes of log", "5 inserts, 4 updates, 3 deletes in 7 transactions")
    assert (await summaries(handle))["replicate"] == STEPS["replicate"]


async def test_without_the_catalog_the_workflow_says_what_it_knows(house: House) -> None:
    house.actors.acts["replicate"] = [until_told]
    handle = await house.begin("change")
    await house.reached("replicate")
    with patch.object(Catalog, "figures", side_effect=CatalogUnreachable("away")):
        assert await details(handle) == "**running**\n\nshop: s (postgres) → t (postgres), 1 table"


@pytest.mark.parametrize("name", ["é" * 400, "a" * 1000])
def test_a_title_is_never_longer_than_temporal_takes(name: str) -> None:

    assert 370 < len(bounded(name).encode()) <= 400
    assert bounded(name).endswith("…")
