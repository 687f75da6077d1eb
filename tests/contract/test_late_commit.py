"""A load whose commit was still under way when its answer was lost: who loads the chunk again finds it loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pymysql
import pytest

from tests.conftest import running_end
from tests.contract.bench import Bench, table
from tests.engines import Side, side_of
from tests.servers.fleet import SERVERS, Fleet
from tests.servers.process import wait_until


@pytest.fixture(scope="module", params=["mariadb", "postgres18"])
def side(request: pytest.FixtureRequest, fleet: Fleet) -> Side:
    found = side_of(running_end(fleet, request.param), SERVERS[request.param], "late", "late")
    found.drop_leftovers()
    return found


def test_rows_of_an_attempt_that_commits_late_are_not_taken_for_wrong_ones(bench: Callable[..., Bench]) -> None:
    b, answers = bench(table("t")), list[object]()
    (chunk,) = b.plan()
    parameters, postgres = dict(b.job.target.parameters), b.side.is_postgres
    target = b.targets[0]
    session: Any
    if postgres:
        finisher = b.target.finisher
        assert finisher is not None
        finisher.indexes(b.tables[0], target, lambda: False)  # as of a table that a second snapshot goes on with
        session = psycopg.connect(b.side.server.dsn(parameters["database"]))  # type: ignore[union-attr]
    else:
        named = {k: parameters[k] for k in ("host", "user", "password")}
        session = pymysql.connect(**named, port=int(parameters["port"]), autocommit=False)

    def again() -> None:
        try:
            answers.append(b.load(chunk, b.staged(("1", "a", None), ("2", "b", None))))
        except Exception as e:
            answers.append(e)

    with closing(session):
        cursor = session.cursor()
        cursor.execute(f"insert into {target.name.schema}.{target.name.table} values (1, 'a', null), (2, 'b', null)")
        key = f"'{b.job.migration}', '{b.name.schema}', '{b.name.table}'"
        cursor.execute(f"insert into whimbrel.loaded values ({key}, 0, 2)")
        thread = threading.Thread(target=again)
        thread.start()
        waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        if not postgres:
            waits = "select count(*) from information_schema.innodb_trx where trx_state = 'LOCK WAIT'"
        wait_until(lambda: int(b.side.run(waits)) > 0, 20, "the second attempt to wait for the first one's rows")
        session.commit()
        thread.join(30)
    assert answers == [2]
    assert b.rows() == ["1|a|NULL", "2|b|NULL"]
