"""One answer of ``/status`` for all who ask at the same time: read once, shared, and never older than it may be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from api.envelope import encoded
from api.orchestrator import Orchestrator
from api.threads import in_thread
from api.views import held_view, let_go_view, operation_view
from whimbrel.catalog.records import OperationRecord, Status
from whimbrel.catalog.store import Catalog

FRESH_SECONDS = 0.2  # younger answers are given as they are
USABLE_SECONDS = 1.0  # older ones are given while a new one is read, which takes long only on a starved machine
KEPT = 256  # migrations


@dataclass(frozen=True)
class Reading:
    """``body`` is the answer's result as JSON; ``running`` the id of the operation that it shows as running."""

    body: bytes
    running: str | None
    asked_at: float = 0.0


class Statuses:
    """Readings by migration. ``read`` may raise; errors are shared by those who wait, and not kept.

    What this process itself changes shows at once: call ``forget`` after each change, ``saw`` when an end was shown.
    Lives on one event loop; no method but ``get`` waits.
    """

    def __init__(self, read: Callable[[str], Awaitable[Reading]]) -> None:
        self._read = read
        self._readings: dict[str, Reading] = {}
        self._flights: dict[str, asyncio.Task[Reading]] = {}

    async def get(self, migration: str) -> bytes:
        """The answer, read at most USABLE_SECONDS ago, or now. Raises what ``read`` raises."""
        found = self.at_hand(migration)
        return found if found is not None else (await asyncio.shield(self._flight(migration))).body

    def at_hand(self, migration: str) -> bytes | None:
        """The answer if it can be given without waiting; one that ages is read anew meanwhile."""
        found = self._readings.get(migration)
        age = time.monotonic() - found.asked_at if found is not None else 0.0
        if found is None or age >= USABLE_SECONDS:
            return None
        if age > FRESH_SECONDS:
            self._flight(migration)
        return found.body

    def forget(self) -> None:
        """Something was changed: what was read, or is just being read, is not to be shown any more."""
        self._readings.clear()
        self._flights.clear()

    def saw(self, records: Iterable[OperationRecord]) -> None:
        """Do not show an operation as running after it was shown to have ended."""
        for record in records:
            found = self._readings.get(record.migration)
            if found is not None and found.running == record.id and record.status is not Status.RUNNING:
                del self._readings[record.migration]
                self._flights.pop(record.migration, None)

    def _flight(self, migration: str) -> asyncio.Task[Reading]:
        """The reading under way, begun unless there is one."""
        flight = self._flights.get(migration)
        if flight is None:
            flight = self._flights[migration] = asyncio.create_task(self._fetch(migration, time.monotonic()))
            flight.add_done_callback(lambda done: self._landed(migration, done))
        return flight

    async def _fetch(self, migration: str, asked_at: float) -> Reading:
        found = await self._read(migration)
        return Reading(found.body, found.running, asked_at)

    def _landed(self, migration: str, flight: asyncio.Task[Reading]) -> None:
        failed = flight.cancelled() or flight.exception() is not None
        if self._flights.get(migration) is not flight:
            return  # overtaken by a change
        del self._flights[migration]
        self._readings.pop(migration, None)
        if not failed:
            self._readings[migration] = flight.result()
            if len(self._readings) > KEPT:
                del self._readings[next(iter(self._readings))]


def reader(catalog: Catalog, orchestrator: Orchestrator) -> Callable[[str], Awaitable[Reading]]:
    """What ``Statuses`` reads with: the catalog alone, which workers keep up to date."""

    def view(record: OperationRecord | None) -> dict[str, Any] | None:
        return None if record is None else operation_view(record, orchestrator.url(record.id))

    def read(migration: str) -> Reading:
        running, last = catalog.status(migration)
        state = "idle" if running is None else "paused" if running.paused else "running"
        kept = catalog.held.find(migration)
        result = {
            "migration": migration,
            "state": state,
            "operation": view(running),
            "last_operation": view(last),
            "held": held_view(kept, last.id) if last else None,
            "let_go": let_go_view(kept),
        }
        return Reading(encoded(result), running.id if running else None)

    return lambda migration: in_thread(read, migration)
