"""Tables of the target that somebody else has locked: no lane waits for ever, and the error says for whom."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from tests.servers.postgres import Postgres
from tests.unit.postgres.moving import Move
from tests.unit.postgres.test_schema import job
from whimbrel.connectors.postgres import connection, locks
from whimbrel.connectors.postgres.compare import open_comparison
from whimbrel.errors import TargetInterrupted
from whimbrel.model.job import Endpoint


@pytest.fixture(autouse=True)
def a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TARGET_LOCK_SECONDS", 1)
    monkeypatch.setattr(locks, "LOCK_SECONDS", 1)


@contextmanager
def refused(match: str) -> Iterator[None]:
    began = time.monotonic()
    with pytest.raises(TargetInterrupted, match=match) as caught:
        yield
    assert 0.9 < time.monotonic() - began < 10
    assert caught.value.retryable


@contextmanager
def held(server: Postgres, database: str, sql: str) -> Iterator[int]:
    """What somebody else has locked, by that backend's number."""
    with psycopg.connect(server.dsn(database)) as holder:
        holder.execute(sql.encode())
        yield holder.info.backend_pid
        holder.rollback()


def test_lanes_indexes_and_resets_name_who_is_in_the_way(move: Move) -> None:
    (chunk,) = move.plan("true")
    file = move.staged(chunk)
    move.loader.close()
    move.loader = move.target.open_loader(job())  # with the bound of this test
    with held(move.server, move.second, "lock table t in share mode") as pid:
        who = rf"open transactions with locks: backend {pid} \(\w+, \d+ s\)"
        with refused(who):
            move.load(chunk, file)
        with refused(who):
            move.target.finisher.indexes(move.source, move.table, lambda: False)
        with refused(who):
            move.target.reset([move.table.name], "drop")
    assert move.load(chunk, file) == 3001
    move.target.finisher.indexes(move.source, move.table, lambda: False)
    assert move.contents(move.second) == move.contents(move.first)


def test_a_comparison_waits_no_longer(move: Move) -> None:
    endpoint = Endpoint("x", "postgres", move.server.parameters(move.second))
    with (
        closing(open_comparison(endpoint, "op", "target")) as comparison,
        held(move.server, move.second, "lock table t"),
        refused("lock timeout"),
    ):
        comparison.rows(f"select count(*) from {comparison.rows_of(move.table.name)}")
