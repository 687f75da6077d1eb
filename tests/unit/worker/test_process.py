"""The worker as a process: it waits for Temporal, survives its restarts, and leaves when told to."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.servers.process import Process, free_port, wait_until
from tests.servers.temporal import Temporal
from whimbrel.cli.stack import worker_polls
from whimbrel.errors import InvalidRequest
from worker.main import places
from worker.metrics import runtime_of
from worker.settings import Settings

METRICS = free_port()


@pytest.fixture
def temporal(tmp_path: Path) -> Iterator[Temporal]:
    server = Temporal.make(tmp_path / "temporal")
    yield server
    server.stop()


@pytest.fixture
def worker(tmp_path: Path, temporal: Temporal) -> Iterator[Process]:
    env = {
        **os.environ,
        "WHIMBREL_HOME": str(tmp_path / "home"),
        "WHIMBREL_TEMPORAL_ADDRESS": temporal.address,
        "WHIMBREL_WORKER_LANES": "3",
        "WHIMBREL_WORKER_METRICS": str(METRICS),
    }
    process = Process([sys.executable, "-m", "worker"], tmp_path / "worker.log", env=env)
    yield process
    process.kill()


def scraped(name: str, labels: dict[str, str]) -> float | None:
    """A figure of the worker as Prometheus reads it; None while there is none."""
    for family in text_string_to_metric_families(httpx.get(f"http://127.0.0.1:{METRICS}/metrics").text):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return None


def polls(temporal: Temporal) -> bool:
    return worker_polls(Settings(address=temporal.address))


def test_it_waits_for_temporal_and_outlives_it(temporal: Temporal, worker: Process) -> None:
    worker.start()
    wait_until(lambda: f"Temporal does not answer at {temporal.address}" in worker.tail(), 20, "the worker to say so")
    temporal.start()
    wait_until(lambda: polls(temporal), 20, "the worker to poll")
    for queue, count in places(Settings()).items():
        labels = {"task_queue": queue, "worker_type": "ActivityWorker"}
        wait_until(lambda: scraped("temporal_worker_task_slots_available", labels) == count, 20, f"places of {queue}")  # noqa: B023
    assert scraped("whimbrel_lanes_budget", {}) == 3
    assert scraped("whimbrel_lanes_working", {}) == 0
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


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings.from_environment({"WHIMBREL_WORKER_METRICS": str(taken.getsockname()[1])})
        with pytest.raises(InvalidRequest, match="WHIMBREL_WORKER_METRICS: metrics cannot be served on 127"):
            runtime_of(settings)
