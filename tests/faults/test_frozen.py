"""A server that hangs without a word: the step ends in time, and goes on once the server does."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import running_server
from tests.engines import SCHEMA, side_of
from tests.servers.fleet import Fleet
from tests.servers.mysql import MySQL
from tests.suite.running import Watch, replicating, settled
from tests.suite.world import World
from whimbrel.connectors.mysql.target.writing import MySQLTarget
from whimbrel.connectors.postgres.target.writing import PostgresTarget
from whimbrel.errors import HostUnreachable, SourceInterrupted, TargetInterrupted, WhimbrelError
from whimbrel.model.table import Table
from whimbrel.pipeline import stalls
from whimbrel.pipeline.cleanup import clean_up
from whimbrel.pipeline.load.data import copy_data
from whimbrel.pipeline.schema import apply_schema, extract_schema


@contextmanager
def frozen(server: MySQL) -> Iterator[None]:
    """SIGSTOP: connections stay, and new ones are taken by the system, but nobody answers."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def server(fleet: Fleet) -> Iterator[MySQL]:
    """One that may be frozen."""
    running_server(fleet, "mariadb")  # or the tests are skipped
    with tempfile.TemporaryDirectory(prefix="whimbrel-frozen-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        own = MySQL(folder / "s", "mariadb", server_id="7")
        own.start()
        yield own
        own.stop()


@pytest.fixture(params=["target"])
def world(
    request: pytest.FixtureRequest, fleet: Fleet, server: MySQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """``param`` is the side that may be frozen."""
    for name, value in (("QUIET", 1.0), ("LOOK", 0.2), ("ANSWER", 0.5)):
        monkeypatch.setattr(stalls, name, value)
    monkeypatch.setattr("whimbrel.connectors.mysql.connection.CONNECT_SECONDS", 2)
    shared = side_of(running_server(fleet, "postgres18"), "postgres", "frozen")
    own = side_of(server, "mariadb", SCHEMA)
    ends = (shared, own) if request.param == "target" else (own, shared)
    for side in ends:
        side.drop_leftovers()
    world = World(*ends, tmp_path, "frozen")
    world.make(3000)
    extract_schema(world.job("schema"), Watch())
    apply_schema(world.job("schema"), Watch(), None)
    yield world
    shared.drop_leftovers()


class AtData(Watch):
    """Freezes a server once the load has begun."""

    def __init__(self, server: MySQL) -> None:
        super().__init__()
        self.server = server

    def phase(self, name: str) -> None:
        super().phase(name)
        if name == "data":
            os.kill(self.server.process.pid, signal.SIGSTOP)


def frozen_in_a_load(world: World, server: MySQL, *errors: type[WhimbrelError]) -> AtData:
    """What was heard of a load whose server froze; done again it is whole."""
    watch, job = AtData(server), world.job("op", rows_per_file=500)
    try:
        with pytest.raises((*errors, HostUnreachable)):
            copy_data(job, watch, capture=True, resume=False)
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    copy_data(job, Watch(), capture=True, resume=False)
    assert world.differing() == []
    return watch


def test_a_target_that_hangs_ends_load_and_replication_and_nothing_is_lost(world: World) -> None:
    server = world.target.server
    assert isinstance(server, MySQL)
    frozen_in_a_load(world, server, TargetInterrupted)

    with replicating(world, "op") as running:
        running.wait(lambda: running.watch.caught_up, 20, "the replication to catch up")
        with frozen(server):
            world.source.change("update item set small = 5 where id <= 100")
            with pytest.raises(TargetInterrupted):
                running.wait(lambda: False, 30, "the step to end by itself")
        assert any("given up" in line for _, line in running.watch.lines)
        running.error = None
    with replicating(world, "op", resume=True, handoff=False) as running:
        settled(world, running)


@pytest.mark.parametrize("world", ["source"], indirect=True)
def test_a_source_that_hangs_is_given_up_beside_a_target_that_cannot_be_asked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PostgresTarget, "at_work", lambda *_: None)
    assert isinstance(world.source.server, MySQL)
    watch = frozen_in_a_load(world, world.source.server, SourceInterrupted)
    assert any("the source does not answer" in line for _, line in watch.lines)
    clean_up(world.job("op"), remove_capture=True)


def test_a_target_that_hangs_before_anything_moves_ends_the_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has let us in, and hangs while the pair is opened; the source is at rest, and answers."""
    server, real = world.target.server, MySQLTarget.target_tables
    assert isinstance(server, MySQL)
    watch, stopped = Watch(), ExitStack()

    def target_tables(self: MySQLTarget, *given: Any) -> tuple[Table, ...]:
        assert self.session.open
        stopped.enter_context(frozen(server))
        return real(self, *given)

    monkeypatch.setattr(MySQLTarget, "target_tables", target_tables)
    with stopped, pytest.raises((TargetInterrupted, HostUnreachable)):
        copy_data(world.job("op"), watch, capture=False, resume=False)
    assert any(
        "given up" in line for _, line in watch.lines
    )  # on a slow machine the source may not answer in time either
    monkeypatch.undo()
    copy_data(world.job("op"), Watch(), capture=False, resume=False)
    assert world.differing() == []
