"""``position.pkt`` in the migration's working directory: a readable mirror of what the target's progress table holds.

The target's table decides, because it commits with the rows; the file is for people and for scripts that look for it.
Only where a queue has lost its position does it decide something: that one was there.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whimbrel.model.job import Job
from whimbrel.model.position import Position
from whimbrel.pipeline.files import replace_file
from whimbrel.pipeline.pair import open_source, open_target

NAME = "position.pkt"


@dataclass(frozen=True)
class QueueMirror:
    """How far the queue has come, in what it keeps its position, and the operation that began there."""

    position: Position
    kept_in: str
    begun_by: str


def write_packet(
    workdir: Path, migration: str, position: Position | None, *, data_complete: bool, queue: QueueMirror | None = None
) -> None:
    """Replace the file in one step: a reader sees the old content or the new, never half of either.

    ``position`` is how far the database has come, ``queue`` how far the queue; None for the one that there is not.
    """
    content: dict[str, Any] = {
        "migration": migration,
        "position": json.loads(position.to_json()) if position else None,
        "data_complete": data_complete,
    }
    if queue is not None:
        content["queue"] = json.loads(queue.position.to_json())
        content["queue_position"] = {"kept_in": queue.kept_in, "begun_by": queue.begun_by}
    replace_file(workdir / NAME, json.dumps(content, indent=1).encode())


def read_queue(workdir: Path) -> QueueMirror | None:
    """What was last written about the queue; None when nothing was, or nothing that can be read."""
    try:
        content = json.loads((workdir / NAME).read_text())
        position = Position.from_json(json.dumps(content["queue"]))
        return QueueMirror(position, content["queue_position"]["kept_in"], content["queue_position"]["begun_by"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_packet(workdir: Path) -> None:
    """No error when there is none."""
    (workdir / NAME).unlink(missing_ok=True)


def data_is_complete(job: Job) -> bool:
    """Whether a data phase ended whole for all tables that the migration has now, and left a position to go on from."""
    with open_target(job) as target, closing(target.ledger(job.migration)) as ledger:
        state = ledger.state()
    if not state.data_complete:
        return False
    with open_source(job) as source:
        return state.holds(source.resolve(job.tables))
