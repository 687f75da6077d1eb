"""Workflows that somebody else than the API has started: the worker does what was recorded, and nothing else."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle

from activities.recorded import CLEANUP
from activities.recorded import WORKFLOWS as RECORDED
from tests.unit.workflows.house import MIGRATION, House, until_told
from whimbrel.catalog.records import Mode, Status
from workflows.messages import CLEANUP_WORKFLOW, CONTROL_QUEUE, WORKFLOWS, OperationRequest


async def refused(house: House, operation: str, id: str, migration: str = MIGRATION) -> None:
    """A Reset that somebody starts fails."""
    request = OperationRequest(operation, migration, "reset")
    with pytest.raises(WorkflowFailureError):
        await house.client.execute_workflow("Reset", request, id=id, task_queue=CONTROL_QUEUE)


async def running(house: House, mode: str = "data-replication") -> WorkflowHandle[Any, Any]:
    house.actors.acts["copy_data"] = [until_told]
    handle = await house.begin(mode)
    await house.reached("copy_data")
    return handle


def test_the_types_are_those_of_the_workflows() -> None:
    assert {mode.value: type for mode, type in RECORDED.items()} == WORKFLOWS
    assert CLEANUP == CLEANUP_WORKFLOW


async def test_a_reset_with_the_id_of_what_runs_does_nothing(house: House) -> None:
    handle = await running(house)
    before = list(house.actors.calls)
    for id in (str(uuid.uuid4()), f"{handle.id}-cleanup"):
        await refused(house, handle.id, id)
    assert house.actors.calls == before
    assert house.operation(handle).status is Status.RUNNING  # its end is not recorded by strangers either
    await handle.cancel()
    assert (await house.ended(handle)).status is Status.CANCELLED


async def test_what_has_ended_is_not_done_again(house: House) -> None:
    handle = await house.begin("reset", mode="drop")
    await house.ended(handle)
    house.actors.calls.clear()
    for id in (handle.id, str(uuid.uuid4())):
        await refused(house, handle.id, id)
    assert house.actors.called("reset_target") == []
    assert house.operation(handle).status is Status.COMPLETED


async def test_another_migration_is_not_touched(house: House) -> None:
    id = str(uuid.uuid4())
    house.catalog.begin_operation(MIGRATION, Mode.RESET, id, "hash", {"mode": "drop"})
    await refused(house, id, id, migration="theirs")
    assert house.actors.called("reset_target") == []


async def test_nothing_is_cleaned_up_behind_what_runs(house: House) -> None:
    """A stop without its first half: it would end the connections of a step that is at work."""
    handle = await running(house)
    request = OperationRequest(handle.id, MIGRATION, "data-replication")
    with pytest.raises(WorkflowFailureError):
        await house.client.execute_workflow(
            CLEANUP_WORKFLOW, request, id=f"{handle.id}-cleanup", task_queue=CONTROL_QUEUE
        )
    assert house.actors.called("clean_up") == []
    assert house.operation(handle).status is Status.RUNNING
    await house.stop(handle, "data-replication")
    assert house.operation(handle).status is Status.STOPPED
    assert house.actors.called("clean_up")


@pytest.mark.parametrize(
    ("mode", "recorded", "resume", "position"),
    [
        ("data", {"resume": True}, False, None),
        ("data", {}, True, None),
        ("data-replication", {"resume": True}, False, None),
        ("data-replication", {"position": "0/10"}, False, "0/20"),
        ("change", {"resume": True}, False, None),
        ("change", {"position": "0/10"}, False, "0/20"),
        ("change", {"position": "0/10"}, True, "0/10"),
        ("change", {}, False, "0/10"),
    ],
)
async def test_an_operation_does_what_was_recorded_alone(
    house: House, mode: str, recorded: dict[str, Any], resume: bool, position: str | None
) -> None:
    id = str(uuid.uuid4())
    house.catalog.begin_operation(MIGRATION, Mode(mode), id, "hash", recorded)
    request = OperationRequest(id, MIGRATION, mode, resume, position)
    handle = await house.client.start_workflow(WORKFLOWS[mode], request, id=id, task_queue=CONTROL_QUEUE)
    house.opened(handle)
    with pytest.raises(WorkflowFailureError):
        await handle.result()
    assert house.actors.called("replicate") == []
    if resume != recorded.get("resume", False):
        assert house.actors.called("copy_data") == []
