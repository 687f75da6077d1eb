"""Today's workflow code must follow every recorded history: operations in flight survive a new worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.replay.record import HISTORIES, SCENES
from worker.main import workflow_runner
from worker.registry import WORKFLOWS


def recorded() -> list[Path]:
    return sorted(HISTORIES.rglob("*.json"))


@pytest.mark.parametrize("file", recorded(), ids=lambda file: file.relative_to(HISTORIES).with_suffix("").as_posix())
async def test_history_replays(file: Path) -> None:
    content = json.loads(file.read_text())
    history = WorkflowHistory.from_json(content["workflow_id"], content["history"])
    await Replayer(workflows=WORKFLOWS, workflow_runner=workflow_runner()).replay_workflow(history)


def test_every_scene_and_every_workflow_is_recorded() -> None:
    assert {file.stem for file in recorded()} == set(SCENES)
    started = [json.loads(f.read_text())["history"]["events"][0] for f in recorded()]
    types = {e["workflowExecutionStartedEventAttributes"]["workflowType"]["name"] for e in started}
    assert types == {w.__name__ for w in WORKFLOWS}


async def test_a_history_of_other_code_is_noticed() -> None:
    content = json.loads((HISTORIES / "data.json").read_text())
    text = json.dumps(content["history"]).replace('"copy_data"', '"move_data"')
    history = WorkflowHistory.from_json(content["workflow_id"], text)
    replayer = Replayer(workflows=WORKFLOWS, workflow_runner=workflow_runner())
    with pytest.raises(Exception, match="Nondeterminism"):
        await replayer.replay_workflow(history)
