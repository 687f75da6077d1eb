"""What cannot work: each refusal has its code, names the thing and a remedy, comes at once and leaves nothing behind.

Where the cause can be taken away cheaply, the same migration then runs to equality.
"""

from __future__ import annotations

import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import running_server
from tests.engines import TABLES, Side, side_of
from tests.faults.plant import Migration, Plant
from tests.faults.test_endings import assert_clean
from tests.servers.fleet import SERVERS, Fleet
from tests.servers.mysql import MySQL
from tests.servers.postgres import Postgres
from tests.servers.process import free_port, unprivileged_user
from tests.suite.world import World
from whimbrel.cli.client import path
from whimbrel.errors import WhimbrelError

ROWS = 300
AT_ONCE = 20.0  # seconds, of which a busy machine needs most
_numbers = itertools.count(1)


class Case(Migration):
    """A migration whose ends can be given other parameters, and that is expected to be refused."""

    def __init__(self, plant: Plant, world: World, *, rows_per_file: int = 200_000) -> None:
        super().__init__(plant, world, rows_per_file=rows_per_file)
        self.ports: dict[str, Any] = {}

    def point(self, kind: str, **parameters: Any) -> None:
        """Store the source or target anew with these parameters replaced."""
        side = self.world.source if kind == "sources" else self.world.target
        name = f"{self.name}-{kind}"
        endpoint = side.endpoint(name)
        given = {**endpoint.parameters, **parameters}
        self.ports[kind] = given["port"]
        self.api.put(path(kind, name), {"type": endpoint.type, "parameters": given})

    def refused(self, code: str, *words: str, what: str = "data-replication") -> dict[str, Any]:
        """Start it, wait until it has failed, and check how; nothing of it may stay on either server."""
        began = time.monotonic()
        id = self.start(what)
        while (operation := self.operation(id))["status"] == "running":
            assert time.monotonic() - began < AT_ONCE, f"still running: {operation['error']} {operation['logs']}"
            time.sleep(0.1)
        assert operation["status"] == "failed", operation
        self.check(operation["error"], code, *words)
        assert_clean(self)
        assert self.api.get(path("migrations", self.name, "status"))["state"] == "idle"
        return operation

    def check(self, error: dict[str, Any], code: str, *words: str) -> None:
        assert error["code"] == code, error
        for word in words:
            assert word in error["message"], error
        assert error["details"]["remedy"]

    def runs(self) -> None:
        """The same migration now works, to equality."""
        operation = self.start()
        self.wait_following(operation)
        self.world.source.change("update parent set name = 'changed since' where id = 7")
        self.wait_equal(operation)
        assert self.end(operation)["status"] == "cancelled"


@pytest.fixture(scope="module")
def servers() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="whimbrel-refusals-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def strict_postgres(servers: Path, fleet: Fleet) -> Iterator[Postgres]:
    """Asks for passwords, and writes no logical log."""
    running_server(fleet, "postgres18")
    server = Postgres(servers / "pg", "18", auth="scram-sha-256", password="pg-pw", wal_level="replica")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mute_mariadb(servers: Path, fleet: Fleet) -> Iterator[MySQL]:
    """Writes no binary log."""
    running_server(fleet, "mariadb")
    server = MySQL(servers / "my", "mariadb", log_bin="OFF").start()
    yield server
    server.stop()


def case(plant: Plant, source: Side, target: Side, *, empty: bool = False) -> Case:
    """Source filled, schema on the target, which is ``empty`` already or is made so."""
    for end in (source,) if empty else (source, target):
        end.drop_leftovers()
    world = World(source, target, plant.home, f"refused{next(_numbers)}")
    world.make(ROWS)
    made = Case(plant, world, rows_per_file=100)
    made.schema()
    return made


def side(fleet: Fleet, name: str, role: str) -> Side:
    return side_of(running_server(fleet, name), SERVERS[name], f"refusals_{role}")


@pytest.fixture(scope="module", params=[("postgres15", "mariadb"), ("mariadb", "postgres18")], ids="-".join)
def ready(request: pytest.FixtureRequest, fleet: Fleet, plant: Plant) -> Iterator[Case]:
    """One migration for all tests that move nothing; its schema stands on the target."""
    plant.heal()
    ends = [side(fleet, name, role) for name, role in zip(request.param, ("source", "target"), strict=True)]
    yield case(plant, *ends)
    for end in ends:
        end.drop_leftovers()


@pytest.fixture
def made_case(plant: Plant) -> Iterator[Callable[..., Case]]:
    """``case``, with what it made gone afterwards."""
    plant.heal()
    made: list[Case] = []

    def make(source: Side, target: Side, *, empty: bool = False) -> Case:
        made.append(case(plant, source, target, empty=empty))
        return made[-1]

    yield make
    for one in made:
        running = plant.api.get(path("migrations", one.name, "status"))["operation"]
        if running is not None:
            one.end(running["operation_id"], "stop")
        one.world.source.drop_leftovers()


@pytest.fixture
def usual(ready: Case) -> Iterator[Case]:
    """The same, with its ends put right again afterwards."""
    yield ready
    ready.point("sources")
    ready.point("targets")


@pytest.mark.parametrize("kind", ["sources", "targets"])
def test_wrong_password(usual: Case, strict_postgres: Postgres, kind: str) -> None:
    end = usual.world.source if kind == "sources" else usual.world.target
    place = strict_postgres.parameters() if end.is_postgres else {}  # the usual PostgreSQL asks for none
    usual.point(kind, **{**place, "password": "not-it-at-all"})
    operation = usual.refused("CONNECTION_REFUSED", f"127.0.0.1:{usual.ports[kind]}")
    assert operation["error"]["details"]["reason"] == "authentication_failed"
    assert "not-it-at-all" not in str(operation)
    with pytest.raises(WhimbrelError) as caught:
        usual.api.post(path("migrations", usual.name, "schema", "extract"), {})
    usual.check(caught.value.to_json(), "CONNECTION_REFUSED", "127.0.0.1")


@pytest.mark.parametrize(("kind", "what"), [("sources", "host"), ("targets", "port")])
def test_unknown_host_and_closed_port(usual: Case, kind: str, what: str) -> None:
    wrong: dict[str, Any] = {"host": "no-such-host.invalid"} if what == "host" else {"port": free_port()}
    usual.point(kind, **wrong)
    usual.refused("CONNECTION_REFUSED", str(wrong[what]))


def test_missing_table(usual: Case) -> None:
    usually: Any = usual.definition["tables"]
    wrong = {**usual.definition, "tables": [*usually, "suite.nowhere"]}
    usual.api.put(path("migrations", usual.name), wrong)
    usual.refused("SCHEMA_APPLY_FAILED", "suite.nowhere")
    usual.api.put(path("migrations", usual.name), usual.definition)


def test_temporal_not_running(fleet: Fleet, plant: Plant, made_case: Callable[..., Case]) -> None:
    made = made_case(side(fleet, "postgres15", "source"), side(fleet, "mariadb", "target"))
    plant.temporal.stop()
    try:
        began = time.monotonic()
        with pytest.raises(WhimbrelError) as caught:
            made.start()
        assert time.monotonic() - began < AT_ONCE
        made.check(caught.value.to_json(), "ORCHESTRATOR_FAILED", f"127.0.0.1:{plant.ports.temporal}")
        status = made.api.get(path("migrations", made.name, "status"))
        assert status["state"] == "idle"
        assert status["last_operation"]["error"]["code"] == "ORCHESTRATOR_FAILED"
        assert made.world.target.rows()["item"] == []
    finally:
        plant.heal()
    made.runs()


# --- grants and logs --------------------------------------------------------------------------------------------------


def test_missing_grant_on_the_source(usual: Case) -> None:
    source = usual.world.source
    allowed = [t for t in TABLES if t != "item"]
    if isinstance(source.server, Postgres):
        source.run(
            "drop role if exists reader; create role reader login replication password 'reader-pw';"
            f"grant usage on schema suite to reader; grant create on database {source.database} to reader;"
            + "".join(f"grant select on suite.{t} to reader;" for t in allowed)
        )
        account = {"user": "reader", "password": "reader-pw"}
    else:
        grants = ["REPLICATION SLAVE, REPLICATION CLIENT, RELOAD ON *.*", *(f"SELECT ON suite.{t}" for t in allowed)]
        assert isinstance(source.server, MySQL)
        account = source.server.create_user("reader", "reader-pw", *grants)
    usual.point("sources", **account)
    usual.refused("EXTRACTOR_FAILED", "item")
    if source.is_postgres:
        source.run(f"drop owned by reader; revoke create on database {source.database} from reader; drop role reader")


def test_missing_grant_on_the_target(usual: Case) -> None:
    target = usual.world.target
    allowed = [t for t in TABLES if t != "item"]
    if isinstance(target.server, Postgres):
        target.run(
            "drop role if exists writer; create role writer login password 'writer-pw';"
            f"grant create on database {target.database} to writer; grant usage, create on schema suite to writer;"
            + "".join(f"alter table suite.{t} owner to writer;" for t in allowed)
            + "alter schema whimbrel owner to writer; grant all on all tables in schema whimbrel to writer;"
        )
        account = {"user": "writer", "password": "writer-pw"}
    else:
        grants = ["ALL ON whimbrel.*", "CREATE, CREATE TEMPORARY TABLES ON *.*"]
        grants += [f"ALL ON suite.{t}" for t in allowed]
        assert isinstance(target.server, MySQL)
        account = target.server.create_user("writer", "writer-pw", *grants)
    usual.point("targets", **account)
    usual.refused("LOADER_FAILED", "item")
    assert all(not rows for rows in target.rows().values())
    if target.is_postgres:
        target.run("reassign owned by writer to postgres; drop owned by writer; drop role writer")


def test_no_logical_log_on_postgres(fleet: Fleet, made_case: Callable[..., Case], strict_postgres: Postgres) -> None:
    source = side_of(strict_postgres, "postgres", "refusals_source")
    made = made_case(source, side(fleet, "mariadb", "target"))
    for what in ("data-replication", "replication"):
        made.refused("REPLICATION_FAILED", "wal_level", "replica", what=what)
    assert all(not rows for rows in made.world.target.rows().values())
    strict_postgres.restart_with(wal_level="logical")
    made.runs()


def test_no_binary_log_on_mariadb(fleet: Fleet, made_case: Callable[..., Case], mute_mariadb: MySQL) -> None:
    made = made_case(side_of(mute_mariadb, "mariadb", ""), side(fleet, "postgres18", "target"))
    for what in ("data-replication", "replication"):
        made.refused("REPLICATION_FAILED", "log_bin", what=what)
    assert all(not rows for rows in made.world.target.rows().values())
    mute_mariadb.restart_with(log_bin="ON")
    made.runs()


# --- full disks -------------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, megabytes: int, owner: str | None = None) -> Iterator[Path]:
    """A file system of that size at ``folder``. Skips the test where we may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "whimbrel-tests", str(folder)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"NOT TESTED HERE: a full disk: mounting a small one needs root: {mounted.stderr.strip()}")
    try:
        if owner:
            shutil.chown(folder, owner)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def enlarge(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=512m", str(folder)], check=True)


def fill_up(folder: Path) -> Path:
    """A file that leaves no room beside it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as f, suppress(OSError):
        while f.write(bytes(1 << 16)):
            pass
    return ballast


def waits_for_room(made: Case, operation: str, code: str, reason: str, word: str) -> None:
    """The operation says what it waits for, and goes on waiting."""
    seen = made.wait(operation, lambda o: o["error"] is not None, 60, "the full disk to be told")
    made.check(seen["error"], code, word)
    assert seen["error"]["details"]["reason"] == reason, seen["error"]
    assert seen["status"] == "running"


def test_full_staging_disk(fleet: Fleet, made_case: Callable[..., Case]) -> None:
    made = made_case(side(fleet, "postgres15", "source"), side(fleet, "postgres18", "target"))
    staging = made.plant.home / "migrations" / made.name / "staging"
    with small_disk(staging, 1):
        ballast = fill_up(staging)
        operation = made.start()
        waits_for_room(made, operation, "EXTRACTOR_FAILED", "staging_full", str(staging))
        ballast.unlink()
        made.wait_following(operation)
        assert made.operation(operation)["error"] is None
        made.wait_equal(operation)
        made.end(operation, release=True)
        assert_clean(made)


def test_full_target_disk_on_postgres(fleet: Fleet, made_case: Callable[..., Case], servers: Path) -> None:
    target = side(fleet, "postgres18", "target")
    assert isinstance(target.server, Postgres)
    with small_disk(servers / "room", 64, owner=unprivileged_user("postgres")) as room:
        made = made_case(side(fleet, "mariadb", "source"), target)
        target.server.psql(f"create tablespace room location '{room}'")
        try:
            target.server.psql(f"alter database {target.database} set tablespace room")
            full_target_disk(made, room)
        finally:
            target.drop_leftovers()
            target.server.psql("drop tablespace room")


def test_full_target_disk_on_mariadb(fleet: Fleet, made_case: Callable[..., Case], mute_mariadb: MySQL) -> None:
    target = side_of(mute_mariadb, "mariadb", "")
    target.drop_leftovers()
    with small_disk(mute_mariadb.data / "suite", 64, owner=unprivileged_user("mysql")) as room:
        made = made_case(side(fleet, "postgres15", "source"), target, empty=True)
        try:
            full_target_disk(made, room)
        finally:
            target.run("drop table suite.item, suite.parent, suite.twokeys, suite.nokey")


def full_target_disk(made: Case, room: Path) -> None:
    """No room in the load, then none while changes flow: both times it is told, and goes on once there is some."""
    ballast = fill_up(room)
    operation = made.start()
    waits_for_room(made, operation, "LOADER_FAILED", "target_full", "target")
    ballast.unlink()
    made.wait_following(operation)
    made.wait_equal(operation)
    ballast = fill_up(room)
    made.world.source.change("update item set body = repeat('z', 20000)")
    waits_for_room(made, operation, "LOADER_FAILED", "target_full", "target")
    ballast.unlink()
    made.wait_equal(operation)
    made.wait(operation, lambda o: o["error"] is None, 10, "the error to go")
    made.end(operation, release=True)
    assert_clean(made)
