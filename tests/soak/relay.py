"""A TCP relay between the product and a database server, which can cut, delay and half-open the links through it.

A half-open link is one whose far end is gone without a word. Its near end is left alone with it for the length of the
fault, and is then reset, as a firewall resets what it has forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

CHUNK = 1 << 16
End = Literal["client", "server"]
_RESET = struct.pack("ii", 1, 0)  # linger for no time at all: closing sends a reset


@dataclass(eq=False)
class _Link:
    """Both halves of one connection through the relay, by the end that each leads to."""

    writers: dict[End, asyncio.StreamWriter]
    forgotten: set[End] = field(default_factory=set)  # ends that are gone without a word

    def reset(self, end: End) -> None:
        writer = self.writers.get(end)
        if writer is None:
            return
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()


class Relay:
    """Listens on ``port`` and passes everything on to ``server_port``. Use as a context manager.

    It runs in a thread of its own. The faults last as long as their block; afterwards all links work again.
    """

    def __init__(self, port: int, server_port: int) -> None:
        self.port, self.server_port = port, server_port
        self.bytes = 0
        self._delay = 0.0
        self._silent: End | None = None  # which end new and old links lead nowhere from
        self._links: set[_Link] = set()
        self._listener: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"relay-{port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    # --- faults -----------------------------------------------------------------------------------------------------

    def cut(self, seconds: float) -> None:
        """Reset every link, and refuse new ones meanwhile."""
        self._do(self._shut())
        time.sleep(seconds)
        self._do(self._listen())

    def delay(self, seconds: float, each: float) -> None:
        """Hold every piece of up to 64 KiB back for ``each`` seconds, both ways."""
        self._delay = each
        time.sleep(seconds)
        self._delay = 0.0

    def half_open(self, seconds: float, kept: End) -> None:
        """``kept='client'``: the server's end is gone and the client hears nothing, nor does who connects meanwhile.

        ``kept='server'``: the client's end is gone and the server does not know, but a new connection works.
        """
        gone: End = "server" if kept == "client" else "client"
        self._silent = "client" if kept == "client" else None
        left = self._do(self._forget(gone))
        time.sleep(seconds)
        self._silent = None
        self._do(self._reset(left, kept))

    # --- in the relay's own thread ------------------------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=CHUNK)

    async def _shut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for link in list(self._links):
            link.reset("client")
            link.reset("server")

    async def _forget(self, gone: End) -> list[_Link]:
        links = list(self._links)
        for link in links:
            link.forgotten.add(gone)
            link.reset(gone)
        return links

    async def _reset(self, links: list[_Link], kept: End) -> None:
        for link in (*links, *(link for link in self._links if link.forgotten)):
            link.reset(kept)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link({"client": writer})
        self._links.add(link)
        try:
            if self._silent:
                link.forgotten.add("server")
                while await reader.read(CHUNK):
                    pass
                return
            try:
                other, link.writers["server"] = await asyncio.open_connection(
                    "127.0.0.1", self.server_port, limit=CHUNK
                )
            except OSError:
                link.reset("client")
                return
            await asyncio.gather(self._pump(link, reader, "server"), self._pump(link, other, "client"))
        except OSError:
            pass  # one end has gone
        finally:
            self._links.discard(link)
            for end in ("client", "server"):
                if end in link.writers:
                    link.writers[end].close()

    async def _pump(self, link: _Link, reader: asyncio.StreamReader, to: End) -> None:
        """Pass on what comes until it ends; what is meant for an end that is gone is swallowed."""
        origin: End = "client" if to == "server" else "server"
        try:
            while piece := await reader.read(CHUNK):
                if self._delay:
                    await asyncio.sleep(self._delay)
                if to in link.forgotten:
                    continue
                link.writers[to].write(piece)
                self.bytes += len(piece)
                await link.writers[to].drain()
        except OSError:
            if to not in link.forgotten and origin not in link.forgotten:
                link.reset(to)
            if to in link.forgotten:  # the write failed because the end is gone: swallow the rest
                with contextlib.suppress(OSError):
                    while await reader.read(CHUNK):
                        pass
        if to in link.forgotten or origin in link.forgotten:
            return
        with contextlib.suppress(OSError):
            link.writers[to].write_eof()
