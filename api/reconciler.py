"""Heals what fell between catalog and Temporal: at the start of the API, and every few seconds from then on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from api.dispatch import Dispatcher
from api.threads import in_thread
from whimbrel.catalog.records import OperationRecord
from whimbrel.catalog.store import Catalog
from whimbrel.errors import OrchestratorFailed, WhimbrelError

logger = logging.getLogger("api.reconciler")

EVERY_SECONDS = 15.0
DISOWN_SECONDS = 600.0  # how long a start whose answer was lost may come to light
GRACE_SECONDS = 10.0  # younger operations are still in the hands of the request that made them


async def reconcile(catalog: Catalog, dispatcher: Dispatcher, grace_seconds: float = GRACE_SECONDS) -> int:
    """Look at every running operation once; return how many were looked at.

    Recorded but never started: its workflow is started now (or the operation ends as failed). Started, but its
    workflow is closed: the end is recorded, and what a terminated one left is cleaned up. Given up at
    the start, and its workflow runs all the same: it is cancelled.
    """
    for given_up in await in_thread(catalog.given_up, DISOWN_SECONDS):
        await _attempt(dispatcher.disown, given_up)
    old = await in_thread(catalog.running_operations, grace_seconds)
    for record in old:
        await _attempt(dispatcher.settle, record)
    return len(old)


async def _attempt(heal: Callable[[OperationRecord], Awaitable[None]], record: OperationRecord) -> None:
    try:
        await heal(record)
    except OrchestratorFailed as e:
        logger.warning("operation %s (%s on %s): %s", record.id, record.mode, record.migration, e.message)


async def reconcile_forever(catalog: Catalog, dispatcher: Dispatcher, every_seconds: float = EVERY_SECONDS) -> None:
    """Reconcile until cancelled; no failure ends it."""
    while True:
        try:
            await reconcile(catalog, dispatcher)
        except WhimbrelError as e:
            logger.warning("reconciling will be tried again: %s", e.message)
        except Exception:
            logger.exception("reconciling will be tried again after an unexpected error")
        await asyncio.sleep(every_seconds)
