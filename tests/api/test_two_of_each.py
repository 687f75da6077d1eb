"""Two API processes and two workers on one catalog, SQLite or PostgreSQL, with a real Temporal between them."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client as TemporalClient

from api.auth import create_key
from tests.api.conftest import MARKER
from tests.api.processes import Api, BlackHole, Worker
from tests.servers.postgres import Postgres
from tests.servers.process import wait_until
from tests.servers.temporal import Temporal
from whimbrel.catalog.home import api_keys_file
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Status
from whimbrel.catalog.store import Catalog

REQUESTS, AT_ONCE = 80, 24
SHOP = "/v1/migrations/shop"


@dataclass
class Cluster:
    """``migrations`` are a, b, c and d, each of one table with 500 rows; 'shop' is like them."""

    home: Path
    url: str | None
    key: str
    catalog: Catalog
    temporal: Temporal
    apis: list[Api]
    server: Postgres

    def clients(self) -> list[httpx.Client]:
        return [api.client(self.key) for api in self.apis]

    def workflows(self, id: str) -> int:
        """How many workflows of that id Temporal has."""

        async def count() -> int:
            client = await TemporalClient.connect(self.temporal.address)
            return (await client.count_workflows(f"WorkflowId = '{id}'")).count

        return asyncio.run(count())


@pytest.fixture(scope="module")
def temporal() -> Iterator[Temporal]:
    folder = Path(tempfile.mkdtemp(prefix="whimbrel-temporal-"))
    made = Temporal.make(folder)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


# One catalog in `make test`: that on PostgreSQL, which is the one for several machines.
@pytest.fixture(scope="module", params=[pytest.param("sqlite", marks=pytest.mark.long), "postgres"])
def cluster(request: pytest.FixtureRequest, temporal: Temporal, postgres18: Postgres) -> Iterator[Cluster]:
    home = Path(tempfile.mkdtemp(prefix="whimbrel-two-")) / "home"
    database = f"two_{request.param}"
    for name in ("catalog", "source", "target"):
        postgres18.create_database(f"{database}_{name}")
    url = f"postgresql://postgres:unused@127.0.0.1:{postgres18.port}/{database}_catalog"
    chosen = url if request.param == "postgres" else None
    catalog = Catalog.open(home, chosen)
    for role, put in (("source", catalog.put_source), ("target", catalog.put_target)):
        parameters = {**postgres18.parameters(f"{database}_{role}"), "password": MARKER}  # the server trusts us
        put(EndpointRecord("db", "postgres", parameters))
        put(EndpointRecord("gone", "postgres", {**parameters, "database": "not_there"}))
    for name in ("shop", "a", "b", "c", "d"):
        table = f"create table {name} (id int primary key, v text)"
        rows = f"insert into {name} select n, md5(n::text) from generate_series(1, 500) n"
        postgres18.psql(f"{table}; {rows}", f"{database}_source")
        catalog.put_migration(MigrationRecord(name, "db", (f"public.{name}",), file_target="db"))
    catalog.put_migration(MigrationRecord("broken", "gone", ("public.a",), file_target="gone"))
    apis = [Api(home, temporal=temporal.address, url=chosen) for _ in range(2)]
    try:
        for api in apis:
            api.start()
        yield Cluster(home, chosen, create_key("two", api_keys_file(home)), catalog, temporal, apis, postgres18)
    finally:
        for api in apis:
            api.stop()
        catalog.close()
        shutil.rmtree(home.parent, ignore_errors=True)
        for name in ("catalog", "source", "target"):
            postgres18.psql(f"drop database {database}_{name} with (force)")


@pytest.fixture(scope="module")
def workers(cluster: Cluster) -> Iterator[list[Worker]]:
    """Two that poll, from the first test that asks for them to the last of this catalog."""
    made = [Worker(cluster.home, n, cluster.temporal.address, cluster.url) for n in range(2)]
    for worker in made:
        worker.start()
    try:
        for worker in made:
            wait_until(worker.polls, 30, "the worker to poll")
        yield made
    finally:
        for worker in made:
            worker.stop()


@pytest.fixture
def idle(cluster: Cluster) -> Iterator[Cluster]:
    """Nothing runs on 'shop', before and after."""
    yield cluster
    running = cluster.catalog.running_operation("shop")
    if running is not None:  # no worker polls here, so nobody would hear of a cancel
        cluster.catalog.finish_operation(running.id, Status.STOPPED)
        asyncio.run(terminate(cluster, running.id))


async def terminate(cluster: Cluster, id: str) -> None:
    client = await TemporalClient.connect(cluster.temporal.address)
    await client.get_workflow_handle(id).terminate()


def at_once(cluster: Cluster, header: dict[int, str]) -> list[tuple[int, dict[str, Any]]]:
    """The answers to REQUESTS starts, sent to both processes in turn; ``header``: the request ids by number."""
    clients = cluster.clients()

    def start(i: int) -> tuple[int, dict[str, Any]]:
        answer = clients[i % 2].post(f"{SHOP}/data", headers={"X-Request-Id": header[i]})
        return answer.status_code, answer.json()

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(start, range(REQUESTS)))
    finally:
        for client in clients:
            client.close()


def test_identical_requests_start_one_workflow(idle: Cluster) -> None:
    id = str(uuid.uuid4())
    answers = at_once(idle, dict.fromkeys(range(REQUESTS), id))
    assert Counter((status, body["result"]["operation_id"]) for status, body in answers) == {(200, id): REQUESTS}
    assert len({body["result"]["started_at"] for _, body in answers}) == 1
    assert [r.id for r in idle.catalog.running_operations()] == [id]
    wait_until(lambda: idle.workflows(id) == 1, 20, "the workflow to be visible")


def test_of_rivals_one_starts(idle: Cluster) -> None:
    ids = {i: str(uuid.uuid4()) for i in range(REQUESTS)}
    answers = at_once(idle, ids)
    started = [body["result"]["operation_id"] for status, body in answers if status == 200]
    assert len(started) == 1
    conflicts = Counter(
        (status, body["error"]["code"], body["error"]["details"]["operation_id"])
        for status, body in answers
        if status != 200
    )
    assert conflicts == {(409, "OPERATION_CONFLICT", started[0]): REQUESTS - 1}
    assert [r.id for r in idle.catalog.running_operations()] == started


def test_an_api_killed_between_recording_and_starting(idle: Cluster) -> None:
    """It recorded the operation and hangs in the start; SIGKILL. Whoever comes next starts it, once.

    On SQLite a retry comes next; on PostgreSQL the other process finds it by itself, which takes it some ten seconds.
    """
    hole, id = BlackHole(), str(uuid.uuid4())
    dying = Api(idle.home, temporal=hole.address, url=idle.url)
    dying.start()
    try:
        with ThreadPoolExecutor(1) as pool, dying.client(idle.key) as http:
            sent = pool.submit(http.post, f"{SHOP}/data", headers={"X-Request-Id": id})
            wait_until(lambda: bool(idle.catalog.running_operations()), 10, "the operation to be recorded", every=0.01)
            dying.kill()
            with pytest.raises(httpx.HTTPError):
                sent.result(10)
    finally:
        dying.kill()
        hole.close()
    left = idle.catalog.get_operation(id)
    assert (left.status, left.workflow_started) == ("running", False)
    with idle.apis[0].client(idle.key) as http:
        assert http.post(f"{SHOP}/data").status_code == 409
        if idle.url is None:
            again = http.post(f"{SHOP}/data", headers={"X-Request-Id": id})
            assert (again.status_code, again.json()["result"]["operation_id"]) == (200, id)
    wait_until(lambda: idle.catalog.get_operation(id).workflow_started, 40, "the operation to be started")
    assert [r.id for r in idle.catalog.running_operations()] == [id]
    wait_until(lambda: idle.workflows(id) == 1, 20, "the workflow to be visible")


def test_four_migrations_over_two_workers(cluster: Cluster, workers: list[Worker]) -> None:
    """Each whole way through: schema, rows, validation; every request to the other process than the one before."""
    clients = cluster.clients()

    def move(number: int) -> tuple[str, bool]:
        path, sent = f"/v1/migrations/{'abcd'[number]}", iter(range(number, 1000))

        def send(method: str, rest: str) -> Any:
            answer = clients[next(sent) % 2].request(method, path + rest).json()
            assert answer["error"] is None, answer["error"]
            return answer["result"]

        send("POST", "/schema/extract")
        send("POST", "/schema/apply")
        id = send("POST", "/data")["operation_id"]
        wait_until(lambda: send("GET", "/status")["operation"] is None, 60, f"operation {id}", every=0.2)
        last = send("GET", "/status")["last_operation"]
        return last["status"], send("POST", "/validate")["valid"]

    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(move, range(4))) == [("completed", True)] * 4
    finally:
        for client in clients:
            client.close()
    counted = "select " + " + ".join(f"(select count(*) from {name})" for name in "abcd")
    database = "two_postgres" if cluster.url else "two_sqlite"
    assert cluster.server.psql(counted, f"{database}_target") == "2000"


def test_no_secret_is_left_anywhere(cluster: Cluster, workers: list[Worker]) -> None:
    """After all of the above and a failed operation: the password is in no answer, file, log, history or ps."""
    with cluster.apis[0].client(cluster.key) as http:
        parameters = {**cluster.server.parameters("not_there"), "password": MARKER}
        said = [
            http.post("/v1/migrations/broken/schema/extract"),
            http.post("/v1/sources/test", json={"type": "postgres", "parameters": parameters}),
            http.post("/v1/validate", json={"source": "gone", "target": "gone", "mode": "data+replication"}),
        ]
        assert [answer.json()["success"] for answer in said[:2]] == [False, False]
        listed = http.get("/v1/operations", params={"page_size": 200}).json()["result"]["operations"]
        paths = ["/v1/sources", "/v1/targets", *(f"/v1/operations/{o['operation_id']}" for o in listed)]
        texts = [answer.text for answer in (*said, *(http.get(path) for path in paths))]
        assert len(texts) > 10
    command_lines = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert "-m worker" in command_lines
    for worker in workers:
        worker.kill()
    assert not [text for text in texts if MARKER in text]
    assert MARKER not in command_lines
    histories = asyncio.run(histories_of(cluster))
    assert [history for history in histories if "not_there" in history]
    assert not [history for history in histories if MARKER in history]
    folders = (cluster.home.parent, cluster.temporal.folder)
    files = [f for folder in folders for f in folder.rglob("*") if f.is_file()]
    assert {"secret.key", "worker-0.log", "worker-1.log", "temporal.db"} <= {f.name for f in files}
    assert not [f for f in files if MARKER.encode() in f.read_bytes()]
    if cluster.url:
        dump = cluster.server.client("pg_dump", "-d", cluster.server.dsn("two_postgres_catalog"))
        assert "not_there" in dump
        assert MARKER not in dump


async def histories_of(cluster: Cluster) -> list[str]:
    """Every workflow's history, as Temporal tells it, payloads decoded."""
    client = await TemporalClient.connect(cluster.temporal.address)
    found = []
    async for workflow in client.list_workflows():
        history = await client.get_workflow_handle(workflow.id, run_id=workflow.run_id).fetch_history()
        payloads = b"".join(e.SerializeToString() for e in history.events)  # JSON stands in them as it is
        found.append(payloads.decode(errors="replace"))
    return found
