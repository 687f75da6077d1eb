"""Migrations that nobody follows: what their sources keep is noted, and let go before it fills a disk."""

from __future__ import annotations

import contextvars
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from temporalio import activity

from activities.cleanup import note_held
from activities.control import told_to_leave
from activities.errors import as_failure, classify
from activities.jobs import build_job, catalog
from activities.masking import mask
from activities.messages import LookAtIdle, LookedAtIdle
from whimbrel.catalog.held import Idle
from whimbrel.errors import ConnectionRefused, InvalidRequest, WhimbrelError
from whimbrel.pipeline import cleanup

logger = logging.getLogger(__name__)

VARIABLE = "WHIMBREL_HELD_BYTES"
DEFAULT = 10_000_000_000
HEARTBEAT_EVERY = 1.0


def most_held(environment: Mapping[str, str] = os.environ) -> int:
    """Bytes of log that a source may keep for a migration that nobody follows. Raises InvalidRequest."""
    text = environment.get(VARIABLE) or str(DEFAULT)
    if not text.isdigit():
        raise InvalidRequest(f"{VARIABLE}: {text!r} is not a number of bytes")
    return int(text)


@activity.defn(no_thread_cancel_exception=True)
def look_at_idle(_: LookAtIdle) -> LookedAtIdle:
    """Look at each once. A source that does not answer is asked once, however many migrations it has."""
    try:
        with _heartbeats():
            return _look_at_all(most_held())
    except Exception as e:
        raise as_failure(classify(e)) from None


def _look_at_all(most: int) -> LookedAtIdle:
    found = catalog().held.idle()
    held = let_go = 0
    silent: set[str] = set()
    for idle in found:
        if told_to_leave():
            break
        try:
            source = catalog().get_migration(idle.migration).source
            if source in silent:
                continue
            kept, gone = _look_at(idle, most)
        except WhimbrelError as e:
            if isinstance(e, ConnectionRefused):
                silent.add(source)
            logger.warning("idle migration %s could not be looked at: %s", idle.migration, mask(e.message))
            continue
        held, let_go = held + kept, let_go + gone
    return LookedAtIdle(len(found), held, let_go)


def _look_at(idle: Idle, most: int) -> tuple[bool, bool]:
    """Whether its source still keeps something, and whether that was let go now."""
    job = build_job(idle.operation, idle.migration)
    kept = cleanup.held(job)
    if kept is None or kept.bytes <= most:
        return note_held(idle.migration, kept) is not None, False
    if not catalog().held.mark_let_go(idle.migration, kept.slot, kept.bytes):
        return True, False  # somebody has begun to follow it
    cleanup.let_go(job)
    line = (
        f"nobody followed slot {kept.slot}, and the source kept {kept.bytes} bytes of its log for it, more than the "
        f"{most} of {VARIABLE}: it was dropped. This migration cannot be resumed; start it with resume=false"
    )
    logger.warning("migration %s: %s", idle.migration, line, extra={"operation": idle.operation})
    catalog().append_log(idle.operation, "orchestrator", line)
    return False, True


@contextmanager
def _heartbeats() -> Iterator[None]:
    """So that a server that does not answer is not taken for a worker that died."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT_EVERY):
            activity.heartbeat()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(beat,), name="heartbeat idle", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
