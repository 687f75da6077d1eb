"""How many connections there may be at once, and who has to go for another one."""

from __future__ import annotations

import resource
import time
import weakref
from typing import Protocol

OPEN = 1000
ARRIVING = 1000
ARRIVING_SECONDS = 6.0  # a handshake has ended after that, well or not
_KEPT_DESCRIPTORS = 256  # for catalogs, far ends, files


class Connection(Protocol):
    """A client's connection, as far as it is counted."""

    @property
    def in_hand(self) -> bool: ...

    def abort(self) -> None: ...


class Connections:
    """Those of one server. Lives on its event loop.

    When there are too many, the one goes that has rested longest, or waits longest for its request to become whole;
    what is being answered to the owner of a key stays. So strangers who hold connections open hold nobody out.
    """

    def __init__(self, most: int | None = None) -> None:
        room = max(_descriptors() - _KEPT_DESCRIPTORS, 32) // 2
        self._most = most or min(OPEN, room)
        self._most_arriving = most or min(ARRIVING, room)
        self._open: dict[Connection, None] = {}  # the one that has rested longest is the first
        self._arriving: dict[int, tuple[float, weakref.ref[Connection]]] = {}

    def arrived(self, connection: Connection) -> None:
        """It was accepted, and is in its handshake. Raises ConnectionAbortedError when there is no room for it."""
        if len(self._arriving) >= self._most_arriving:
            now = time.monotonic()
            self._arriving = {i: a for i, a in self._arriving.items() if now < a[0] and a[1]() is not None}
        if len(self._arriving) >= self._most_arriving:
            raise ConnectionAbortedError("too many connections are in their handshake")
        self._arriving[id(connection)] = (time.monotonic() + ARRIVING_SECONDS, weakref.ref(connection))

    def opened(self, connection: Connection) -> None:
        """It may send requests now. Another one is ended for it when there are too many, or, if all are in hand, it."""
        self._arriving.pop(id(connection), None)
        self._open[connection] = None
        if len(self._open) > self._most:
            leaving = next(c for c in self._open if not c.in_hand)
            del self._open[leaving]
            leaving.abort()

    def rests(self, connection: Connection) -> None:
        """Its request was answered."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def closed(self, connection: Connection) -> None:
        """It has ended."""
        self._open.pop(connection, None)


def raise_descriptors() -> None:
    """Let this process hold as many descriptors as it is allowed to; the usual default is the low one of old."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 4 * (OPEN + ARRIVING)
    wanted = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
    if _descriptors() < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft
