"""A transaction reaches the target whole, and the source forgets it only then, however large it is and however slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pymysql
import pytest

from tests.engines import Side
from tests.faults.plant import Plant
from tests.faults.test_refusals import Case, made_case, side
from tests.servers.fleet import Fleet
from tests.servers.mysql import MySQL
from tests.servers.process import free_port, wait_until
from tests.soak.observing import Forgetting, resident
from tests.soak.relay import Relay

__all__ = ["made_case"]  # a fixture

# 150 s in all, and the memory of processes on a busy machine is not steady enough for every run
pytestmark = pytest.mark.long

SMALL, LARGE = 100, 300  # megabytes of one transaction; the small one fills every buffer on the way
MOST_MORE = 100  # megabytes that the worker's processes may need more for the large one: half of what it has more


@contextmanager
def rival(target: Side) -> Iterator[pymysql.Connection[pymysql.cursors.Cursor]]:
    """Somebody else's session on a MySQL or MariaDB target."""
    server = target.server
    assert isinstance(server, MySQL)
    place: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "user": "root", "password": server.password}
    with closing(pymysql.connect(**place, database=target.schema)) as session:
        yield session


def logged(made: Case, operation: str, text: str) -> bool:
    logs = (made.plant.home / "migrations" / made.name / "logs").glob(f"{operation}*")
    return any(text in log.read_text() for log in logs)


def test_the_source_keeps_what_the_target_has_not_committed(fleet: Fleet, made_case: Callable[..., Case]) -> None:
    made = made_case(side(fleet, "postgres15", "source"), side(fleet, "mariadb", "target"))
    source, target = made.world.source, made.world.target
    operation = made.start()
    made.wait_following(operation)
    forgetting = Forgetting(source, target, made.name)
    source.run("create table if not exists public.noise (n int)")
    with rival(target) as session, session.cursor() as cursor:
        cursor.execute("lock tables item write")
        source.change("update item set title = 'held up' where id < 50")
        held = int(source.run("select (pg_current_wal_lsn() - '0/0')::bigint"))
        until = time.monotonic() + 4
        while time.monotonic() < until:  # other changes go on, which nothing holds up
            source.run("insert into public.noise select generate_series(1, 500)")
            confirmed, committed = forgetting.positions()
            assert confirmed <= committed
            assert confirmed < held, "confirmed beyond a change that the target has not got"
        cursor.execute("unlock tables")
    made.wait_equal(operation)
    now = int(source.run("select (pg_current_wal_lsn() - '0/0')::bigint"))

    def let_go() -> bool:
        forgetting.compare()
        return forgetting.positions()[0] >= now

    wait_until(let_go, 30, "the source to forget what the target has committed")
    made.end(operation)


@pytest.mark.parametrize("pair", [("postgres15", "mariadb"), ("mariadb", "postgres18")], ids="-".join)
def test_a_large_transaction_is_seen_whole_or_not_at_all(
    fleet: Fleet, plant: Plant, made_case: Callable[..., Case], pair: tuple[str, str]
) -> None:
    made = made_case(side(fleet, pair[0], "source"), side(fleet, pair[1], "target"))
    source, target = made.world.source, made.world.target
    operation = made.start()
    made.wait_following(operation)
    held = []
    for turn, megabytes in enumerate((SMALL, LARGE)):
        title, first = f"whole {turn}", 1000 * (turn + 1)
        size = megabytes * 1_000_000 // 300
        seen: set[str] = set()
        most = [0]

        def look(seen: set[str] = seen, most: list[int] = most, title: str = title, first: int = first) -> bool:
            assert plant.worker.pid is not None
            most[0] = max(most[0], resident(plant.worker.pid))
            both = (f"title = '{title}'", f"id > {first}")
            counts = ", ".join(f"sum(case when {one} then 1 else 0 end)" for one in both)
            seen.add(target.run(f"select {counts} from {target.schema}.item").strip().replace("|", "\t"))
            return "300\t100" in seen

        source.change(
            f"begin; insert into item (id, title) select id + {first}, 'new' from item where id <= 100;"
            f"update item set title = '{title}', body = repeat('0123456789', {size // 10}) where id <= 300; commit"
        )
        wait_until(look, 120, "the transaction to arrive", every=0.1)
        assert seen == {"0\t0", "300\t100"}
        held.append(most[0] >> 20)
    print(f"the worker's processes held {held[0]} MB with {SMALL} MB, {held[1]} MB with {LARGE} MB")
    assert held[1] - held[0] < MOST_MORE, held
    made.end(operation)


@pytest.mark.parametrize("flavor", ["mysql", "mariadb"])
def test_a_deadlock_on_the_target_is_tried_again(fleet: Fleet, made_case: Callable[..., Case], flavor: str) -> None:
    """The server makes us its victim, as the other transaction has changed more rows."""
    made = made_case(side(fleet, "postgres15", "source"), side(fleet, flavor, "target"))
    source, target = made.world.source, made.world.target
    operation = made.start()
    made.wait_following(operation)
    target.run("create table suite.heavy (n int primary key) engine=innodb")
    with rival(target) as session, session.cursor() as cursor:
        cursor.execute("set session innodb_lock_wait_timeout = 40")
        cursor.execute("begin")
        values = ",".join(f"({n})" for n in range(20_000))
        cursor.execute(f"insert into heavy values {values}")
        cursor.execute("update item set title = 'rival' where id = 2")
        source.change(
            "begin; update item set title = 'ours' where id = 1; update item set title = 'ours' where id = 2; commit"
        )
        # waiting for row 2 it holds row 1; who asks within 0.1 s of the last time is shown the same again
        waits = "select count(*) from information_schema.innodb_trx where trx_state = 'LOCK WAIT'"
        wait_until(lambda: target.run(waits).strip() == "1", 20, "the applier to wait for the other's row", every=0.3)
        cursor.execute("update item set title = 'rival' where id = 1")
        session.rollback()
    wait_until(lambda: logged(made, operation, "eadlock"), 20, "the deadlock to be told")
    made.wait_equal(operation)
    made.end(operation)


def test_a_reset_in_the_middle_of_copy(fleet: Fleet, made_case: Callable[..., Case]) -> None:
    """In the load and in the change phase, while the server reads what we send."""
    made = made_case(side(fleet, "mariadb", "source"), side(fleet, "postgres18", "target"))
    source, target = made.world.source, made.world.target
    copying = (
        "select count(*) from pg_stat_activity"
        " where query ilike '%copy %' and state = 'active' and pid <> pg_backend_pid()"
    )
    resets = 0

    def reset() -> None:
        nonlocal resets
        wait_until(lambda: target.run(copying) != "0", 60, "a COPY to run", every=0.01)
        relay.cut(0.2)
        resets += 1

    assert not isinstance(target.server, MySQL)
    with Relay(free_port(), target.server.port) as relay:
        made.point("targets", port=relay.port)
        resetting = threading.Thread(target=reset)
        resetting.start()
        operation = made.start_slowly()
        resetting.join(90)
        made.wait_following(operation)
        resetting = threading.Thread(target=reset)
        resetting.start()
        source.change("update item set body = repeat('0123456789', 10000)")
        resetting.join(90)
        assert resets == 2
        made.wait_equal(operation)
        made.end(operation)
