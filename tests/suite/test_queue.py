"""Every change as one message, once and in commit order, read by the vendor's own consumer in read_committed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import running_server
from tests.emulators.kafka import Kafka
from tests.servers.fleet import SERVERS, Fleet
from tests.suite.queueing import Queued, fold, of, short
from tests.suite.world import Side, World, drop_leftovers
from whimbrel.connectors.kafka.producer import KafkaWriter
from whimbrel.errors import Fenced, ReplicationFailed, TopicMissing
from whimbrel.pipeline.cleanup import clean_up

FLAVOURS = (("postgres15", "kafka"), ("mariadb", "redpanda"))
_numbers = itertools.count(1)


@pytest.fixture(params=FLAVOURS, ids=lambda flavour: f"{flavour[0]}-{flavour[1]}")
def queued(request: pytest.FixtureRequest, fleet: Fleet, kafka: Kafka, tmp_path: Path) -> Iterator[Queued]:
    """A source with a few rows and a topic of three partitions."""
    name, type = request.param
    source = Side(running_server(fleet, name), SERVERS[name], "queue_source")
    drop_leftovers(source)
    number = next(_numbers)
    world = World(source, source, tmp_path, f"queue{number}")
    world.make(60)
    kafka.make_topic(f"changes{number}", 3)
    yield Queued(world, kafka, f"changes{number}", type)
    drop_leftovers(source)


def test_every_kind_of_change(queued: Queued) -> None:
    source = queued.world.source
    with queued.following("op") as running:
        source.change(
            "begin; insert into parent values (900, 'a', 'a900'); update parent set name = 'b' where id = 900;"
            "insert into twokeys values (900, 'x', null); delete from parent where id = 900; commit"
        )
        source.change("update twokeys set a = 901 where a = 900")
        source.change("truncate table nokey")
        source.change("insert into nokey values (1, 'same'); update nokey set b = 'other'; delete from nokey")
        source.change("begin; delete from item; rollback")
        found = queued.wait(running, 10)
    assert short(of(found, "parent")) == [
        ("c", {"id": 900}, None, {"id": 900, "name": "a", "email": "a900"}),
        ("u", {"id": 900}, None, {"id": 900, "name": "b", "email": "a900"}),
        ("d", {"id": 900}, {"id": 900}, None),
    ]
    old, new = {"a": 900, "b": "x"}, {"a": 901, "b": "x"}
    assert short(of(found, "twokeys")) == [
        ("c", old, None, {**old, "v": None}),
        ("d", old, old, None),
        ("c", new, None, {**new, "v": None}),
    ]
    assert short(of(found, "nokey")) == [
        ("t", None, None, None),
        ("c", None, None, {"a": 1, "b": "same"}),
        ("u", None, {"a": 1, "b": "same"}, {"a": 1, "b": "other"}),
        ("d", None, {"a": 1, "b": "other"}, None),
    ]
    first = [
        m.value for m in found if m.value["transaction"]["id"] == of(found, "parent")[0].value["transaction"]["id"]
    ]
    assert sorted(v["transaction"]["total_order"] for v in first) == [1, 2, 3, 4]
    assert of(found, "parent")[0].key["table"] == "suite.parent"


def test_values_of_every_type(queued: Queued) -> None:
    source = queued.world.source
    with queued.following("op") as running:
        source.change(
            "update item set title = 'q\"\\\\' where id in (2, 7, 30)",
            "update item set title = 'q\"\\\\\\\\' where id in (2, 7, 30)",
        )
        source.change(
            "update item set score = 1e300, ratio = null, small = null, amount = 12345678901234.5 where id = 2"
        )
        found = queued.wait(running, 4)
    rows = [m.value["after"] for m in found]
    postgres = source.is_postgres
    title = 'q"\\\\'
    assert rows[0] == {
        "id": 2, "parent_id": 3, "small": -148, "amount": "2.500000", "title": title,
        "body": "tab\there\nline\r\\back", "flag": True if postgres else 1, "score": 2 / 3, "ratio": 0.25,
        "born": "2000-01-03", "noon": rows[0]["noon"], "made": rows[0]["made"], "seen": rows[0]["seen"],
        "doc": rows[0]["doc"], "raw": "AAAAAgD/ClwJ", "uid": "00000000-0000-4000-8000-000000000002", "bits": "00000010",
    }  # fmt: skip
    assert rows[0]["noon"].rstrip("0") == "00:00:03.5"
    assert rows[0]["made"].rstrip("0") == "2001-02-03T04:07:06.789"
    assert rows[0]["seen"].rstrip("Z").rstrip("0") == "2020-06-01T14:00:00.25"
    assert rows[0]["seen"].endswith("Z")
    assert '"q": "a\\"b"' in rows[0]["doc"]
    assert type(rows[0]["flag"]) is (bool if postgres else int)
    assert (rows[1]["body"], rows[2]["raw"], rows[2]["doc"]) == (None, None, None)
    assert (rows[3]["score"], rows[3]["ratio"], rows[3]["small"]) == (1e300, None, None)
    assert rows[3]["amount"] == "12345678901234.500000"
    about = found[0].value["source"]
    if postgres:
        assert (about["connector"], about["db"]) == ("postgresql", "queue_source")
        assert about["txId"] > 0 < about["lsn"]
    else:
        assert (about["connector"], about["db"]) == ("mariadb", "suite")
        assert about["gtid"].startswith("0-1-")
        assert about["pos"] > 0 < len(about["file"])
    assert (about["name"], about["schema"], about["table"]) == (queued.world.name, "suite", "item")
    assert abs(found[0].value["ts_ms"] - about["ts_ms"]) < 60_000


@pytest.mark.parametrize(
    ("queued", "compression"),
    [(FLAVOURS[0], "none"), (FLAVOURS[1], "snappy"), (FLAVOURS[0], "lz4"), (FLAVOURS[1], "zstd")],
    indirect=["queued"],
)
def test_commit_order_with_each_compression(queued: Queued, compression: str) -> None:
    queued.parameters.update(compression=compression, batchSize=7)
    with queued.following("op") as running:
        queued.world.source.change(
            "".join(
                f"begin; update parent set name = '{n}' where id = 1;"
                f"insert into parent values (90{n}, '{n}', '{n}'); commit;"
                for n in range(1, 101)
            )
        )
        found = of(queued.wait(running, 200), "parent")
    assert [m.value["after"]["name"] for m in found if m.key["key"] == {"id": 1}] == [str(n) for n in range(1, 101)]
    assert [m.value["after"]["id"] for m in found[1::2]] == [int(f"90{n}") for n in range(1, 101)]


@pytest.mark.parametrize(("queued", "batch"), [(FLAVOURS[0], 1), (FLAVOURS[1], 10_000)], indirect=["queued"])
def test_a_batch_ends_with_a_transaction_of_the_source(queued: Queued, batch: int) -> None:
    queued.parameters["batchSize"] = batch
    with queued.following("op") as running:
        running.watch.pause.set()
        running.wait(running.watch.resting.is_set, 10, "to come to rest")
        before = queued.commits()
        queued.world.source.change(
            "".join(f"begin; update parent set name = 'x{n}' where id <= 5; commit;" for n in range(30))
        )
        assert queued.read() == []
        running.watch.pause.clear()
        queued.wait(running, 150)
        if batch == 1:
            assert queued.commits() - before >= 30, "each transaction of the source is one of its own"
        else:
            assert queued.commits() - before < 15, "transactions that wait are sent together"


def test_it_goes_on_from_the_position_in_the_queue(queued: Queued) -> None:
    source = queued.world.source
    with pytest.raises(ReplicationFailed, match="no stored position"), queued.following("early", resume=True):
        pass
    with queued.following("op") as running:
        source.change("insert into parent values (900, 'a', 'a900')")
        queued.wait(running, 1)
    source.change("update parent set name = 'while away' where id = 900")
    with queued.following("later", resume=True) as running:
        queued.wait(running, 2)
        source.change("insert into parent values (901, 'b', 'b901')")
        found = queued.wait(running, 3)
    assert [name["name"] for name in fold(found, "id").values()] == ["while away", "b"]
    source.change("update parent set name = 'nobody looks' where id = 900")
    with queued.following("fresh") as running:
        source.change("update parent set name = 'from now' where id = 900")
        found = queued.wait(running, 4)
    assert found[-1].value["after"]["name"] == "from now"
    clean_up(queued.job("fresh"), remove_capture=True)


def seen_whole(queued: Queued, messages: int) -> bool:
    """Whether they are there; they must come all at once."""
    found = len(queued.read())
    assert found in (0, messages)
    return found > 0


def test_one_large_transaction_is_one_in_the_queue(queued: Queued) -> None:
    queued.parameters.update(compression="lz4")
    source = queued.world.source
    with queued.following("op") as running:
        source.change(
            "begin; update item set body = repeat('y', 800000); insert into parent values (900, 'z', 'z'); commit"
        )
        running.wait(lambda: seen_whole(queued, 61), 60, "the transaction")
        found = queued.wait(running, 61)
    assert {len(m.value["after"]["body"]) for m in of(found, "item")} == {800_000}
    assert sorted(m.value["transaction"]["total_order"] for m in found) == list(range(1, 62))
    assert of(found, "parent")[0].value["transaction"]["total_order"] == 61


@pytest.mark.parametrize("queued", FLAVOURS[:1], indirect=True)
def test_what_a_killed_writer_left_open_is_never_seen(queued: Queued) -> None:
    """Two writers of one migration: the newer one shuts the older one out, and goes on where that had committed."""
    source = queued.world.source
    with queued.following("op") as running:
        source.change("insert into parent values (900, 'a', 'a900')")
        queued.wait(running, 1)
    job = queued.job("op")
    old, new = (KafkaWriter(queued.endpoint, job, ()) for _ in range(2))
    stored = old.recover()
    assert stored is not None
    old._begin()
    old._produce(queued.topic, b'{"half": true}', None, 0)
    old._client.flush(10)
    assert len(queued.read()) == 1
    assert len(queued.read("read_uncommitted")) == 2
    assert new.recover() == stored
    with pytest.raises(Fenced):
        old.commit(stored.position)
    for writer in (old, new):
        writer.close()
    source.change("insert into parent values (901, 'b', 'b901')")
    with queued.following("op", resume=True) as running:
        found = queued.wait(running, 2)
    assert list(fold(found, "id")) == [900, 901]


def test_a_topic_that_is_not_there_is_named_before_anything_is_made(queued: Queued) -> None:
    nowhere = Queued(queued.world, queued.kafka, "no-such-topic", queued.type)
    with pytest.raises(TopicMissing, match="no-such-topic"), nowhere.following("op"):
        pass
    assert "no-such-topic" not in queued.kafka.topics()
    if queued.world.source.is_postgres:
        assert (
            queued.world.source.run("select count(*) from pg_replication_slots where slot_name like '%queue%'") == "0"
        )
