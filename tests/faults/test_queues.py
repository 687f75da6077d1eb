"""A queue being fed while worker or broker go away: every change is there once, in order, and nothing stays open."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.conftest import running_kafka, running_server
from tests.emulators.kafka import Kafka
from tests.engines import SCHEMA, TABLES, side_of
from tests.faults.plant import Plant
from tests.faults.test_endings import leftovers
from tests.servers.fleet import SERVERS, Fleet
from tests.servers.process import wait_until
from tests.suite.queueing import of
from tests.suite.world import World
from whimbrel.cli.client import path

_numbers = itertools.count(1)


@dataclass
class Feeding:
    """A migration into a queue, with or without a database beside it, driven over REST."""

    plant: Plant
    world: World
    kafka: Kafka
    topic: str
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
        queue = {"type": "kafka", "parameters": {"brokers": self.kafka.brokers, "topic": self.topic}}
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
        stop, before = threading.Event(), self.kafka.end(self.topic)

        def write() -> None:
            while not stop.is_set():
                self.change(self.written + 1, self.written + 10)

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        try:
            wait_until(lambda: self.kafka.end(self.topic) > before + 100, 30, "the first messages")
            yield
        finally:
            stop.set()
            writer.join(60)
        self.change(self.written + 1, self.written + 3)

    def arrived(self) -> int:
        return self.kafka.count(self.topic)

    def require_exactly_once(self) -> None:
        """Each change once and in order, however long one waits."""
        last = self.written
        try:
            # The end is cheap to ask for; each transaction adds a mark of its commit to the messages.
            wait_until(
                lambda: self.kafka.end(self.topic) >= 22 * last, 90, f"{22 * last} messages and marks", every=0.3
            )
            wait_until(lambda: self.arrived() >= 21 * last, 30, f"{21 * last} messages", every=0.3)
        except TimeoutError as e:
            seen = self.plant.api.get(path("operations", self.operation))
            raise AssertionError(f"{self.arrived()} of {21 * last} messages; {seen}") from e
        wait_until(self._caught_up, 60, "the operation to be caught up", every=0.2)
        found = self.kafka.read(self.topic)
        assert len(found) == 21 * last
        numbers = list(range(1, last + 1))
        assert [m.value["after"]["name"] for m in of(found, "parent")] == [str(n) for n in numbers]
        for id in (1, 20):
            rows = [m.value["after"] for m in of(found, "item")]
            assert [row["small"] for row in rows if row["id"] == id] == numbers
        if self.beside:
            wait_until(lambda: not self.world.differing(), 30, "the database to be equal", every=0.3)

    def _caught_up(self) -> bool:
        seen = self.plant.api.get(path("operations", self.operation))
        assert seen["status"] == "running", seen["error"]
        change = seen["change"]
        return seen["phase"] == "change" and bool(change) and change["lag_seconds"] == 0 == change["lag_bytes"]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Kafka]:
    """One that may be stopped."""
    yield from running_kafka(tmp_path / "kafka")


@pytest.fixture
def feedings(fleet: Fleet, plant: Plant, broker: Kafka) -> Iterator[list[Feeding]]:
    """Two migrations that run at once: a queue alone, and one beside a database."""
    plant.heal()
    made = []
    for kind, source, target in (("alone", "mariadb", None), ("beside", "postgres15", "postgres18")):
        sides = [side_of(running_server(fleet, n), SERVERS[n], f"queues_{n}") for n in (source, target or source)]
        for side in sides:
            side.drop_leftovers()
        world = World(sides[0], sides[1], plant.home, f"feeding-{kind}{next(_numbers)}")
        world.make(50)
        broker.make_topic(kind, 2)
        made.append(Feeding(plant, world, broker, kind, target is not None))
    for feeding in made:
        feeding.start()
    yield made
    plant.heal()
    for feeding in made:
        if feeding.operation:
            plant.api.post(path("operations", feeding.operation, "stop"))
        for side in (feeding.world.source, feeding.world.target):
            side.drop_leftovers()


def test_each_change_once_whoever_goes_away_and_an_end_leaves_nothing_open(
    feedings: list[Feeding], plant: Plant, broker: Kafka
) -> None:
    """One life for all of it, because most of the time goes into beginning one and into noticing a death."""
    with writing(feedings):
        plant.kill(plant.worker)
    plant.worker.start()
    for feeding in feedings:
        feeding.require_exactly_once()

    # The emulator loses what it acknowledges while it stops, so nobody may ask it for anything in that moment.
    with writing(feedings), worker_frozen(plant, feedings):
        broker.stop()
    broker.start()
    for feeding in feedings:
        feeding.require_exactly_once()

    for feeding, how in zip(feedings, ("cancel", "stop"), strict=True):
        require_nothing_stays_open(feeding, how)


@contextmanager
def writing(feedings: list[Feeding]) -> Iterator[None]:
    with ExitStack() as stack:
        for feeding in feedings:
            stack.enter_context(feeding.writing())
        yield


@contextmanager
def worker_frozen(plant: Plant, feedings: list[Feeding]) -> Iterator[None]:
    """The worker stands still in the midst of its work; the broker has answered what it had been asked before."""
    assert plant.worker.pid is not None
    os.kill(plant.worker.pid, signal.SIGSTOP)
    try:
        seen: list[list[int]] = []

        def settled() -> bool:
            seen.append([f.kafka.end(f.topic) for f in feedings])
            return len(seen) > 5 and all(ends == seen[-1] for ends in seen[-6:])

        wait_until(settled, 10, "the broker to be at rest", every=0.1)
        yield
    finally:
        os.kill(plant.worker.pid, signal.SIGCONT)


def require_nothing_stays_open(feeding: Feeding, how: str) -> None:
    """It is ended while messages flow; readers of the topic see what others send, and the source holds nothing."""
    before = feeding.arrived()
    feeding.change(feeding.written + 1, feeding.written + 600)
    wait_until(lambda: feeding.arrived() > before, 30, "the first messages")
    ended = feeding.plant.api.post(path("operations", feeding.operation, how), {"release": True})
    feeding.operation = ""
    assert ended["status"] == {"cancel": "cancelled", "stop": "stopped"}[how]
    source = feeding.world.source
    wait_until(lambda: not leftovers(source), 15, "the source to be clean")
    arrived = feeding.arrived()
    others = Producer({"bootstrap.servers": feeding.kafka.brokers, "log_level": 0})
    for partition in range(2):
        others.produce(feeding.topic, b"{}", partition=partition)
    assert others.flush(10) == 0
    assert feeding.arrived() == arrived + 2, "an open transaction would hide what others send"
    position = f"{feeding.topic}-whimbrel-{feeding.name}"
    assert position in feeding.kafka.topics(), "whoever resumes needs it"
    feeding.plant.api.delete(path("migrations", feeding.name))
    assert position not in feeding.kafka.topics()
    assert feeding.arrived() == arrived + 2
