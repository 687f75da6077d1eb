"""The story that the demo tells, from two empty servers to a proof that source and target are equal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from demo.proof import Sum, source_sums, target_sums
from demo.screen import Screen
from demo.shop import DATABASE, SCHEMA, Shop, make_mover, parameters
from demo.stack import Stack
from demo.writer import Writer
from tests.servers.postgres import Postgres
from whimbrel.cli.client import ApiClient, path
from whimbrel.errors import from_json

MIGRATION = "shop"
POLL_SECONDS = 0.2
KILL_AT_PERCENT = 25
PICTURE_UP_TO_PERCENT = 85  # while there is still a bar that moves
PAUSE_SECONDS = 3.0
WRITE_SECONDS = 6.0  # how long the writer goes on after the pause
LONGEST_WAIT = 180.0


class DemoFailed(Exception):
    """The demo could not be brought to its end; the text says at what."""


@dataclass
class Moved:
    """What came out, for the last table."""

    progress: dict[str, Any] = field(default_factory=dict)
    change: dict[str, Any] = field(default_factory=dict)
    killed: bool = False
    load_seconds: float = 0.0
    catch_up_seconds: float = 0.0
    valid: bool = False
    validation: dict[str, dict[str, Any]] = field(default_factory=dict)
    source: dict[str, Sum] = field(default_factory=dict)
    target: dict[str, Sum] = field(default_factory=dict)

    @property
    def unequal(self) -> list[str]:
        """Tables that the servers' own sums, or Whimbrel's own validation, find different."""
        found = {table for table, total in self.source.items() if self.target.get(table) != total}
        found |= {table.partition(".")[2] for table, t in self.validation.items() if t["status"] != "equal"}
        return sorted(found)


class Story:
    """One run. Each method is a chapter; ``tell`` reads them in order."""

    def __init__(self, api: ApiClient, stack: Stack, shop: Shop, target: Postgres, screen: Screen) -> None:
        self._api = api
        self._stack = stack
        self._shop = shop
        self._target = target
        self._screen = screen
        self._writer = Writer(shop)
        self._moved = Moved()
        self._source_definition = {"type": shop.engine, "parameters": shop.parameters}
        self._target_definition = {"type": "postgres", "parameters": parameters(target)}

    def tell(self, *, faults: bool = True) -> Moved:
        """The whole story. Raises DemoFailed, or the API's own errors."""
        self._configure()
        self._prerequisites()
        self._schema()
        self._writer.start()
        self._screen.say("the writer writes, and will not stop: inserts, updates, deletes, keys, four tables at once")
        try:
            operation = self._load(faults)
            if faults:
                self._pause()
            self._keep_writing()
        finally:
            self._writer.stop()
        self._catch_up()
        self._validate()
        self._prove()
        self._end(operation)
        return self._moved

    # --- before ------------------------------------------------------------------------------------------------------

    def _configure(self) -> None:
        for server in (self._shop.server, self._target):
            make_mover(server)
        self._api.put(path("sources", "shop-old"), self._source_definition)
        self._api.put(path("targets", "shop-new"), self._target_definition)
        migration = {
            "source": "shop-old",
            "fileTarget": "shop-new",
            "tables": [f"{SCHEMA}.{table}" for table in self._shop.tables],
            "threads": 2,
            "rows_per_file": 25_000,
        }
        self._api.put(path("migrations", MIGRATION), migration)

    def _prerequisites(self) -> None:
        """Show the SQL that the servers need, run what needs no restart, and let Whimbrel check all of it."""
        body = {
            "source": "shop-old",
            "target": "shop-new",
            "mode": "data+replication",
            "tables": [f"{SCHEMA}.{table}" for table in self._shop.tables],
        }
        sides = self._api.post(path("prereqs"), body)
        self._screen.say("what the servers need, from POST /v1/prereqs:")
        for side, run in (("source", self._shop.sql), ("target", lambda sql: self._target.psql(sql, DATABASE))):
            for statement in sides[side]["statements"]:
                done = "set when it started" if statement["restart"] else "ran"
                if not statement["restart"]:
                    run(statement["sql"])
                self._screen.detail(f"{side}: {done}: {_first_line(statement['sql'])}  ({statement['why']})")
        for kind, definition in (("sources", self._source_definition), ("targets", self._target_definition)):
            self._screen.say(f"{kind[:-1]}: {self._api.post(path(kind, 'test'), definition)['message']}")
        checked = self._api.post(path("validate"), body)
        failed = [c for side in ("source", "target") for c in checked[side]["checks"] if c["status"] == "fail"]
        if failed:
            raise DemoFailed("; ".join(f"{c['id']}: {c['message']} ({c['remedy']})" for c in failed))
        count = sum(len(checked[side]["checks"]) for side in ("source", "target"))
        self._screen.say(f"prerequisites: {count} checks, none failed")

    def _schema(self) -> None:
        extracted = self._api.post(path("migrations", MIGRATION, "schema", "extract"), {})
        applied = self._api.post(path("migrations", MIGRATION, "schema", "apply"), {})
        self._screen.say(
            f"schema: {extracted['tables']} tables extracted, {applied['tables_created']} created on the target"
        )

    # --- while it runs -----------------------------------------------------------------------------------------------

    def _load(self, faults: bool) -> str:
        """Start the operation and follow it until all rows are there and changes flow; kill the worker on the way."""
        started = self._api.start(path("migrations", MIGRATION, "data-replication"), {}, None)
        begun = time.monotonic()
        self._screen.say(f"data-replication started: operation {started['operation_id']}")
        for operation in self._follow("the load"):
            percent = (operation["progress"] or {}).get("percent") or 0
            if faults and not self._moved.killed and percent >= KILL_AT_PERCENT:
                self._moved.killed = True
                self._kill_and_restart(percent)
            if percent < PICTURE_UP_TO_PERCENT:
                self._screen.keep_frame(operation, self._writer.transactions)
            if operation["phase"] == "change" and operation["change"]:
                break
        self._moved.load_seconds = time.monotonic() - begun
        if faults and not self._moved.killed:
            raise DemoFailed("the load was over before the worker could be killed; give the shop more rows")
        rows = (operation["progress"] or {}).get("rows_loaded") or 0
        self._screen.say(f"{rows:,} rows are there, indexes and foreign keys too; changes flow", "green")
        return str(started["operation_id"])

    def _kill_and_restart(self, percent: float) -> None:
        self._stack.kill_worker()
        self._screen.say(f"killed the worker with SIGKILL at {percent:.0f} %", "bold red")
        time.sleep(1)
        self._stack.start_worker()
        self._screen.say("started another worker; it goes on with the files that are not loaded yet", "green")

    def _pause(self) -> None:
        self._screen.rest()
        self._api.post(path("migrations", MIGRATION, "replication", "pause"))
        before = self._writer.transactions
        self._screen.say("paused; the writer writes on", "bold yellow")
        self._watch_for(PAUSE_SECONDS)
        status = self._api.get(path("migrations", MIGRATION, "status"))
        if status["state"] != "paused":
            raise DemoFailed(f"paused, yet the migration is {status['state']}")
        self._api.post(path("migrations", MIGRATION, "replication", "resume"))
        self._screen.say(f"resumed, {self._writer.transactions - before} transactions behind", "green")

    def _keep_writing(self) -> None:
        self._watch_for(WRITE_SECONDS)

    def _catch_up(self) -> None:
        counts = self._writer.counts
        told = ", ".join(f"{count} × {name}" for name, count in sorted(counts.items()))
        self._screen.say(f"stopped the writer after {self._writer.transactions:,} transactions: {told}")
        begun = time.monotonic()
        settled = 0
        for operation in self._follow("lag 0"):
            change = operation["change"]
            settled = settled + 1 if change["lag_seconds"] == 0 and change["lag_bytes"] == 0 else 0
            # The source's position is asked once a second: what was measured before the writer stopped proves nothing.
            if settled and time.monotonic() - begun > 2.5 and settled > 5:
                break
        self._moved.catch_up_seconds = time.monotonic() - begun
        self._moved.progress, self._moved.change = operation["progress"], operation["change"]
        self._screen.say("lag is 0: no byte and no second", "green")

    # --- afterwards --------------------------------------------------------------------------------------------------

    def _validate(self) -> None:
        begun = time.monotonic()
        answer = self._api.post(path("migrations", MIGRATION, "validate"), {})
        self._moved.valid = answer["valid"]
        self._moved.validation = {t["table"]: t for t in answer["tables"]}
        rows = sum(t["checked_rows"] for t in answer["tables"])
        verdict = "equal" if answer["valid"] else "NOT EQUAL"
        self._screen.say(
            f"Whimbrel's validation: {rows:,} rows compared in {time.monotonic() - begun:.1f} s: {verdict}"
        )

    def _prove(self) -> None:
        begun = time.monotonic()
        self._moved.source, self._moved.target = source_sums(self._shop), target_sums(self._target, self._shop)
        client = "psql" if self._shop.engine == "postgres" else self._shop.engine
        verdict = "equal" if not self._moved.unequal else f"NOT EQUAL: {', '.join(self._moved.unequal)}"
        self._screen.say(
            f"the servers' own sums, by {client} and psql, in {time.monotonic() - begun:.1f} s: {verdict}",
            "bold green" if not self._moved.unequal else "bold red",
        )

    def _end(self, operation: str) -> None:
        """Cancel the replication, let go of what the source keeps for a resume, and wait until all of it is done."""
        ended = self._api.post(path("operations", operation, "cancel"), {"release": True})
        if ended["held"] is not None:
            raise DemoFailed(f"the source still holds slot {ended['held']['slot']}, though it was released")
        deadline = time.monotonic() + LONGEST_WAIT
        while (ended := self._api.get(path("operations", operation)))["status"] == "running":
            if time.monotonic() > deadline:
                raise DemoFailed("the replication did not end after it was cancelled")
            time.sleep(POLL_SECONDS)
        self._screen.say(f"replication {ended['status']}: cut over whenever you like")

    # --- watching ----------------------------------------------------------------------------------------------------

    def _follow(self, what: str) -> Iterator[dict[str, Any]]:
        """The running operation, again and again. Raises its error, or DemoFailed when ``what`` takes too long."""
        deadline = time.monotonic() + LONGEST_WAIT
        try:
            while time.monotonic() < deadline:
                self._stack.check()
                self._writer.check()
                status = self._api.get(path("migrations", MIGRATION, "status"))
                if status["operation"] is None:
                    raise _ended(status["last_operation"])
                self._screen.show(status["operation"], self._writer.transactions)
                yield status["operation"]
                time.sleep(POLL_SECONDS)
        finally:
            self._screen.rest()
        raise DemoFailed(f"{what} did not come within {LONGEST_WAIT:g} s")

    def _watch_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        for _ in self._follow(f"{seconds:g} s"):
            if time.monotonic() > until:
                return


def _first_line(sql: str) -> str:
    """The beginning of a statement, for one line of the screen."""
    line, more, _ = sql.partition("\n")
    return f"{line} …" if more else line


def _ended(last: dict[str, Any] | None) -> Exception:
    if last is None:
        return DemoFailed("the operation never ran")
    if last["error"]:
        return from_json(last["error"])
    return DemoFailed(f"the operation is {last['status']}, though nobody ended it")
