"""A queue being fed while worker or broker go away: every change is there once, in order, and nothing stays open."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.conftest import running_kafka, running_server
from tests.emulators.kafka import Kafka
from tests.faults.plant import Plant
from tests.faults.test_endings import leftovers
from tests.servers.fleet import SERVERS, Fleet
from tests.servers.process import wait_until
from tests.suite.queueing import of
from tests.suite.world import SCHEMA, TABLES, Side, World, drop_leftovers
from whimbrel.cli.client import path

_numbers = itertools.count(1)


@dataclass
class Feeding:
    """A migration into a queue, with or without a database beside it, driven over REST."""

    plant: Plant
    world: World
    kafka: Kafka
    beside: bool
    operation: str = ""
    written: int = 0

    @property
    def name(self) -> str:
        return self.world.name

    def start(self) -> None:
        """Begin, and return once changes are followed."""
        api = self.plant.api
        for kind, side in (("sources", self.world.source), ("targets", self.world.target)):
            end = side.endpoint(f"{self.name}-{kind}")
            api.put(path(kind, end.name), {"type": end.type, "parameters": dict(end.parameters)})
        queue = {"type": "kafka", "parameters": {"brokers": self.kafka.brokers, "topic": "changes"}}
        api.put(path("targets", f"{self.name}-queue"), queue)
        body = {
            "source": f"{self.name}-sources",
            "queueTarget": f"{self.name}-queue",
            "tables": [f"{SCHEMA}.{t}" for t in TABLES],
        }
        if self.beside:
            body["fileTarget"] = f"{self.name}-targets"
        api.put(path("migrations", self.name), body)
        if self.beside:
            for step in ("extract", "apply"):
                api.post(path("migrations", self.name, "schema", step), {})
        what = "data-replication" if self.beside else "replication-queue"
        self.operation = str(api.start(path("migrations", self.name, what), {}, None)["operation_id"])
        wait_until(self._caught_up, 90, "changes to be followed", every=0.2)

    def change(self, first: int, last: int) -> None:
        """So many transactions; each leaves its number in two tables."""
        self.world.source.change(
            "".join(
                f"begin; update parent set name = '{n}' where id = 1;"
                f"update item set small = {n} where id <= 20; commit;"
                for n in range(first, last + 1)
            )
        )
        self.written = last

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Rows change for as long as the block runs and once more after it; it begins when messages flow."""
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                self.change(self.written + 1, self.written + 30)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        try:
            wait_until(lambda: self.arrived() > 100, 30, "the first messages")
            yield
        finally:
            stop.set()
            writer.join(60)
        self.change(self.written + 1, self.written + 3)

    def arrived(self) -> int:
        return len(self.kafka.read("changes"))

    def require_exactly_once(self) -> None:
        """Each change once and in order, however long one waits."""
        last = self.written
        wait_until(lambda: self.arrived() >= 21 * last, 90, f"{21 * last} messages", every=0.3)
        wait_until(self._caught_up, 60, "the operation to be caught up", every=0.2)
        found = self.kafka.read("changes")
        assert len(found) == 21 * last
        numbers = list(range(1, last + 1))
        assert [m.value["after"]["name"] for m in of(found, "parent")] == [str(n) for n in numbers]
        for id in (1, 20):
            rows = [m.value["after"] for m in of(found, "item")]
            assert [row["small"] for row in rows if row["id"] == id] == numbers

    def _caught_up(self) -> bool:
        seen = self.plant.api.get(path("operations", self.operation))
        assert seen["status"] == "running", seen["error"]
        change = seen["change"]
        return seen["phase"] == "change" and bool(change) and change["lag_seconds"] == 0 == change["lag_bytes"]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Kafka]:
    """One that may be stopped."""
    for kafka in running_kafka(tmp_path / "kafka"):
        kafka.make_topic("changes", 2)
        yield kafka


@pytest.fixture(params=["alone", "beside"])
def feeding(request: pytest.FixtureRequest, fleet: Fleet, plant: Plant, broker: Kafka) -> Iterator[Feeding]:
    plant.heal()
    names = ("mariadb", "postgres18") if request.param == "alone" else ("postgres15", "postgres18")
    source, target = (
        Side(running_server(fleet, name), SERVERS[name], f"queues_{role}")
        for name, role in zip(names, ("source", "target"), strict=True)
    )
    for side in (source, target):
        drop_leftovers(side)
    world = World(source, target, plant.home, f"feeding{next(_numbers)}")
    world.make(50)
    made = Feeding(plant, world, broker, request.param == "beside")
    made.start()
    yield made
    plant.heal()
    if made.operation:
        plant.api.post(path("operations", made.operation, "stop"))
    for side in (source, target):
        drop_leftovers(side)


def test_worker_killed_while_messages_flow(feeding: Feeding, plant: Plant) -> None:
    with feeding.writing():
        plant.kill(plant.worker)
    plant.worker.start()
    feeding.require_exactly_once()
    if feeding.beside:
        wait_until(lambda: not feeding.world.differing(), 30, "the database to be equal", every=0.3)


@pytest.mark.parametrize("feeding", ["beside"], indirect=True)
def test_broker_restarted_while_messages_flow(feeding: Feeding) -> None:
    with feeding.writing():
        feeding.kafka.stop()
    feeding.kafka.start()
    feeding.require_exactly_once()
    if feeding.beside:
        wait_until(lambda: not feeding.world.differing(), 30, "the database to be equal", every=0.3)


@pytest.mark.parametrize(("feeding", "how"), [("alone", "cancel"), ("beside", "stop")], indirect=["feeding"])
def test_an_end_leaves_nothing_open(feeding: Feeding, how: str) -> None:
    feeding.change(1, 600)
    wait_until(lambda: feeding.arrived() > 0, 30, "the first messages")
    ended = feeding.plant.api.post(path("operations", feeding.operation, how))
    assert ended["status"] == {"cancel": "cancelled", "stop": "stopped"}[how]
    source = feeding.world.source
    wait_until(lambda: not leftovers(source), 15, "the source to be clean")
    arrived = feeding.arrived()
    others = Producer({"bootstrap.servers": feeding.kafka.brokers, "log_level": 0})
    for partition in range(2):
        others.produce("changes", b"{}", partition=partition)
    assert others.flush(10) == 0
    assert feeding.arrived() == arrived + 2, "an open transaction would hide what others send"
    feeding.plant.api.delete(path("migrations", feeding.name))
    feeding.operation = ""
