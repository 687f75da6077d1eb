"""One soak from start to report."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.engines import Side, side_of
from tests.faults.plant import Plant
from tests.servers.fleet import SERVERS, Server, server
from tests.servers.mysql import MySQL
from tests.servers.postgres import Postgres
from tests.servers.process import free_port
from tests.soak.observing import Forgetting, Observer, Validations, wait_for
from tests.soak.plan import Fault, plan
from tests.soak.relay import Relay
from tests.soak.tables import SCHEMA, ddl, rows_query, sum_query, tables
from tests.soak.writer import Writer
from whimbrel.cli.children import Child
from whimbrel.cli.client import path
from whimbrel.cli.stack import START_SECONDS
from whimbrel.errors import OperationConflict

PAIRS = ("postgres18-mysql", "mariadb-postgres18", "mysql-mysql")
DATABASE = "soak"
MIGRATION = "soak"
CATCH_UP = 300.0  # seconds for the target to reach the source once the writers have stopped
RECOVERY = 120.0  # seconds after a fault within which changes must flow again


@dataclass(frozen=True)
class Settings:
    pair: str
    minutes: float
    seed: int
    rate: float  # rows changed a second, of all writers together
    rows: int = 1000  # of each table, about
    writers: int = 2


@dataclass
class Struck:
    """A fault that has come. ``recovered`` is how many seconds after its end changes flowed again; None: not yet."""

    fault: Fault
    ended: float = 0.0
    before: int | None = None  # transactions that were applied when it had ended; None: the status was not seen since
    recovered: float | None = None


@dataclass
class Report:
    """What came of it. ``equal`` and ``valid`` are the verdict."""

    settings: Settings
    equal: bool = False
    valid: bool = False
    figures: dict[str, Any] = field(default_factory=dict)
    struck: list[Struck] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        by_kind: dict[str, list[float | None]] = defaultdict(list)
        for s in self.struck:
            by_kind[s.fault.kind].append(s.recovered)
        faults = {
            kind: {
                "came": len(times),
                "survived": sum(t is not None for t in times),
                "longest_recovery_seconds": round(max((t for t in times if t is not None), default=0.0), 1),
            }
            for kind, times in sorted(by_kind.items())
        }
        wanted = self.settings
        head = {"pair": wanted.pair, "minutes": wanted.minutes, "seed": wanted.seed, "rate_wanted": wanted.rate}
        verdict = {
            "equal": self.equal,
            "valid": self.valid,
            "faults_survived": sum(f["survived"] for f in faults.values()),
        }
        return {**head, **verdict, "faults": faults, **self.figures, "differences": self.differences[:20]}


class Soak:
    """Use as a context manager, which starts everything; ``run`` is the soak."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.report = Report(settings)
        self._stack = ExitStack()
        self._began = time.monotonic()

    def __enter__(self) -> Soak:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:7.1f} s] {text}", flush=True)

    # --- the parts ----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        source, _, target = self.settings.pair.partition("-")
        self.say(f"starting {source}, {target}, Temporal, the API and a worker; seed {self.settings.seed}")
        self.source = self._side(source, "source", "1")
        self.target = self._side(target, "target", "2")
        self.relays = {"source": self._relay(self.source), "target": self._relay(self.target)}
        self.plant = self._stack.enter_context(Plant(self.folder / "home"))
        self.api = self.plant.api
        self.observer = Observer(self.api, MIGRATION)
        self.validations = Validations(self.api, MIGRATION)
        self.forgetting = Forgetting(self.source, self.target, MIGRATION)
        rate = self.settings.rate / self.settings.writers
        seeds = itertools.count(self.settings.seed * 1000)
        server = self.source.server
        assert isinstance(server, Postgres | MySQL), "a warehouse is no source"
        self.writers = [
            Writer(server, DATABASE, rate, self.settings.rows, next(seeds)) for _ in range(self.settings.writers)
        ]

    def _side(self, name: str, role: str, number: str) -> Side:
        made = server(name, self.folder / role)
        if isinstance(made, MySQL):
            made = MySQL(self.folder / role, made.flavor, server_id=number)
        made.start()
        self._stack.callback(made.stop)
        if not isinstance(made, MySQL):
            made.create_database(DATABASE)
        return side_of(made, SERVERS[name], DATABASE, SCHEMA)

    def _relay(self, side: Side) -> Relay:
        return self._stack.enter_context(Relay(free_port(), side.server.port))

    @property
    def family(self) -> str:
        return "postgres" if self.source.is_postgres else "mysql"

    def _make(self) -> None:
        """The source filled, the migration stored, the schema on the target; changes flow."""
        self.source.run(ddl(self.family))  # type: ignore[arg-type]
        self.writers[0].fill()
        for kind, side, relay in (
            ("sources", self.source, self.relays["source"]),
            ("targets", self.target, self.relays["target"]),
        ):
            endpoint = side.endpoint(f"{MIGRATION}-{kind}")
            parameters = {**endpoint.parameters, "port": relay.port}
            self.api.put(path(kind, endpoint.name), {"type": endpoint.type, "parameters": parameters})
        names = [f"{SCHEMA}.{t.name}" for t in tables(self.family)]  # type: ignore[arg-type]
        definition = {"source": f"{MIGRATION}-sources", "fileTarget": f"{MIGRATION}-targets", "tables": names}
        self.api.put(path("migrations", MIGRATION), {**definition, "threads": 2})
        for step in ("extract", "apply"):
            self.api.post(path("migrations", MIGRATION, "schema", step), {})

    # --- the story ----------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Raises AssertionError for everything that must not happen."""
        self._make()
        for writer in self.writers:
            writer.start()
        self._stack.callback(self._let_writers_go)
        answer = self.api.start(path("migrations", MIGRATION, "data-replication"), {}, None)
        self.operation = str(answer["operation_id"])
        self.observer.every(0.5, self.observer.look_at_status)
        self.observer.watch_memory("worker", lambda: self.plant.worker.pid)
        wait_for(lambda: self.observer.transactions > 0, 120, "the change phase", self.check)
        self.observer.every(20.0, self.validations.validate)
        if self.source.is_postgres:
            self.observer.every(0.5, self.forgetting.compare)
        self._strike()
        self._settle()
        return self.report

    def check(self) -> None:
        self.observer.check()
        for writer in self.writers:
            writer.check()

    def _let_writers_go(self) -> None:
        for writer in self.writers:
            writer._stopping.set()

    def _strike(self) -> None:
        """The faults, at their times."""
        seconds = self.settings.minutes * 60
        began = time.monotonic()
        wrote = sum(w.operations for w in self.writers)
        for fault in plan(self.settings.seed, seconds):
            self._wait_until(began + fault.at)
            self.say(f"{fault.name} for {fault.seconds:.1f} s")
            struck = Struck(fault)
            self._do(fault)
            struck.ended = time.monotonic()
            self.report.struck.append(struck)
        self._wait_until(began + seconds)
        took = time.monotonic() - began
        self.report.figures["operations_a_second"] = round((sum(w.operations for w in self.writers) - wrote) / took)

    def _wait_until(self, moment: float) -> None:
        while time.monotonic() < moment:
            self.check()
            self._note_recoveries()
            time.sleep(0.2)

    def _note_recoveries(self) -> None:
        for struck in self.report.struck:
            if struck.recovered is not None:
                continue
            passed = time.monotonic() - struck.ended
            if struck.before is None and self.observer.answered > struck.ended:
                struck.before = self.observer.transactions
            if struck.before is not None and self.observer.transactions > struck.before:
                struck.recovered = passed
                self.say(f"  {struck.fault.name}: changes flow {passed:.1f} s after it")
            elif passed > RECOVERY:
                raise AssertionError(f"{struck.fault.name}: no change was applied for {RECOVERY:g} s after it")

    def _do(self, fault: Fault) -> None:
        children = {"worker": self.plant.worker, "API": self.plant.server, "Temporal": self.plant.temporal}
        who = fault.kind.partition(" ")[0]
        if who in children:
            self._kill_child(children[who], fault.seconds)
        elif who in ("source", "target"):
            self._kill_server(getattr(self, who).server, fault.seconds)
        elif fault.kind == "link cut":
            self.relays[fault.end].cut(fault.seconds)
        elif fault.kind == "link delayed":
            self.relays[fault.end].delay(fault.seconds, 0.15)
        else:
            self.relays[fault.end].half_open(fault.seconds, fault.kept)  # type: ignore[arg-type]

    def _kill_child(self, child: Child, seconds: float) -> None:
        self.plant.kill(child)
        time.sleep(seconds)
        child.start()
        if child is not self.plant.worker:
            child.wait_until_healthy(START_SECONDS)

    def _kill_server(self, server: Server, seconds: float) -> None:
        server.kill()
        time.sleep(seconds)
        server.start()

    # --- the end ------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Writers stop, the target catches up, and both ends are asked for their sums."""
        for writer in self.writers:
            writer.stop()
        stopped = time.monotonic()
        self.say("writers have stopped")

        def equal() -> bool:
            self._note_recoveries()
            return self.observer.caught_up and not self.unequal()

        try:
            wait_for(equal, CATCH_UP, "both ends to be equal", self.check)
            self.report.equal = True
        except TimeoutError:
            self.report.differences = self.differences()
        self._note_recoveries()
        self.report.figures["catch_up_seconds"] = round(time.monotonic() - stopped, 1)
        self.observer.stop()
        answer = self._last_validation()
        self.report.valid = answer["valid"]
        if not answer["valid"]:
            self.report.differences += [str(t) for t in answer["tables"] if t["status"] != "equal"]
        self.api.post(path("operations", self.operation, "cancel"))
        self._add_figures()

    def _last_validation(self) -> dict[str, Any]:
        """One whose API was killed may still run, as it has a workflow of its own."""
        deadline = time.monotonic() + CATCH_UP
        while True:
            try:
                answer: dict[str, Any] = self.api.post(path("migrations", MIGRATION, "validate"), {})
                return answer
            except OperationConflict:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)

    def unequal(self) -> list[str]:
        """The tables that differ, as each server's own client sums them up."""
        return [t.name for t in tables(self.family) if self._sum(self.source, t) != self._sum(self.target, t)]  # type: ignore[arg-type]

    @staticmethod
    def _sum(side: Side, table: Any) -> list[str]:
        return side.run(sum_query(table, "postgres" if side.is_postgres else "mysql")).replace("|", "\t").split()

    def differences(self) -> list[str]:
        """The first rows that only one end has."""
        found = []
        for table in tables(self.family):  # type: ignore[arg-type]
            rows = []
            for side in (self.source, self.target):
                query = rows_query(table, "postgres" if side.is_postgres else "mysql")
                rows.append(Counter(line for line in side.run(query).splitlines()))
            found += [
                f"{table.name}: only the source has {row[:300]}" for row in list((rows[0] - rows[1]).elements())[:5]
            ]
            found += [
                f"{table.name}: only the target has {row[:300]}" for row in list((rows[1] - rows[0]).elements())[:5]
            ]
        return found

    def _add_figures(self) -> None:
        counts: Counter[str] = sum((w.counts for w in self.writers), Counter())
        rows = {t.name: int(self._sum(self.source, t)[0]) for t in tables(self.family)}  # type: ignore[arg-type]
        observer = self.observer
        self.report.figures |= {
            "operations": sum(w.operations for w in self.writers),
            "transactions": dict(sorted(counts.items())),
            "applied": {
                k: observer.change.get(k) for k in ("transactions", "inserts", "updates", "deletes", "truncates")
            },
            "most_lag_seconds": round(observer.most_lag, 1),
            "validations_beside": {"clean": self.validations.clean, "disturbed": dict(self.validations.disturbed)},
            "status_unanswered": observer.unanswered,
            "worker_most_megabytes": observer.most_memory["worker"] >> 20,
            "relayed_megabytes": {end: relay.bytes >> 20 for end, relay in self.relays.items()},
            "rows": rows,
            "cores": os.cpu_count(),
        }
        if self.source.is_postgres:
            self.report.figures["slot_compared_with_target"] = self.forgetting.looks
