"""The worker as a process: it waits for Temporal, survives its restarts, and leaves when told to."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.process import Process, wait_until
from tests.servers.temporal import Temporal
from whimbrel.cli.stack import worker_polls
from worker.settings import Settings


@pytest.fixture
def temporal(tmp_path: Path) -> Iterator[Temporal]:
    server = Temporal.make(tmp_path / "temporal")
    yield server
    server.stop()


@pytest.fixture
def worker(tmp_path: Path, temporal: Temporal) -> Iterator[Process]:
    env = {**os.environ, "WHIMBREL_HOME": str(tmp_path / "home"), "WHIMBREL_TEMPORAL_ADDRESS": temporal.address}
    process = Process([sys.executable, "-m", "worker"], tmp_path / "worker.log", env=env)
    yield process
    process.kill()


def polls(temporal: Temporal) -> bool:
    return worker_polls(Settings(address=temporal.address))


def test_it_waits_for_temporal_and_outlives_it(temporal: Temporal, worker: Process) -> None:
    worker.start()
    wait_until(lambda: f"Temporal does not answer at {temporal.address}" in worker.tail(), 20, "the worker to say so")
    temporal.start()
    wait_until(lambda: polls(temporal), 20, "the worker to poll")
    temporal.kill()
    temporal.start()
    wait_until(lambda: polls(temporal), 20, "the worker to poll again")
    os.kill(worker.pid, signal.SIGTERM)
    wait_until(lambda: not worker.running, 20, "the worker to leave")
    assert '"message": "stopped"' in worker.tail()


def test_told_to_leave_while_waiting_it_leaves(worker: Process) -> None:
    worker.start()
    wait_until(lambda: "does not answer" in worker.tail(), 20, "the worker to wait")
    os.kill(worker.pid, signal.SIGTERM)
    wait_until(lambda: not worker.running, 10, "the worker to leave")
