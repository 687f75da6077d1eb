"""Which operations this process is working on: two attempts of one operation must not work side by side.

Temporal starts a new attempt when heartbeats stop coming through, even if the old one, cut off from Temporal, still
runs. Writes to the target are fenced; what fencing cannot share (a replication slot, the working directory) is kept
apart here. Other processes are held off by the fence and by heartbeats alone.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from activities.control import OperationControl
from whimbrel.errors import SourceInterrupted

REST_SECONDS = 60.0

_changed = threading.Condition()
_running: dict[str, OperationControl] = {}


@contextmanager
def alone(operation: str, control: OperationControl) -> Iterator[None]:
    """Hold the operation's only place in this process, after sending an older attempt home.

    Raises SourceInterrupted (retryable) when the older attempt does not leave within REST_SECONDS.
    """
    wait_until_left(operation)
    with _changed:
        _running[operation] = control
    try:
        yield
    finally:
        with _changed:
            if _running.get(operation) is control:
                del _running[operation]
            _changed.notify_all()


def wait_until_left(operation: str, seconds: float = REST_SECONDS) -> None:
    """Ask an attempt that still runs in this process to leave, and wait for it."""
    deadline = time.monotonic() + seconds
    with _changed:
        while operation in _running:
            _running[operation].supersede()
            if not _changed.wait(max(0.0, deadline - time.monotonic())):
                raise SourceInterrupted(
                    f"operation {operation}: an earlier attempt has not come to rest within {seconds:g} seconds"
                )
