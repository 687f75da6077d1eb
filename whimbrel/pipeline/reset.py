"""Reset: drop or empty the target tables, or forget how far we were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from whimbrel.errors import ConnectionRefused, InvalidRequest, ResetFailed, WhimbrelError
from whimbrel.model.job import Job
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.packet import remove_packet
from whimbrel.pipeline.pair import Pair, open_pair, open_source


def reset_target(job: Job, control: Control, mode: str) -> dict[str, Any]:
    """``drop``, ``truncate`` or ``metadata``; every mode also forgets the progress kept on the target.

    With the position goes what kept the source's log from there on (slot, publication): nobody could read it any more.
    Idempotent. Raises ResetFailed, a leaf of ConnectionRefused, or a retryable error of a server that went away.
    """
    if mode not in ("drop", "truncate", "metadata"):
        raise InvalidRequest(f"mode: {mode!r} is not one of drop, truncate, metadata", field="mode")
    control.phase("reset")
    with _as_reset_failed():
        with open_pair(job) as pair:
            with closing(pair.target.checkpoint(job.migration)) as checkpoint:
                checkpoint.clear(checkpoint.claim(), "")
            remove_packet(job.workdir)
            result = _reset(pair, mode)
        with open_source(job) as source:
            source.cleanup(job)
    return result


def _reset(pair: Pair, mode: str) -> dict[str, Any]:
    names = pair.target.existing([t.name for t in pair.target_tables])
    if mode == "drop":
        done, failed = pair.target.reset(names, "drop")
        return {"mode": mode, "tables_dropped": done, "drop_failed": failed}
    if mode == "truncate":
        done, failed = pair.target.reset(names, "truncate")
        return {"mode": mode, "tables_truncated": done, "truncate_failed": failed}
    return {"mode": mode}


@contextmanager
def _as_reset_failed() -> Iterator[None]:
    """What stops a reset has one code; what a retry may heal, and what did not let us in, keeps its own."""
    try:
        yield
    except WhimbrelError as e:
        if e.retryable or isinstance(e, ConnectionRefused):
            raise
        raise ResetFailed(e.message, remedy=e.how_to_fix, **e.extra) from e
