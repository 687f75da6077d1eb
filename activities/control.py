"""How a running step hears of cancel and pause, and how its progress reaches the catalog and Temporal."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING

from temporalio import activity

from activities.errors import masked_json
from activities.journal import Journal
from activities.masking import mask
from activities.patience import Trouble
from whimbrel.catalog.records import REPLICATING, Mode
from whimbrel.errors import Interrupted, WhimbrelError
from whimbrel.model.progress import ChangeProgress, Earlier, TableChangeTotals, TableProgress

if TYPE_CHECKING:
    from whimbrel.catalog.store import Catalog

logger = logging.getLogger(__name__)

HEARTBEAT_EVERY = 0.5  # seconds; the worker throttles what is too much
POLL_EVERY = 0.2
WRITE_EVERY = 0.5
FINISHING, LEAVING = 5.0, 1.0  # seconds

_MOVING = ("data", "change")
_FOLLOWING = REPLICATING - {Mode.CHANGE_QUEUE}  # that one moves no position of a database


class OperationControl:
    """``pipeline.control.Control`` for one attempt of one activity.

    Two threads live as long as the ``with`` block. One heartbeats, so that a slow catalog cannot make Temporal believe
    that the step died. The other polls the catalog for pause and writes progress to it; a step does not fail because
    its progress could not be shown.
    """

    def __init__(self, operation: str, catalog: Catalog, trouble: Trouble | None = None) -> None:
        self.trouble = trouble or Trouble()
        self._operation = operation
        self._catalog = catalog
        self._journal = Journal(operation, catalog)
        self._superseded = threading.Event()
        self._ended = threading.Event()
        self._prompt = threading.Event()
        self._pause_wanted = False
        self._resting: bool | None = None
        self._begun = False
        self._phase = ""
        self._first_figures: dict[str, object] = {}
        self._stuck_at: dict[str, object] | None = {} if self.trouble.failures else None  # figures when it got stuck
        self._catalog_fails = False
        self._threads: list[threading.Thread] = []
        self._context = contextvars.copy_context()  # of the activity; check() is asked from other threads too

    def __enter__(self) -> OperationControl:
        self._poll()
        if not self._pause_wanted:
            self.at_rest(False)  # an attempt that was killed at rest may have left 'paused' behind
        for name, body in (("heartbeat", self._beat), ("report", self._report)):
            run = contextvars.copy_context().run
            thread = threading.Thread(target=run, args=(body,), name=f"{name} {self._operation[:8]}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._prompt.set()
        for thread in self._threads:
            thread.join()
        self._write()

    def check(self) -> None:
        if self._superseded.is_set() or self._context.copy().run(told_to_leave):
            raise Interrupted

    def pause_wanted(self) -> bool:
        return self._pause_wanted

    def followed(self) -> bool:
        try:
            migration = self._catalog.get_operation(self._operation, detail=False).migration
            other = self._catalog.running_operation(migration)
        except WhimbrelError as e:
            self._catalog_failed(e)
            return True  # nobody knows: what moves is waited for
        return other is not None and other.mode in _FOLLOWING and not other.paused

    def at_rest(self, resting: bool) -> None:
        if resting is not self._resting:
            self._resting = resting
            self._journal.resting(resting)
            self._prompt.set()

    def patience(self) -> float:
        """For how many seconds the step may go on after it was told to leave: with what it has in hand, if it moves
        rows or changes, and hardly at all with anything else."""
        return FINISHING if self._phase in _MOVING else LEAVING

    def phase(self, name: str) -> None:
        self._phase = name
        self._journal.phase(name)
        self._prompt.set()

    def earlier(self) -> Earlier:
        return self._catalog.earlier(self._operation)

    def all_tables(self, progress: Sequence[TableProgress]) -> None:
        self._journal.tables(progress)
        for p in progress:
            self._moved(p.table, (p.status, p.rows_loaded, p.files_done))

    def table(self, progress: TableProgress) -> None:
        self.all_tables((progress,))

    def change_totals(self, totals: TableChangeTotals) -> None:
        self._journal.change_totals(totals)

    def change(self, progress: ChangeProgress) -> None:
        self._journal.change(progress)
        self._moved("", (progress.position, progress.transactions))

    def retained(self, bytes: int) -> None:
        self._journal.retained(bytes)

    def log(self, role: str, line: str) -> None:
        text = mask(line)
        logger.info("%s: %s", role, text, extra={"operation": self._operation})
        self._journal.line(role, text)

    def waits_for(self, error: WhimbrelError) -> None:
        self._stuck_at = {}
        self._journal.trouble(masked_json(error))
        self._prompt.set()

    def supersede(self) -> None:
        """A newer attempt of the same operation has begun in this process: leave at the next safe point."""
        self._superseded.set()

    @property
    def begun(self) -> bool:
        """Whether any attempt of the operation has told a figure: then both ends were reached once."""
        if self._begun:
            return True
        try:
            record = self._catalog.get_operation(self._operation)
        except WhimbrelError as e:
            self._catalog_failed(e)
            return True
        return record.progress is not None or record.change is not None

    @property
    def superseded(self) -> bool:
        return self._superseded.is_set()

    def keep(self, trouble: Trouble) -> None:
        """Leave this to the next attempt, by way of the last heartbeat."""
        self.trouble = trouble
        activity.heartbeat(asdict(trouble))

    def _moved(self, what: str, figures: object) -> None:
        """Forget earlier failures once any figure has moved since this attempt began, or since it got stuck."""
        self._begun = True
        stuck_at = self._stuck_at
        if stuck_at is not None and stuck_at.setdefault(what, figures) != figures:
            self._stuck_at = None
            self._journal.trouble(None)
        if self.trouble.failures and self._first_figures.setdefault(what, figures) != figures:
            self.trouble = Trouble()

    def _beat(self) -> None:
        while not self._ended.is_set():
            activity.heartbeat(asdict(self.trouble))
            self._ended.wait(HEARTBEAT_EVERY)

    def _report(self) -> None:
        written = time.monotonic()
        while not self._ended.is_set():
            prompt = self._prompt.wait(POLL_EVERY)
            self._prompt.clear()
            self._poll()
            if prompt or time.monotonic() - written >= WRITE_EVERY:
                self._write()
                written = time.monotonic()

    def _poll(self) -> None:
        try:
            self._pause_wanted = self._catalog.pause_wanted(self._operation)
        except Exception as e:
            self._catalog_failed(e)

    def _write(self) -> None:
        try:
            self._journal.write()
            self._catalog_fails = False
        except Exception as e:
            self._catalog_failed(e)

    def _catalog_failed(self, error: Exception) -> None:
        """Say it once a spell; the step itself goes on, whatever it was."""
        if not self._catalog_fails:
            unexpected = not isinstance(error, WhimbrelError)
            extra = {"operation": self._operation}
            logger.warning("operation %s: %s", self._operation, error, exc_info=unexpected, extra=extra)
        self._catalog_fails = True


def told_to_leave() -> bool:
    """Whether the activity that this is called from was cancelled, or its worker shuts down."""
    return activity.is_cancelled() or activity.is_worker_shutdown()
