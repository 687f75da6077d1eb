"""A bound on what a far end may take, whatever it does meanwhile: nothing, or a byte now and then."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

LOGIN_SECONDS = 30.0  # connect, handshake, login and the first answer
LOOK_SECONDS = 120.0  # a whole look at a server, by somebody who waits for the answer
_AGAIN_SECONDS = 0.5


class Deadline:
    """``passed`` once the far end was cut off."""

    def __init__(self, cut: Callable[[], None]) -> None:
        self.passed = False
        self._cut = cut
        self._over = threading.Event()

    def watch(self, seconds: float) -> None:
        if self._over.wait(seconds):
            return
        self.passed = True
        while not self._over.is_set():  # a socket that is being made cannot be cut, its successor can
            with suppress(Exception):
                self._cut()
            self._over.wait(_AGAIN_SECONDS)

    def end(self) -> None:
        self._over.set()


@contextmanager
def within(seconds: float, cut: Callable[[], None]) -> Iterator[Deadline]:
    """Call ``cut`` from another thread, again and again, when the block takes longer: it is to shut the socket that the
    block reads from, which then fails."""
    deadline = Deadline(cut)
    thread = threading.Thread(target=deadline.watch, args=(seconds,), name="deadline", daemon=True)
    thread.start()
    try:
        yield deadline
    finally:
        deadline.end()
