"""Several loads in one worker share one budget of lanes: who has to wait says so, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.postgres import Postgres
from tests.suite.running import Running
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.pipeline.load import data
from whimbrel.pipeline.load.budget import LaneBudget
from whimbrel.pipeline.load.data import copy_data

ROWS = 400
SOURCE, TARGET = "lanes_source", "lanes_target"
LOADS = ("first", "second", "third")


@pytest.fixture(scope="module")
def server(postgres18: Postgres) -> Iterator[Postgres]:
    """A table for each load."""
    for database in (SOURCE, TARGET):
        postgres18.create_database(database)
        for load in LOADS:
            postgres18.psql(f"create table {load} (id int primary key, pad text)", database)
    for load in LOADS:
        postgres18.psql(f"insert into {load} select i, repeat('x', 500) from generate_series(1, {ROWS}) i", SOURCE)
        postgres18.psql(f"analyze {load}", SOURCE)
    yield postgres18
    for database in (SOURCE, TARGET):
        postgres18.psql(f"drop database {database} with (force)")


def begin(server: Postgres, load: str, home: Path) -> Running:
    source = Endpoint("s", "postgres", server.parameters(SOURCE))
    target = Endpoint("t", "postgres", server.parameters(TARGET))
    tables = (TableName("public", load),)
    job = Job(load, f"op-{load}", source, target, tables, home / load, threads=1, rows_per_file=50)
    (home / load).mkdir(parents=True)
    return Running(lambda watch: copy_data(job, watch, capture=False, resume=False))


def loaded(running: Running) -> int:
    return sum(t.rows_loaded for t in running.watch.tables.values())


def test_one_lane_for_three_loads(server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rests in a pause, the second is cancelled while it has the lane, the third while it waits for it."""
    monkeypatch.setattr(data, "BUDGET", LaneBudget(1))
    body = "begin perform pg_sleep(0.01); return new; end"
    server.psql(f"create function slowly() returns trigger language plpgsql as '{body}'", TARGET)
    for load in LOADS[:2]:
        server.psql(
            f"create trigger slowly before insert on {load} for each row execute function slowly(); "
            f"alter table {load} enable always trigger slowly",
            TARGET,
        )
    first = begin(server, "first", tmp_path)
    first.wait(lambda: loaded(first) > 0, 30, "the first load to move")
    second = begin(server, "second", tmp_path)
    second.wait(lambda: "waiting" in second.watch.phases, 20, "the second to say that it waits")
    assert any("WHIMBREL_WORKER_LANES" in line for _, line in second.watch.lines)
    third = begin(server, "third", tmp_path)
    third.wait(lambda: "waiting" in third.watch.phases, 20, "the third to wait too")
    assert loaded(second) == 0
    third.watch.pause.set()
    third.wait(third.watch.resting.is_set, 10, "a load that waits to rest when asked")
    first.watch.pause.set()
    first.wait(first.watch.resting.is_set, 20, "the first to rest")
    second.wait(lambda: loaded(second) > 0, 20, "the second to have the lane")
    first.watch.pause.clear()
    first.wait(lambda: first.watch.phases[-1] in ("data", "waiting"), 5, "the first to go on")
    third.end()  # while it waits
    second.end()  # while it has the lane, or has given it back to the first
    first.wait_ended(60)
    assert server.psql("select count(*), sum(id) from first", TARGET) == server.psql(
        "select count(*), sum(id) from first", SOURCE
    )
    again = begin(server, "third", tmp_path / "again")
    again.wait_ended(60)
    assert server.psql("select count(*) from third", TARGET).strip() == str(ROWS)
