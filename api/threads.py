"""Blocking calls (catalog, connectors) in worker threads, so that the event loop never waits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it in the shared pool (40 threads)."""
    return await to_thread.run_sync(partial(function, *args, **kwargs))


class SlowThreads:
    """A bound of its own for calls that may wait for a far end, so that they never starve the catalog's."""

    def __init__(self, threads: int = 16) -> None:
        self._limiter = CapacityLimiter(threads)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it as soon as one of the places is free; leaving early leaves the thread to end on its own."""
        return await to_thread.run_sync(
            partial(function, *args, **kwargs), limiter=self._limiter, abandon_on_cancel=True
        )
