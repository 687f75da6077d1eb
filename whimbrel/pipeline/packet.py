"""``position.pkt`` in the migration's working directory: a readable mirror of what the target's progress table holds.

The target's table decides, because it commits with the rows; the file is for people and for scripts that look for it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from whimbrel.model.job import Job
from whimbrel.model.position import Position
from whimbrel.pipeline.pair import open_target

NAME = "position.pkt"


def write_packet(
    workdir: Path, migration: str, position: Position | None, *, data_complete: bool, queue: Position | None = None
) -> None:
    """Replace the file in one step: a reader sees the old content or the new, never half of either.

    ``position`` is how far the database has come, ``queue`` how far the queue; None for the one that there is not.
    """
    workdir.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = {
        "migration": migration,
        "position": json.loads(position.to_json()) if position else None,
        "data_complete": data_complete,
        **({"queue": json.loads(queue.to_json())} if queue else {}),
    }
    temporary = workdir / f".{NAME}.{os.getpid()}"
    with temporary.open("w") as f:
        json.dump(content, f, indent=1)
        f.flush()
        os.fsync(f.fileno())
    temporary.replace(workdir / NAME)


def remove_packet(workdir: Path) -> None:
    """No error when there is none."""
    (workdir / NAME).unlink(missing_ok=True)


def data_is_complete(job: Job) -> bool:
    """Whether a data phase of this migration ended whole and left a position to go on from."""
    with open_target(job) as target:
        checkpoint = target.checkpoint(job.migration)
        try:
            state = checkpoint.state()
        finally:
            checkpoint.close()
    return state.data_complete and state.position is not None
