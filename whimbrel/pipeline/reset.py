"""Reset: drop or empty the target tables, or forget how far we were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from whimbrel.connectors.protocols import Ledger
from whimbrel.errors import ConnectionRefused, InvalidRequest, ResetFailed, WhimbrelError
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.packet import remove_packet
from whimbrel.pipeline.pair import Pair, open_pair, open_source


def reset_target(job: Job, control: Control, mode: str, *, force: bool = False) -> dict[str, Any]:
    """``drop``, ``truncate`` or ``metadata``; every mode also forgets the progress kept on the target.

    Tables that the migration neither made nor loaded are somebody else's: they stay as they are and are named in the
    result, unless ``force``. With the position goes what kept the source's log from there on (slot, publication):
    nobody could read it any more. Idempotent. Raises ResetFailed, a leaf of ConnectionRefused, or a retryable error of
    a server that went away.
    """
    if mode not in ("drop", "truncate", "metadata"):
        raise InvalidRequest(f"mode: {mode!r} is not one of drop, truncate, metadata", field="mode")
    control.phase("reset")
    with _as_reset_failed():
        with open_pair(job) as pair, closing(pair.target.ledger(job.migration)) as ledger:
            epoch = ledger.claim()
            loaded = ledger.state().tables
            ledger.own([target.name for source, target in pair.both if source.name in loaded])
            ledger.clear(epoch, "")
            remove_packet(job.workdir)
            result = {"mode": mode} if mode == "metadata" else _reset(pair, ledger, mode, force)
        with open_source(job) as source:
            source.cleanup(job)
    for name in result.get("tables_left", ()):
        control.log("loader", f"{name} was left alone: this migration neither made nor loaded it")
    return result


def _reset(pair: Pair, ledger: Ledger, mode: str, force: bool) -> dict[str, Any]:
    there = pair.target.existing([t.name for t in pair.target_tables])
    owned = ledger.owned()
    ours = [name for name in there if force or name in owned]
    left = [str(name) for name in there if name not in set(ours)]
    if mode == "drop":
        done, failed = pair.target.reset(ours, "drop")
        _disown_dropped(pair, ledger, ours)
        return {"mode": mode, "tables_dropped": done, "drop_failed": failed, "tables_left": left}
    done, failed = pair.target.reset(ours, "truncate")
    return {"mode": mode, "tables_truncated": done, "truncate_failed": failed, "tables_left": left}


def _disown_dropped(pair: Pair, ledger: Ledger, names: Sequence[TableName]) -> None:
    still = set(pair.target.existing(names))
    ledger.disown([name for name in names if name not in still])


@contextmanager
def _as_reset_failed() -> Iterator[None]:
    """What stops a reset has one code; what a retry may heal, and what did not let us in, keeps its own."""
    try:
        yield
    except WhimbrelError as e:
        if e.retryable or isinstance(e, ConnectionRefused):
            raise
        raise ResetFailed(e.message, remedy=e.how_to_fix, **e.extra) from e
