"""Reset: drop or empty the target tables, or forget how far we were."""

from __future__ import annotations

from typing import Any

from whimbrel.errors import InvalidRequest
from whimbrel.model.job import Job
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.packet import remove_packet
from whimbrel.pipeline.pair import open_pair


def reset_target(job: Job, control: Control, mode: str) -> dict[str, Any]:
    """``drop``, ``truncate`` or ``metadata``; every mode also forgets the progress kept on the target."""
    if mode not in ("drop", "truncate", "metadata"):
        raise InvalidRequest(f"mode: {mode!r} is not one of drop, truncate, metadata", field="mode")
    control.phase("reset")
    with open_pair(job) as pair:
        checkpoint = pair.target.checkpoint(job.migration)
        try:
            checkpoint.clear(checkpoint.claim(), "")
        finally:
            checkpoint.close()
        remove_packet(job.workdir)
        names = pair.target.existing([t.name for t in pair.target_tables])
        if mode == "drop":
            done, failed = pair.target.reset(names, "drop")
            return {"mode": mode, "tables_dropped": done, "drop_failed": failed}
        if mode == "truncate":
            done, failed = pair.target.reset(names, "truncate")
            return {"mode": mode, "tables_truncated": done, "truncate_failed": failed}
        return {"mode": mode}
