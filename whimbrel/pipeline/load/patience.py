"""Trying again while the cause of an error may pass by itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from whimbrel.errors import WhimbrelError

T = TypeVar("T")

PATIENCE = 600.0  # seconds to wait for a server or a disk to come back before the whole step is tried again


def patiently(
    work: Callable[[], T],
    passing: tuple[type[WhimbrelError], ...],
    tell: Callable[[str, WhimbrelError], None],
    stop: Callable[[], bool] = lambda: False,
) -> T:
    """Call ``work`` until it succeeds; after errors of ``passing`` again, at growing intervals of up to 5 seconds.

    ``tell`` gets a line and the error for each new try. The error surfaces after PATIENCE seconds, or once ``stop``
    says so.
    """
    deadline, pause = time.monotonic() + PATIENCE, 0.5
    while True:
        try:
            return work()
        except passing as e:
            if stop() or time.monotonic() > deadline:
                raise
            tell(f"{e.message}; trying again in {pause:g} s", e)
            again = time.monotonic() + pause
            while (left := again - time.monotonic()) > 0 and not stop():
                time.sleep(min(left, 0.25))
            pause = min(pause * 2, 5.0)
