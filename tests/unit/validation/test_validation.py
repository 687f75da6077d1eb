"""Data validation on real servers: equal is equal across engines, and every seeded fault is found and typed."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.conftest import running_server
from tests.servers.fleet import Fleet
from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.unit.validation import shop
from tests.unit.validation.shop import Server
from whimbrel.connectors.protocols import Ledger, Source
from whimbrel.connectors.registry import engine
from whimbrel.errors import ConnectionRefused, Interrupted, ValidateFailed
from whimbrel.model.job import Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.control import Control
from whimbrel.pipeline.validation.repair import repair_data
from whimbrel.pipeline.validation.tables import validate_data

PAIRS = (  # each server once on either side
    ("postgres15", "mariadb"),
    ("mariadb", "postgres18"),
    ("mysql", "postgres15"),
    ("postgres18", "mysql"),
)
OF_ONE_FAMILY = (("postgres15", "postgres18"), ("mariadb", "mysql"))


def on(*pairs: tuple[str, str], later: Sequence[tuple[str, str]] = ()) -> pytest.MarkDecorator:
    """The pairs of a test; those for ``later`` are run by ``make test-pairs``."""
    cases = [pytest.param(p, id=" to ".join(p), marks=[pytest.mark.pairs] * (p in later)) for p in (*pairs, *later)]
    return pytest.mark.parametrize("pair", cases, indirect=True, scope="module")


@pytest.fixture(scope="module")
def pair(
    request: pytest.FixtureRequest, fleet: Fleet, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Job, Server, Server]:
    source, target = (running_server(fleet, name) for name in request.param)
    for server in (source, target):
        shop.empty(server)
    shop.define(source)
    shop.fill(source)
    work = shop.job(source, target, tmp_path_factory.mktemp("job"))
    shop.make_target(work, target)
    return work, source, target


@pytest.fixture
def equal(pair: tuple[Job, Server, Server]) -> tuple[Job, Server, Server]:
    """The pair with the target filled as the source is."""
    target = pair[2]
    shop.run(target, "".join(f"delete from shop.{t.table};" for t in shop.TABLES))
    shop.fill(target)
    return pair


def validated(work: Job, sample: int = 100) -> dict[str, dict[str, Any]]:
    """The result's tables by name, checked for the contract's shape."""
    control = shop.QuietControl()
    result = validate_data(work, control, sample)
    assert set(result) == {"valid", "sample_percent", "tables"}
    assert result["valid"] is all(t["status"] == "equal" for t in result["tables"])
    fields = {"table", "source_rows", "target_rows", "missing", "extra", "different", "checked_rows", "method"}
    assert all(set(t) == fields | {"status", "samples"} for t in result["tables"])
    assert [t["table"] for t in result["tables"]] == [str(t) for t in work.tables]
    assert {p.status for p in control.shown} == {"waiting", "comparing", "done"}
    return {t["table"]: t for t in result["tables"]}


def kinds(table: dict[str, Any]) -> tuple[int, int, int]:
    return table["missing"], table["extra"], table["different"]


@on(*PAIRS, later=OF_ONE_FAMILY)
def test_equal_rows_are_equal(equal: tuple[Job, Server, Server]) -> None:
    tables = validated(equal[0])
    assert {t["status"] for t in tables.values()} == {"equal"}, tables
    assert tables["shop.items"]["source_rows"] == tables["shop.items"]["checked_rows"] == shop.ITEMS
    assert {n: t["method"] for n, t in tables.items()} == {
        "shop.items": "checksum by key range",
        "shop.tags": "checksum by key hash",
        "shop.events": "checksum by row hash",
        "shop.parts": "checksum by key range",
    }


@on(*PAIRS, later=OF_ONE_FAMILY)
def test_seeded_faults_are_found_and_typed(equal: tuple[Job, Server, Server]) -> None:
    work, _, target = equal
    shop.run(
        target,
        """
        delete from shop.items where id in (77, 8999);
        update shop.items set name = 'name 101!' where id = 100;
        update shop.items set ratio = ONE_BIT where id = 300;
        update shop.items set doc = '{"n": 400}' where id = 400;
        update shop.items set note = '' where id = 8;
        update shop.items set note = null where id = 7;
        insert into shop.items (id, name) values (100001, 'nobody');
        update shop.items set name = 'name 501' where id = 500; update shop.items set name = 'name 500' where id = 501;
        delete from shop.tags where uses = 17; update shop.tags set uses = 19 where uses = 18;
        insert into shop.tags values ('tag é 1000000', 1);
        insert into shop.events (kind, n) values ('kind 1', 1);
        update shop.events set note = '' where kind = 'kind 2' and n = 2;
        update shop.parts set note = 'q' where a = 69 and b = 690000000000;
        """.replace("ONE_BIT", repr(math.nextafter(300 / 7, 0))),
    )
    tables = validated(work)
    assert kinds(tables["shop.items"]) == (2, 1, 7)
    by_kind: dict[str, set[str]] = {}
    for sample in tables["shop.items"]["samples"]:
        by_kind.setdefault(sample["kind"], set()).add(sample["key"]["id"])
    assert by_kind["missing"] == {"77", "8999"}
    assert by_kind["extra"] == {"100001"}
    assert by_kind["different"] == {"100", "300", "400", "8", "7", "500", "501"}
    assert kinds(tables["shop.tags"]) == (1, 1, 1)
    assert {s["key"]["tag"] for s in tables["shop.tags"]["samples"] if s["kind"] == "missing"} == {"Tag 日 17"}
    assert kinds(tables["shop.events"]) == (10, 11, 0)  # ten copies of the changed row, one row more
    assert kinds(tables["shop.parts"]) == (0, 0, 1)
    assert tables["shop.parts"]["samples"] == [{"kind": "different", "key": {"a": "69", "b": "690000000000"}}]
    assert {t["status"] for t in tables.values()} == {"different"}


@on(PAIRS[0])
def test_samples_are_bounded_and_counts_are_not(equal: tuple[Job, Server, Server]) -> None:
    work, _, target = equal
    shop.run(target, "update shop.items set price = price + 1; delete from shop.tags; update shop.parts set note = 'x'")
    tables = validated(replace(work, tables=tuple(t for t in shop.TABLES if t.table != "events")))
    assert kinds(tables["shop.items"]) == (0, 0, shop.ITEMS)
    assert kinds(tables["shop.tags"]) == (shop.TAGS, 0, 0)
    assert kinds(tables["shop.parts"]) == (0, 0, 5000)
    assert all(len(t["samples"]) == 100 for t in tables.values())


@on(PAIRS[0], later=[PAIRS[1]])
def test_a_repair_puts_right_all_that_differs_and_not_only_the_samples(equal: tuple[Job, Server, Server]) -> None:
    """Without a key too, where rows differ in what the database cannot hash by itself."""
    work, _, target = equal
    shop.run(
        target,
        "update shop.items set price = price + 1 where id < 3000; delete from shop.tags where uses > 4500;"
        "update shop.events set doc = '[5000]' where n = 3; delete from shop.events where n = 4;"
        "insert into shop.events select * from shop.events where n = 5;",
    )
    found = validate_data(work, shop.QuietControl(), 100)
    differing = [sum(kinds(t)) for t in found["tables"]]
    assert differing[0] == 3000
    shop.run(target, "update shop.items set price = 0 where id = 8000")
    control = shop.QuietControl()
    done = repair_data(replace(work, operation="repair"), control, found, work.operation)
    assert (done["valid"], done["next"], done["repaired"]) == (True, "", sum(t["named"] for t in done["tables"]))
    assert [t["left"] + t["unnamed"] + t["already_equal"] for t in done["tables"]] == [0] * len(done["tables"])
    tables = validated(work)
    assert [t["samples"] for t in tables.values() if t["status"] != "equal"] == [
        [{"kind": "different", "key": {"id": "8000"}}]
    ]
    shutil.rmtree(work.workdir / "differences")
    shop.run(target, "update shop.items set price = 0")
    samples = repair_data(replace(work, operation="repair"), control, validate_data(work, control, 100), "elsewhere")
    assert (samples["repaired"], samples["valid"]) == (100, False)
    assert samples["next"] == f"{shop.ITEMS - 100} rows were counted but not named: validate again, then repair again"


@on(PAIRS[0], PAIRS[1])
def test_a_sample_takes_the_same_rows_on_both_sides(equal: tuple[Job, Server, Server]) -> None:
    work, _, target = equal
    tables = validated(work, 20)
    assert {t["status"] for t in tables.values()} == {"equal"}
    items = tables["shop.items"]
    assert items["source_rows"] == shop.ITEMS
    assert 0.15 < items["checked_rows"] / shop.ITEMS < 0.25
    shop.run(target, "update shop.items set price = 0")
    again = validated(work, 20)["shop.items"]
    assert again["checked_rows"] == items["checked_rows"] == again["different"] + again["missing"] + again["extra"]


@on(PAIRS[0])
def test_what_cannot_be_compared_is_an_error(equal: tuple[Job, Server, Server]) -> None:
    work, _, target = equal
    with pytest.raises(ValidateFailed, match="nowhere"):
        validate_data(replace(work, tables=(TableName("shop", "nowhere"),)), shop.QuietControl(), 100)
    shop.run(target, "alter table shop.parts rename column note to remark")
    try:
        with pytest.raises(ValidateFailed, match="note"):
            validate_data(work, shop.QuietControl(), 100)
    finally:
        shop.run(target, "alter table shop.parts rename column remark to note")
    wrong = replace(work.target, parameters={**work.target.parameters, "port": "1"})
    with pytest.raises(ConnectionRefused):
        validate_data(replace(work, target=wrong), shop.QuietControl(), 100)


@on(PAIRS[0])
def test_cancel_ends_it_and_leaves_no_session(equal: tuple[Job, Server, Server]) -> None:
    class Cancelled(shop.QuietControl):
        calls = 0

        def check(self) -> None:
            self.calls += 1
            if self.calls > 3:
                raise Interrupted

    work, *servers = equal
    with pytest.raises(Interrupted):
        validate_data(work, cast(Control, Cancelled()), 100)
    for server in servers:
        wait_until(lambda server=server: _sessions(server) == 0, 10, "sessions to end")  # type: ignore[misc]


def _sessions(server: Server) -> int:
    if isinstance(server, Postgres):
        return int(server.psql("select count(*) from pg_stat_activity where application_name like 'whimbrel:%'"))
    lock = "IS_USED_LOCK(CONCAT('whimbrel:validate-test:{}', ID))"
    either = f"{lock.format('')} OR {lock.format('target:')}"
    return int(server.client(f"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE {either}"))


# --- while the source is written to -----------------------------------------------------------------------------------


class Replicator:
    """Writes to the source and repeats each write on the target a moment later, with its position, as ours does."""

    def __init__(self, work: Job, source: Server, target: Server, delay: float) -> None:
        self._work = work
        self._delay = delay
        self._servers = source, target
        self._positions: Source = engine(work.source.type).source(work.source, "test-writer")
        self._writes = engine(work.target.type).target(work.target, "test-applier")
        self._ledger: Ledger = self._writes.ledger(work.migration)
        self._epoch = self._ledger.claim()
        self._lock = threading.Lock()
        self._queue: deque[tuple[float, str, Any]] = deque()
        self._stop = threading.Event()
        tables = self._positions.reflect(work.tables)
        self._ledger.set_position(self._epoch, self._positions.prepare_changes(work, tables))
        self._threads = [threading.Thread(target=f, daemon=True) for f in (self._write, self._apply)]
        self.writes = 0

    def __enter__(self) -> Replicator:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
        self._ledger.close()
        self._writes.close()
        self._positions.cleanup(self._work)
        self._positions.close()

    def _write(self) -> None:
        while not self._stop.is_set():
            if len(self._queue) > 20:
                time.sleep(0.005)
                continue
            n = self.writes
            hot = n % 3
            sql = (
                f"update shop.items set name = 'hot {n % 2}', price = {n} where id = {hot};"
                f"update shop.items set note = 'written {n}' where id = {1000 + n};"
                f"delete from shop.tags where uses = {n + 100};"
                f"insert into shop.tags values ('new {n}', {1_000_000 + n});"
                f"insert into shop.events (kind, n) values ('live', {n % 7});"
            )
            with self._lock:
                shop.run(self._servers[0], f"begin; {sql} commit;")
                self._queue.append((time.monotonic(), sql, self._positions.current_position()))
            self.writes += 1

    def _apply(self) -> None:
        while not self._stop.is_set() or self._queue:
            with self._lock:
                due = self._queue[0] if self._queue else None
                if due is None:
                    self._ledger.set_position(self._epoch, self._positions.current_position())
            if due is None or time.monotonic() - due[0] < self._delay:
                time.sleep(0.005)
                continue
            shop.run(self._servers[1], f"begin; {due[1]} commit;")
            self._ledger.set_position(self._epoch, due[2])
            self._queue.popleft()


@on(PAIRS[1], later=[PAIRS[0]])
def test_no_false_alarm_while_rows_are_written(equal: tuple[Job, Server, Server]) -> None:
    work, source, target = equal
    try:
        with Replicator(work, source, target, delay=0.3) as live:
            wait_until(lambda: live.writes > 10, 30, "the first writes")
            for _ in range(3):
                tables = validated(work)
                assert {t["status"] for t in tables.values()} == {"equal"}, tables
            before = live.writes
            wait_until(lambda: live.writes > before + 5, 30, "writes go on after validation")
    finally:
        shop.run(source, "".join(f"delete from shop.{t.table};" for t in shop.TABLES))
        shop.fill(source)


@on(PAIRS[0], later=[PAIRS[1]])
def test_faults_are_found_while_rows_are_written(equal: tuple[Job, Server, Server]) -> None:
    work, source, target = equal
    shop.run(
        target,
        "delete from shop.items where id = 8000; update shop.items set note = 'broken' where id = 8001;"
        "insert into shop.items (id, name) values (200000, 'nobody'); delete from shop.tags where uses = 4999;"
        "insert into shop.events (kind, n) values ('kind 1', 1);",
    )
    try:
        with Replicator(work, source, target, delay=0.3) as live:
            wait_until(lambda: live.writes > 10, 30, "the first writes")
            tables = validated(work)
        assert kinds(tables["shop.items"]) == (1, 1, 1)
        assert {s["key"]["id"] for s in tables["shop.items"]["samples"]} == {"8000", "8001", "200000"}
        assert kinds(tables["shop.tags"]) == (1, 0, 0)
        assert kinds(tables["shop.events"]) == (0, 1, 0)
        assert tables["shop.parts"]["status"] == "equal"
    finally:
        shop.run(source, "".join(f"delete from shop.{t.table};" for t in shop.TABLES))
        shop.fill(source)
