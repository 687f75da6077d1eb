"""What is looked at while a soak runs: the operation as users see it, validations, and what the source may forget."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.engines import Side
from tests.servers.mysql import ClientFailed
from whimbrel.cli.client import ApiClient, path
from whimbrel.errors import ValidateFailed, WhimbrelError


class Observer:
    """Polls the status in a thread. ``failed`` is the error that ended the operation, if one did."""

    def __init__(self, api: ApiClient, migration: str) -> None:
        self.last: dict[str, Any] = {}
        self.failed: dict[str, Any] | None = None
        self.broken: BaseException | None = None  # an observer that fails is a failure of the soak
        self.most_lag = 0.0
        self.most_memory: Counter[str] = Counter()  # bytes by process
        self.unanswered = 0
        self.answered = 0.0  # when the last answer was asked for
        self._api, self._migration = api, migration
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def every(self, seconds: float, look: Callable[[], None]) -> None:
        """Call ``look`` again and again until ``stop``."""

        def run() -> None:
            try:
                while not self._stopping.wait(seconds):
                    look()
            except BaseException as e:
                self.broken = e

        self._threads.append(threading.Thread(target=run, daemon=True, name=look.__name__))
        self._threads[-1].start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(120)
        self.check()

    def check(self) -> None:
        """Raise when the operation has ended, or an observer has seen what must not be."""
        if self.failed is not None:
            raise AssertionError(f"the operation has ended: {json.dumps(self.failed, indent=1)}")
        if self.broken is not None:
            raise self.broken

    @property
    def change(self) -> dict[str, Any]:
        return self.last.get("change") or {}

    @property
    def transactions(self) -> int:
        return int(self.change.get("transactions") or 0)

    @property
    def caught_up(self) -> bool:
        return bool(self.change) and self.change["lag_seconds"] == 0 and self.change["lag_bytes"] == 0

    def look_at_status(self) -> None:
        asked = time.monotonic()
        try:
            answer = self._api.get(path("migrations", self._migration, "status"))
        except WhimbrelError:
            self.unanswered += 1  # the API is dead, or its Temporal is
            return
        operation = answer["operation"]
        if operation is None:
            self.failed = answer["last_operation"]
            return
        self.last, self.answered = operation, asked
        self.most_lag = max(self.most_lag, self.change.get("lag_seconds") or 0)

    def watch_memory(self, name: str, pid: Callable[[], int | None]) -> None:
        """Remember the most that a process and its children have held."""

        def look_at_memory() -> None:
            root = pid()
            if root is not None:
                self.most_memory[name] = max(self.most_memory[name], resident(root))

        self.every(2.0, look_at_memory)


class Validations:
    """Validates again and again while rows change and faults come. A difference that it tells of is false."""

    def __init__(self, api: ApiClient, migration: str) -> None:
        self.clean = 0
        self.disturbed: Counter[str] = Counter()  # by the code of the error that a fault made
        self._api, self._migration = api, migration

    def validate(self) -> None:
        try:
            answer = self._api.post(path("migrations", self._migration, "validate"), {})
        except ValidateFailed:
            raise  # no fault makes a comparison impossible
        except WhimbrelError as e:
            self.disturbed[e.code] += 1
            return
        if not answer["valid"]:
            unequal = [t for t in answer["tables"] if t["status"] != "equal"]
            raise AssertionError(f"a validation beside the soak tells of differences: {json.dumps(unequal, indent=1)}")
        self.clean += 1


class Forgetting:
    """A slot must never confirm what the target has not committed. ``looks`` counts the comparisons that were made."""

    def __init__(self, source: Side, target: Side, migration: str) -> None:
        self.looks = 0
        self.moved: set[int] = set()  # the confirmed positions that were seen
        self._source, self._target, self._migration = source, target, migration

    def compare(self) -> None:
        with suppress(RuntimeError, ClientFailed):  # one of them was killed just now
            confirmed, committed = self.positions()
            if confirmed > committed:
                raise AssertionError(f"the slot has confirmed {confirmed:x}, the target has committed {committed:x}")
            self.looks += 1
            self.moved.add(confirmed)

    def positions(self) -> tuple[int, int]:
        """What the slot has confirmed, and what the target has committed a moment later."""
        slot = "select coalesce(min(confirmed_flush_lsn - '0/0'), 0)::bigint from pg_replication_slots"
        confirmed = int(self._source.run(f"{slot} where database = current_database()"))
        progress = f"select position from whimbrel.progress where migration = '{self._migration}'"
        return confirmed, int(json.loads(self._target.run(progress))["order"][0])


def resident(root: int) -> int:
    """Bytes of memory that a process and all below it hold (those that they share are counted once for each)."""
    total, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        with suppress(OSError):
            folder = Path(f"/proc/{pid}")
            total += int((folder / "statm").read_text().split()[1]) * 4096
            for task in (folder / "task").iterdir():
                waiting += [int(p) for p in (task / "children").read_text().split()]
    return total


def wait_for(condition: Callable[[], bool], seconds: float, what: str, check: Callable[[], None]) -> None:
    """Poll until true, with ``check`` beside it. TimeoutError naming ``what``."""
    deadline = time.monotonic() + seconds
    while not condition():
        check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.3)
