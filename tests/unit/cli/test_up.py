"""``whimbrel up`` as people run it: one command, and every other command finds what it needs."""

from __future__ import annotations

import itertools
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.postgres import Postgres
from tests.servers.process import Process, free_port, wait_until

WHIMBREL = [sys.executable, "-m", "whimbrel.cli.main"]


class Up:
    """A running stack and its command line."""

    def __init__(self, folder: Path) -> None:
        self.ports = [str(free_port()) for _ in range(3)]
        self.env = {
            **os.environ,
            "WHIMBREL_HOME": str(folder / "home"),
            "WHIMBREL_URL": f"https://127.0.0.1:{self.ports[0]}",
            "WHIMBREL_TEMPORAL_ADDRESS": f"127.0.0.1:{self.ports[1]}",
            "PASSWORD": "open-sesame-42",
            "COLUMNS": "200",
        }
        options = ("--port", self.ports[0], "--temporal-port", self.ports[1], "--ui-port", self.ports[2])
        self.process = Process([*WHIMBREL, "up", *options], folder / "up.log", env=self.env, grace=60)

    def run(self, *arguments: str, code: int = 0, **env: str) -> str:
        done = subprocess.run(
            [*WHIMBREL, *arguments], env={**self.env, **env}, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def children(self) -> dict[str, int]:
        line = next(line for line in self.process.tail().splitlines() if "processes" in line)
        words = line.replace(",", "").split()[1:]
        return {name: int(pid) for name, pid in zip(words[::2], words[1::2], strict=True)}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    stack = Up(tmp_path_factory.mktemp("up"))
    stack.process.start()
    wait_until(
        lambda: "Ctrl-C stops it" in stack.process.tail() or not stack.process.running, 60, "whimbrel up to be up"
    )
    assert stack.process.running, stack.process.tail(40)
    yield stack
    stack.process.stop()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_endpoints_and_migrations(up: Up) -> None:
    place = ("--type", "postgres", "-p", "host=127.0.0.1", "-p", "port=1", "-p", "user=u", "-p", "database=d")
    up.run("source", "put", "s", *place, "--password-env", "PASSWORD")
    up.run("target", "put", "t", *place, "--password-env", "PASSWORD")
    shown = up.run("source", "list")
    assert "***" in shown
    assert "sesame" not in shown
    up.run("migration", "put", "m", "--source", "s", "--target", "t", "-t", "public.a")
    assert json.loads(up.run("--json", "migration", "list"))["migrations"][0]["name"] == "m"
    assert "idle" in up.run("status", "m")
    assert json.loads(up.run("--json", "status", "m", "--watch"))["state"] == "idle"
    assert "CONNECTION_REFUSED" in up.run("source", "test", *place, "--password-env", "PASSWORD", code=1)
    queue = ("--type", "kafka", "-p", "brokers=127.0.0.1:1", "-p", "topic=t")
    assert "CONNECTION_REFUSED" in up.run("target", "test", *queue, code=1)
    up.run("target", "put", "q", *queue)
    up.run("migration", "put", "m-queue", "--source", "s", "--queue", "q", "-t", "public.a")
    assert json.loads(up.run("--json", "replicate-queue", "m-queue"))["mode"] == "change-queue"
    assert "SOURCE_NOT_FOUND" in up.run("source", "get", "nothing", code=2)
    assert "remedy" in up.run("pause", "m", code=2)
    watched = json.loads(up.run("--json", "data", "m", "--watch", code=1))  # nobody listens on that port
    assert (watched["status"], watched["error"]["code"]) == ("failed", "CONNECTION_REFUSED")
    assert "deleted" in up.run("migration", "delete", "m", "--force")


def test_operations_and_their_end(up: Up, postgres18: Postgres) -> None:
    for side, kind, database in (("s2", "source", "up_from"), ("t2", "target", "up_to")):
        postgres18.create_database(database)
        given = [("-p", f"{k}={v}") for k, v in postgres18.parameters(database).items() if k != "password"]
        place = ("--type", "postgres", *itertools.chain.from_iterable(given))
        up.run(kind, "put", side, *place, "--password-env", "PASSWORD")
    postgres18.psql("create table a (id int primary key); insert into a select generate_series(1, 100)", "up_from")
    up.run("migration", "put", "m2", "--source", "s2", "--target", "t2", "-t", "public.a")
    up.run("schema", "extract", "m2")
    assert "1" in up.run("schema", "apply", "m2")
    started = json.loads(up.run("--json", "data-replication", "m2"))
    assert "OPERATION_CONFLICT" in up.run("data", "m2", code=3)
    assert "running" in up.run("operations", "list", "--migration", "m2")
    shown = ("--json", "operations", "get", started["operation_id"])
    # The first load of a worker starts the fork server first, which takes seconds on a busy machine.
    wait_until(lambda: "loader" in json.loads(up.run(*shown))["logs"], 60, "the load to tell of its table", every=0.5)
    assert "stopped" in up.run("operations", "stop", started["operation_id"])
    found = json.loads(up.run(*shown))
    assert found["status"] == "stopped"
    assert "public.a" in found["logs"]["loader"]


def test_keys(up: Up, tmp_path: Path) -> None:
    file = tmp_path / "key"
    up.run("keys", "create", "ci", "--file", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    up.run("source", "list", WHIMBREL_API_KEY=file.read_text())
    assert "ci" in up.run("keys", "list")
    up.run("keys", "revoke", "ci")
    refused = up.run("source", "list", code=5, WHIMBREL_API_KEY=file.read_text())
    assert "AUTH_FAILED" in refused
    assert "Set WHIMBREL_API_KEY" in refused
    assert "WHIMBREL_CA" in up.run("source", "list", code=4, WHIMBREL_HOME=str(tmp_path), WHIMBREL_API_KEY="k")


def test_doctor_finds_all_well(up: Up) -> None:
    found = {c["check"]: c for c in json.loads(up.run("--json", "doctor"))["checks"]}
    assert found["temporal"]["status"] == found["worker"]["status"] == found["catalog"]["status"] == "ok"


def test_doctor_names_what_is_wrong(tmp_path: Path, up: Up) -> None:
    address = f"127.0.0.1:{free_port()}"
    report = up.run("doctor", code=1, WHIMBREL_HOME=str(tmp_path), WHIMBREL_TEMPORAL_ADDRESS=address)
    assert f"no answer at {address}" in report
    assert "whimbrel keys create" in report


def test_ports_in_use_are_named(up: Up) -> None:
    report = up.run("up", "--port", up.ports[0], "--temporal-port", up.ports[1], "--ui-port", up.ports[2], code=2)
    assert f"--port {up.ports[0]}" in report


def test_a_child_that_dies_is_started_again_and_all_leave_together(up: Up) -> None:
    before = up.children()
    os.kill(before["worker"], signal.SIGKILL)
    wait_until(lambda: "worker ended with exit code -9; starting it again" in up.process.tail(), 20, "the worker's end")
    others = [pid for name, pid in before.items() if name != "worker"]
    os.kill(up.process.pid, signal.SIGINT)
    wait_until(lambda: not up.process.running, 60, "whimbrel up to end")
    assert not any(alive(pid) for pid in others)
    order = [line for line in up.process.tail().splitlines() if line.startswith("stopping")]
    assert order == ["stopping worker …", "stopping API …", "stopping Temporal …"]


def test_children_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    stack = Up(tmp_path)
    stack.process.start()
    wait_until(lambda: "Ctrl-C stops it" in stack.process.tail(), 60, "whimbrel up to be up")
    children = stack.children().values()
    stack.process.kill()
    wait_until(lambda: not any(alive(pid) for pid in children), 10, "the children to die")
