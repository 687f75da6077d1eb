"""Every change as one message, once and in commit order, read by the vendor's own consumer in read_committed."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import running_server
from tests.emulators.kafka import Kafka, Read
from tests.engines import side_of
from tests.servers.fleet import SERVERS, Fleet
from tests.suite.queueing import Queued, fold, of, short
from tests.suite.world import World
from whimbrel.connectors.kafka.producer import KafkaWriter
from whimbrel.errors import Fenced, LayoutChanged, PositionLost, ReplicationFailed, TopicMissing
from whimbrel.pipeline.cleanup import clean_up

PAIRS = (  # every source with every queue: the scenarios of the first tests
    ("postgres15", "kafka"),
    ("mariadb", "redpanda"),
    ("mysql", "kafka"),
    ("postgres18", "redpanda"),
    ("mariadb", "kafka"),
    ("mysql", "redpanda"),
)
FLAVOURS = PAIRS[:2]  # all others, because the two queues share one connector
_numbers = itertools.count(1)

# A row of every type that PostgreSQL and MySQL share, and how it reads in the queue whichever of them it comes from.
WIDE = """create table wide (id bigint primary key, big bigint, dec1 decimal(38,10), dec0 decimal(5,0),
  small smallint, real1 real, dbl double precision, t varchar(40), born date, noon time(6), short time,
  made timestamp(6), whole timestamp(0), seen timestamptz(3), raw bytea, doc json, uid uuid, bits bit(5));"""
WIDE_MYSQL = """create table wide (id bigint primary key, big bigint, dec1 decimal(38,10), dec0 decimal(5,0),
  small smallint, real1 float, dbl double, t varchar(40), born date, noon time(6), short time,
  made datetime(6), whole datetime, seen timestamp(3) null, raw longblob, doc json, uid char(36), bits bit(5));"""
WIDE_ROW = r"""insert into wide values (9223372036854775807, -9007199254740993,
  -1234567890123456789012345678.9012345678, 99999, -32768, 0.1, 0.1, {t}, '2024-02-29', '23:59:59.999900', '00:00:00',
  '2026-11-23 13:00:00.500000', '1999-12-31 23:59:59', {seen}, {raw}, '{{"a": [1, null, "x"]}}',
  '00000000-0000-4000-8000-0000000000ff', b'00101'); insert into wide (id) values (-1);"""
OF_POSTGRES = {"t": r"""'ünï "q" \ 🐦'""", "seen": "'2026-11-23 14:00:00.25+01'", "raw": r"'\x00ff5c0a22'"}
OF_MYSQL = {"t": r"""'ünï "q" \\ 🐦'""", "seen": "'2026-11-23 13:00:00.250'", "raw": "x'00ff5c0a22'"}
WIDE_READ = {
    "id": 9223372036854775807, "big": -9007199254740993, "dec1": "-1234567890123456789012345678.9012345678",
    "dec0": "99999", "small": -32768, "real1": 0.1, "dbl": 0.1, "t": 'ünï "q" \\ 🐦', "born": "2024-02-29",
    "noon": "23:59:59.9999", "short": "00:00:00", "made": "2026-11-23T13:00:00.5", "whole": "1999-12-31T23:59:59",
    "seen": "2026-11-23T13:00:00.25Z", "raw": "AP9cCiI=", "doc": '{"a": [1, null, "x"]}',
    "uid": "00000000-0000-4000-8000-0000000000ff", "bits": "00101",
}  # fmt: skip
POSTGRES_ALONE = """create table only_here (id int primary key, ints int[], texts text[][], flags bool[],
  moment timestamp, never timestamptz, any_number numeric, span interval, large text);
  alter table only_here alter column large set storage external;"""
POSTGRES_ALONE_ROW = r"""insert into only_here values (1, '{1,NULL,-3}', '{{"a b","\"q\""},{NULL,"ü"}}', '{t,f}',
  'infinity', '0044-03-15 10:00:00+00 BC', 'NaN', '1 day 02:00', repeat('large', 2000));
  update only_here set ints = '{}';"""


@pytest.fixture
def queued(request: pytest.FixtureRequest, fleet: Fleet, kafka: Kafka, tmp_path: Path) -> Iterator[Queued]:
    """A source with a few rows and a topic of three partitions."""
    name, type = request.param
    source = side_of(running_server(fleet, name), SERVERS[name], "queue_source")
    source.drop_leftovers()
    number = next(_numbers)
    world = World(source, source, tmp_path, f"queue{number}")
    world.make(60)
    kafka.make_topic(f"changes{number}", 3)
    yield Queued(world, kafka, f"changes{number}", type)
    source.drop_leftovers()


def on(pairs: Sequence[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("queued", pairs, ids=["-".join(pair) for pair in pairs], indirect=True)


@on(PAIRS)
def test_every_kind_of_change(queued: Queued) -> None:
    source = queued.world.source
    with queued.following("op") as running:
        source.change(
            "begin; insert into parent values (900, 'a', 'a900'); update parent set name = 'b' where id = 900;"
            "insert into twokeys values (900, 'x', null); delete from parent where id = 900; commit;"
            "update twokeys set a = 901 where a = 900; truncate table nokey;"
            "insert into nokey values (1, 'same'); update nokey set b = 'other'; delete from nokey;"
            "begin; delete from item; rollback"
        )
        queued.wait(running, 10)
    source.change("update parent set name = 'while away' where id = 1")
    with queued.following("op", resume=True) as running:
        found = queued.wait(running, 11)
    assert short(of(found, "parent")) == [
        ("c", {"id": 900}, None, {"id": 900, "name": "a", "email": "a900"}),
        ("u", {"id": 900}, None, {"id": 900, "name": "b", "email": "a900"}),
        ("d", {"id": 900}, {"id": 900}, None),
        ("u", {"id": 1}, None, {"id": 1, "name": "while away", "email": "p1@example.org"}),
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
    require_source_block(queued, of(found, "parent")[0])


def require_source_block(queued: Queued, message: Read) -> None:
    about = message.value["source"]
    if queued.world.source.is_postgres:
        assert (about["connector"], about["db"]) == ("postgresql", "queue_source")
        assert about["txId"] > 0 < about["lsn"]
        assert message.value["transaction"]["id"] == str(about["txId"])
    else:
        assert (about["connector"], about["db"]) == (queued.world.source.type, "suite")
        number = r"0-1-\d+" if queued.world.source.type == "mariadb" else r"[0-9a-f-]{36}:\d+"
        assert re.fullmatch(number, about["gtid"])
        assert message.value["transaction"]["id"] == about["gtid"]
        assert about["pos"] > 0 < len(about["file"])
    assert (about["name"], about["schema"], about["table"]) == (queued.world.name, "suite", "parent")
    assert abs(message.value["ts_ms"] - about["ts_ms"]) < 60_000


@on(PAIRS)
def test_values_read_alike_whatever_source_they_come_from(queued: Queued) -> None:
    source = queued.world.source
    source.change(WIDE + POSTGRES_ALONE, WIDE_MYSQL)
    queued.more.extend(("wide", "only_here") if source.is_postgres else ("wide",))
    with queued.following("op") as running:
        source.change(WIDE_ROW.format(**OF_POSTGRES) + POSTGRES_ALONE_ROW, WIDE_ROW.format(**OF_MYSQL))
        found = queued.wait(running, 4 if source.is_postgres else 2)
    row, nulls = (m.value["after"] for m in of(found, "wide"))
    assert {**row, "doc": WIDE_READ["doc"]} == WIDE_READ
    assert json.loads(str(row["doc"])) == json.loads(str(WIDE_READ["doc"]))
    assert nulls == {**dict.fromkeys(WIDE_READ), "id": -1}
    if source.is_postgres:
        made, updated = (m.value["after"] for m in of(found, "only_here"))
        assert made == {
            "id": 1, "ints": [1, None, -3], "texts": [["a b", '"q"'], [None, "ü"]], "flags": [True, False],
            "moment": "infinity", "never": "0044-03-15 10:00:00+00 BC", "any_number": "NaN", "span": "1 day 02:00:00",
            "large": "large" * 2000,
        }  # fmt: skip
        del made["large"]  # the log does not have it again
        assert updated == {**made, "ints": []}


@pytest.mark.parametrize(
    ("queued", "compression"),
    [(FLAVOURS[0], "none"), (FLAVOURS[1], "snappy"), (FLAVOURS[0], "lz4"), (FLAVOURS[1], "zstd")],
    indirect=["queued"],
    ids=["none", "snappy", "lz4", "zstd"],
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


@on(FLAVOURS)
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
    name = f"{queued.topic}-whimbrel-{queued.world.name}"
    queued.kafka.remove_topic(name)
    source.change("update parent set name = 'not lost' where id = 900")
    for resume in (False, True):
        with pytest.raises(PositionLost, match=name) as lost, queued.following("fresh", resume=resume):
            pass
    with queued.following("later", position=lost.value.extra["position"]) as running:
        found = queued.wait(running, 5)
    assert found[-1].value["after"]["name"] == "not lost"
    clean_up(queued.job("later"), remove_capture=True)
    assert name in queued.kafka.topics(), "whoever resumes needs it"


@on(FLAVOURS)
def test_columns_that_changed_while_nothing_was_sent(queued: Queued) -> None:
    """PostgreSQL's log says what its rows look like; MariaDB's does not, unless it is told to."""
    source = queued.world.source
    with queued.following("op") as running:
        source.change("insert into parent values (900, 'a', 'a900')")
        queued.wait(running, 1)
    if source.is_postgres:
        source.change("alter table parent add extra int; insert into parent values (901, 'b', 'b901', 7)")
        with queued.following("later", resume=True) as running:
            assert queued.wait(running, 2)[-1].value["after"]["extra"] == 7
            assert [line for _, line in running.watch.lines if "suite.parent: other columns on the source" in line]
    else:
        source.change("alter table parent modify email varchar(80) not null after id")
        with pytest.raises(LayoutChanged, match=r"suite\.parent"), queued.following("later", resume=True):
            pass
    clean_up(queued.job("later"), remove_capture=True)


def seen_whole(queued: Queued, messages: int) -> bool:
    """Whether they are there; they must come all at once."""
    found = len(queued.read())
    assert found in (0, messages)
    return found > 0


@on(FLAVOURS)
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


@on(FLAVOURS[:1])
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


@on(FLAVOURS[:1])
def test_a_topic_that_is_not_there_is_named_before_anything_is_made(queued: Queued) -> None:
    nowhere = Queued(queued.world, queued.kafka, "no-such-topic", queued.type)
    with pytest.raises(TopicMissing, match="no-such-topic"), nowhere.following("op"):
        pass
    assert "no-such-topic" not in queued.kafka.topics()
    assert queued.world.source.run("select count(*) from pg_replication_slots where slot_name like '%queue%'") == "0"
