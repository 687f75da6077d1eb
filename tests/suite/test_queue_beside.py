"""A database and a queue fed at once: each has every change once, each goes on from its own position."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import running_server
from tests.emulators.kafka import Kafka
from tests.engines import side_of
from tests.servers.fleet import SERVERS, Fleet
from tests.suite.queueing import Queued, fold, of
from tests.suite.running import Running, Watch, replicating
from tests.suite.running import settled as equal
from tests.suite.world import World
from whimbrel.errors import TargetInterrupted, TopicMissing
from whimbrel.pipeline.changes import feeds, replication
from whimbrel.pipeline.cleanup import clean_up
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.schema import apply_schema, extract_schema

PAIRS = (("postgres15", "mariadb", "kafka"), ("mariadb", "postgres18", "redpanda"))
_numbers = itertools.count(1)


@pytest.fixture(params=PAIRS, ids=lambda pair: "-".join(pair))
def beside(request: pytest.FixtureRequest, fleet: Fleet, kafka: Kafka, tmp_path: Path) -> Iterator[Queued]:
    """A source with rows, the schema on the target, and a topic."""
    *names, type = request.param
    source, target = (
        side_of(running_server(fleet, name), SERVERS[name], f"beside_{role}")
        for name, role in zip(names, ("source", "target"), strict=True)
    )
    for side in (source, target):
        side.drop_leftovers()
    number = next(_numbers)
    world = World(source, target, tmp_path, f"beside{number}")
    world.make(100)
    extract_schema(world.job("schema"), Watch())
    apply_schema(world.job("schema"), Watch(), None)
    kafka.make_topic(f"beside{number}", 2)
    yield Queued(world, kafka, f"beside{number}", type, beside=True)
    for side in (source, target):
        side.drop_leftovers()


def settled(queued: Queued, running: Running, messages: int) -> None:
    """Both ends have everything, as their own clients see it."""
    queued.wait(running, messages)
    running.wait(lambda: not queued.world.differing(), 30, "source and target to be equal", every=0.3)


def test_both_get_every_change_since_the_snapshot(beside: Queued) -> None:
    source = beside.world.source
    copy_data(beside.job("op"), Watch(), capture=True, resume=False)
    source.change("insert into parent values (900, 'before', 'a900')")
    with beside.following("op", resume=True, handoff=True) as running:
        source.change("begin; update parent set name = 'b' where id = 900; delete from twokeys where a = 1; commit")
        settled(beside, running, 2 + 10)
        assert running.watch.last is not None
        assert (running.watch.last.inserts, running.watch.last.deletes) == (1, 10)
    source.change("update parent set name = 'away' where id = 900")
    with beside.following("op", resume=True, handoff=True) as running:
        settled(beside, running, 13)
    assert list(fold(of(beside.read(), "parent"), "id").values()) == [{"id": 900, "name": "away", "email": "a900"}]
    nowhere = Queued(beside.world, beside.kafka, "nowhere", beside=True)
    with pytest.raises(TopicMissing):
        copy_data(nowhere.job("x"), Watch(), capture=True, resume=False)
    clean_up(beside.job("op"), remove_capture=True)


@pytest.mark.parametrize(("beside", "ahead"), [(PAIRS[0], "database"), (PAIRS[1], "queue")], indirect=["beside"])
def test_one_that_fell_behind_catches_up_alone(beside: Queued, monkeypatch: pytest.MonkeyPatch, ahead: str) -> None:
    """The one that is fed second fails a few times, having been fed first or not at all; both end up right."""
    source = beside.world.source
    copy_data(beside.job("op"), Watch(), capture=True, resume=False)
    with beside.following("op", resume=True, handoff=True) as running:
        source.change("insert into parent values (900, '0', 'a900')")
        settled(beside, running, 1)
    behind = feeds.QueueFeed if ahead == "database" else feeds.DatabaseFeed
    if ahead == "queue":
        both = replication._Work.feeds.fget  # type: ignore[attr-defined]
        monkeypatch.setattr(replication._Work, "feeds", property(lambda work: both(work)[::-1]))

    def broken(*_: Any) -> None:
        raise TargetInterrupted("broken by the test")

    for n in range(1, 4):
        with monkeypatch.context() as patched:
            patched.setattr(behind, "apply", broken)
            source.change(
                f"begin; update parent set name = '{n}' where id = 900; insert into nokey values ({n}, 'x'); commit"
            )
            with pytest.raises(TargetInterrupted), beside.following("op", resume=True, handoff=True) as running:
                running.wait_ended(30)
    if ahead == "database":
        assert not beside.world.differing()
        assert len(beside.read()) == 1
    else:
        assert beside.world.differing()
        assert len(beside.read()) == 7
    source.change("insert into nokey values (4, 'x')")
    with beside.following("op", resume=True, handoff=True) as running:
        settled(beside, running, 8)
        assert running.watch.last is not None
        assert running.watch.last.inserts == 1, "what is only read again is not counted again"
    names = [m.value["after"]["name"] for m in of(beside.read(), "parent")]
    assert names == ["0", "1", "2", "3"]


@pytest.mark.parametrize("beside", PAIRS[:1], indirect=True)
def test_a_queue_that_joins_later_begins_where_the_database_stands(beside: Queued) -> None:
    source = beside.world.source
    copy_data(beside.world.job("op"), Watch(), capture=True, resume=False)
    with replicating(beside.world, "op") as running:
        source.change("insert into parent values (900, 'database only', 'a900')")
        equal(beside.world, running)
    source.change("update parent set name = 'both' where id = 900")
    with beside.following("op", resume=True, handoff=True) as running:
        settled(beside, running, 1)
    assert beside.read()[0].value["after"]["name"] == "both"
