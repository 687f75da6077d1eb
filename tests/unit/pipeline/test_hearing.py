"""A validation that waits for a lock of somebody else on the target is got out of it at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest

from tests.conftest import running_server
from tests.servers.fleet import Fleet
from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.unit.validation import shop
from tests.unit.validation.shop import Server
from whimbrel.errors import Interrupted
from whimbrel.pipeline import cleanup
from whimbrel.pipeline.hearing import Hearing
from whimbrel.pipeline.validation import sides as comparing
from whimbrel.pipeline.validation import tables as validation

WAITS = {
    "postgres": "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and application_name like 'w%'",
    "mysql": "select count(*) from information_schema.processlist where state like 'Waiting for table%'",
}
Lock = Callable[[], object]


class Leaving(shop.QuietControl):
    told = False

    def check(self) -> None:
        if self.told:
            raise Interrupted


@contextmanager
def locking(server: Server) -> Iterator[Lock]:
    """A client that may lock a table for itself, until the block ends."""
    if isinstance(server, Postgres):
        with psycopg.connect(server.dsn("validation")) as holder:
            yield lambda: holder.execute("lock table shop.items")
            holder.rollback()
    else:
        with (
            pymysql.connect(host="127.0.0.1", port=server.port, user="root", password=server.password) as link,
            link.cursor() as cursor,
        ):
            yield lambda: cursor.execute("LOCK TABLES shop.items WRITE")


@pytest.mark.parametrize(
    ("source", "target", "late"),
    [("mariadb", "postgres18", False), ("mariadb", "postgres18", True), ("postgres18", "mysql", False)],
    ids=["postgres, looked at", "postgres, compared", "mysql"],
)
def test_a_locked_table_of_the_target(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, target: str, late: bool
) -> None:
    sides = [running_server(fleet, name) for name in (source, target)]
    for server in sides:
        shop.empty(server)
    shop.define(sides[0])
    work, there, ended = shop.job(sides[0], sides[1], tmp_path), sides[1], list[BaseException]()
    shop.make_target(work, there)
    control = Leaving()

    def validate() -> None:
        try:
            with Hearing(work, control, lambda: 1.0):
                validation.validate_data(work, control, 0)
        except BaseException as e:
            ended.append(e)

    with locking(there) as lock:
        if late:
            plans_of = comparing.plans_of

            def planned(*given: Any) -> Any:
                found = plans_of(*given)
                lock()
                return found

            monkeypatch.setattr(validation, "plans_of", planned)
        else:
            lock()
        step = threading.Thread(target=validate, daemon=True)
        step.start()
        waits = WAITS["postgres" if isinstance(there, Postgres) else "mysql"]
        wait_until(lambda: shop.run(there, waits).splitlines()[-1:] == ["1"], 30, "the validation to wait")
        began, control.told = time.monotonic(), True
        step.join(10)
        assert not step.is_alive()
        assert ended, "it was told to leave, and came to its end"
        cleanup.clean_up(work, moved=False)
        assert time.monotonic() - began < 10
