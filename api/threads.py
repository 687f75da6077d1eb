"""Blocking calls (catalog, connectors) in worker threads, so that the event loop never waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request

from api.incoming import ClientGone
from whimbrel.errors import HostUnreachable

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it in the shared pool (40 threads)."""
    return await to_thread.run_sync(partial(function, *args, **kwargs))


class SlowThreads:
    """A bound of its own for calls that may wait for a far end, so that they never starve the catalog's.

    ``most``: how many threads there may be with those that nobody waits for any more.
    """

    def __init__(self, threads: int = 16, most: int = 64) -> None:
        self._limiter = CapacityLimiter(threads)
        self._most = most
        self._running = 0
        self._lock = threading.Lock()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it as soon as one of the places is free; leaving early gives the place back and leaves the thread to end
        on its own. Raises HostUnreachable when too many do."""
        call = partial(self._counted, partial(function, *args, **kwargs))
        return await to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=True)

    async def run_for(self, request: Request, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what changes nothing: it is left when the client leaves. Raises ClientGone then."""
        work = asyncio.ensure_future(self.run(function, *args, **kwargs))
        leaving = asyncio.ensure_future(_left(request))
        try:
            await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise ClientGone
        finally:
            for task in (work, leaving):
                task.cancel()
            await asyncio.gather(work, leaving, return_exceptions=True)

    def _counted(self, call: Callable[[], T]) -> T:
        with self._lock:
            if self._running >= self._most:
                raise HostUnreachable(f"{self._most} calls wait for servers that do not answer")
            self._running += 1
        try:
            return call()
        finally:
            with self._lock:
                self._running -= 1


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
