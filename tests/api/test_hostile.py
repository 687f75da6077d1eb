"""Clients that mean no good, over raw sockets: the API keeps answering the others, starts nothing, and forgets them."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from api.auth import create_key
from tests.api.conftest import POSTGRES
from tests.api.hostile import Hostile, Sent, answered
from tests.api.processes import Api
from tests.servers.process import wait_until
from whimbrel.catalog.home import api_keys_file

AT_ONCE = 8
HEALTH_SECONDS = 3.0  # much more than it takes, as tests share their processors
MORE_BYTES = 40_000_000


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    made = Api(tmp_path_factory.mktemp("hostile") / "home", "--host", "127.0.0.1")
    made.start()
    yield made
    made.stop()


def sockets(api: Api) -> int:
    """How many it has open; those of threads and catalog come and go by themselves."""
    found = 0
    for name in os.listdir(f"/proc/{api.pid}/fd"):
        with suppress(FileNotFoundError):
            found += os.readlink(f"/proc/{api.pid}/fd/{name}").startswith("socket:")
    return found


def resident(api: Api) -> int:
    return int(Path(f"/proc/{api.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def attack(api: Api, key: str, seed: int, cases: int) -> None:
    """Raises AssertionError with the seed and what was sent."""
    hostile = Hostile(seed, key)
    heard: Counter[str] = Counter()

    def send(sent: Sent) -> None:
        answer = answered(api.port, sent)
        statuses = re.findall(rb"^HTTP/1\.1 (\d)\d\d ", answer, re.MULTILINE)
        assert b"5" not in statuses, f"seed {seed}: {sent} was answered {answer[:500]!r}"
        assert not answer or not statuses or b'"success":' in answer or b"100 Continue" in answer, (seed, sent, answer)
        heard.update(f"{sent.kind} {status.decode()}xx" for status in statuses[:1])

    with api.client(key) as http, ThreadPoolExecutor(AT_ONCE) as threads:
        http.put("/v1/sources/old", json={"type": "postgres", "parameters": POSTGRES}).raise_for_status()
        http.put("/v1/targets/new", json={"type": "postgres", "parameters": POSTGRES}).raise_for_status()
        made = {"source": "old", "fileTarget": "new", "tables": ["public.*"]}
        http.put("/v1/migrations/shop", json=made).raise_for_status()
        http.get("/v1/health").raise_for_status()  # opens what is kept for Temporal
        before = sockets(api), resident(api)
        for start in range(0, cases, 44):
            going = threads.map(send, [hostile.draw(n) for n in range(start, min(start + 44, cases))])
            began = time.monotonic()
            with api.client() as anybody:
                assert anybody.get("/v1/health").status_code == 200
            assert time.monotonic() - began < HEALTH_SECONDS, f"seed {seed}, at case {start}"
            list(going)
        assert http.get("/v1/operations").json()["result"]["total"] == 0, f"seed {seed}"
        assert {"request line 4xx", "lengths 4xx", "chunks 4xx", "mutated 4xx", "pipelined 2xx"} <= set(heard), heard
        wait_until(lambda: sockets(api) <= before[0], 20, f"seed {seed}: connections to be closed")
        assert resident(api) - before[1] < MORE_BYTES, f"seed {seed}: memory"
        log = api.log.read_text(errors="replace")
        assert "Traceback" not in log, f"seed {seed}: {log[-3000:]}"
        assert " ERROR " not in log, f"seed {seed}: {log[-3000:]}"


def test_hostile_clients(api: Api) -> None:
    attack(api, create_key("hostile", api_keys_file(api.home)), seed=7, cases=440)


def test_what_is_whole_does_start(api: Api) -> None:
    """The counting of operations above can see one."""
    with api.client(create_key("whole", api_keys_file(api.home))) as http:
        assert http.post("/v1/migrations/shop/data", json={}).json()["error"]["code"] == "ORCHESTRATOR_FAILED"
        assert http.get("/v1/operations").json()["result"]["total"] == 1
        http.delete("/v1/migrations/shop", params={"force": "true"})


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_more_hostile_clients(api: Api, seed: int) -> None:
    attack(api, create_key(f"hostile {seed}", api_keys_file(api.home)), seed, cases=2200)
