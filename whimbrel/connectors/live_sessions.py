"""The sessions that this process has open, so that one whose far end has gone silent can be cut from outside.

A statement on a session waits for its answer without a bound, because an index may take hours. When neither server is
at work for an operation any more, no answer will come: ``cut`` ends the sessions here, and whoever waits on one hears
of it as of any lost connection.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, TypeVar

from whimbrel.model.job import Role

S = TypeVar("S")
_Kept = tuple["weakref.ReferenceType[Any]", Callable[[Any], None]]

_lock = threading.RLock()  # a session may be collected, and forgotten, while the thread holds it
_open: dict[tuple[str, Role], dict[int, _Kept]] = {}


def track(operation: str, role: Role, session: S, shut: Callable[[S], None]) -> None:
    """Remember a session as long as it lives. ``shut`` ends its link from another thread than the one that uses it."""
    name, number = (operation, role), id(session)

    def forget(_: object) -> None:
        with _lock:
            sessions = _open.get(name, {})
            sessions.pop(number, None)
            if not sessions:
                _open.pop(name, None)

    with _lock:
        _open.setdefault(name, {})[number] = (weakref.ref(session, forget), shut)


def here(operation: str, role: Role, kind: type[S]) -> list[S]:
    """The operation's sessions of this kind that this process has on that side."""
    with _lock:
        kept = list(_open.get((operation, role), {}).values())
    return [session for reference, _ in kept if isinstance(session := reference(), kind)]


def cut(operation: str, roles: Collection[Role] = ("source", "target")) -> int:
    """End every session of the operation in this process, on these sides; how many were tried."""
    with _lock:
        ours = [sessions for (name, role), sessions in _open.items() if name == operation and role in roles]
        found = [kept for sessions in ours for kept in sessions.values()]
    for reference, shut in found:
        session = reference()
        if session is not None:
            with suppress(OSError):  # it has ended by itself
                shut(session)
    return len(found)
