"""The whole product on this machine, with parts that can be killed: Temporal, the API and a worker as processes."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from api.auth import create_key
from tests.engines import SCHEMA
from tests.servers.mysql import MySQL
from tests.servers.process import free_port, wait_until
from tests.suite.running import position_order
from tests.suite.world import World
from whimbrel.catalog.home import private_dir
from whimbrel.cli.children import Child
from whimbrel.cli.client import ApiClient, path
from whimbrel.cli.session import trust
from whimbrel.cli.stack import START_SECONDS, Ports, stack


class Plant:
    """Use as a context manager. ``api`` speaks to it as any user would."""

    api: ApiClient

    def __init__(self, home: Path) -> None:
        os.environ["WHIMBREL_HOME"] = str(home)
        private_dir(home)
        self.home = home
        self.ports = Ports(free_port(), free_port(), free_port())
        self.temporal, self.server, self.worker = stack(self.ports)

    def __enter__(self) -> Plant:
        for child in (self.temporal, self.server, self.worker):
            child.start()
            child.wait_until_healthy(START_SECONDS)
        self.api = ApiClient(f"https://127.0.0.1:{self.ports.api}", create_key("tests"), trust())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in (self.worker, self.server, self.temporal):
            child.stop()

    def kill(self, child: Child) -> None:
        """SIGKILL, as the out-of-memory killer would."""
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.stop()

    def heal(self) -> None:
        """Start again what a test left dead."""
        for child in (self.temporal, self.server, self.worker):
            if child.ended is not None:
                child.start()
                child.wait_until_healthy(START_SECONDS)


class Migration:
    """One migration of a world, driven over REST."""

    def __init__(self, plant: Plant, world: World, *, rows_per_file: int = 200_000) -> None:
        self.plant, self.world, self.api, self.name = plant, world, plant.api, world.name
        self._brake: subprocess.Popen[bytes] | None = None
        for kind, side in (("sources", world.source), ("targets", world.target)):
            endpoint = side.endpoint(f"{world.name}-{kind}")
            body = {"type": endpoint.type, "parameters": dict(endpoint.parameters)}
            self.api.put(path(kind, endpoint.name), body)
        self.definition = {
            "source": f"{world.name}-sources",
            "fileTarget": f"{world.name}-targets",
            "tables": [f"{SCHEMA}.{t}" for t in world.followed],
            "threads": 2,
            "rows_per_file": rows_per_file,
        }
        self.api.put(path("migrations", self.name), self.definition)

    def schema(self) -> None:
        self.api.post(path("migrations", self.name, "schema", "extract"), {})
        self.api.post(path("migrations", self.name, "schema", "apply"), {})

    def start_slowly(self) -> str:
        """Start where the target takes its time with each file, so that there is a middle of the load to hit."""
        target = self.world.target
        if isinstance(target.server, MySQL):
            self._brake = brake(target.server)
        else:
            target.change(
                "create function slow() returns trigger language plpgsql as "
                "$$ begin if current_query() ilike 'copy%' then perform pg_sleep(0.3); end if; return null; end $$;"
                "create trigger slow before insert on item for each statement execute function slow();"
                "alter table item enable always trigger slow"
            )
        return self.start()

    def release(self) -> None:
        """Let go of the target's table."""
        if self._brake is not None:
            self._brake.terminate()
            self._brake.wait(10)
            self._brake = None

    def start(self, what: str = "data-replication", body: dict[str, Any] | None = None) -> str:
        return str(self.api.start(path("migrations", self.name, what), body or {}, None)["operation_id"])

    def operation(self, id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.api.get(path("operations", id))
        return answer

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.api.get(path("migrations", self.name, "status"))
        return answer

    def metrics(self) -> str:
        return self.api._http.get("/metrics").text

    def wait(
        self, id: str, condition: Callable[[dict[str, Any]], bool], seconds: float, what: str, every: float = 0.1
    ) -> dict[str, Any]:
        """Poll the operation until ``condition``; its own error, should it fail meanwhile, ends the wait."""
        seen: dict[str, Any] = {}

        def met() -> bool:
            nonlocal seen
            seen = self.operation(id)
            assert seen["status"] != "failed", seen["error"]
            return condition(seen)

        wait_until(met, seconds, what, every)
        return seen

    def wait_loading(self, id: str) -> None:
        """Until some, and not all, rows of the large table are on the target."""
        seen = self.wait(id, lambda o: _loaded(o) > 0 or o["phase"] == "change", 60, "the load to begin")
        assert seen["phase"] != "change", "the load was over before it could be disturbed"

    def wait_following(self, id: str) -> None:
        """Until changes flow and the target has caught up."""
        self.wait(id, lambda o: o["phase"] == "change" and _caught_up(o), 120, "the change phase")
        self.release()

    def wait_equal(self, id: str, seconds: float = 60) -> None:
        """Until the two ends are equal, as their own clients see it."""
        try:
            self.wait(id, lambda o: _caught_up(o) and not self.world.differing(), seconds, "both ends to be equal", 0.3)
        except TimeoutError as e:
            raise AssertionError(f"source and target differ: {self.world.differences()}") from e

    @contextmanager
    def watched(self, id: str) -> Iterator[None]:
        """Meanwhile no figure of the operation goes back or is untrue, as anybody sees it who polls the status."""
        seen: list[dict[str, Any]] = []
        enough = threading.Event()

        def poll() -> None:
            while not enough.wait(0.05):
                shown = self.api.get(path("migrations", self.name, "status"))["operation"]
                if shown is not None and shown["operation_id"] == id:
                    seen.append(shown)

        watcher = threading.Thread(target=poll, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            enough.set()
            watcher.join(30)
        assert len(seen) > 5
        for before, after in pairwise(seen):
            _require_progress(before, after)

    def end(self, id: str, how: str = "cancel", *, release: bool = False) -> dict[str, Any]:
        answer: dict[str, Any] = self.api.post(path("operations", id, how), {"release": True} if release else None)
        return answer


def brake(server: MySQL) -> subprocess.Popen[bytes]:
    """Somebody who locks the large table again and again, as triggers are refused on MySQL targets."""
    server.create_user("brake", "brake", f"ALL ON {SCHEMA}.*")
    once = f"lock tables {SCHEMA}.item write; do sleep(0.3); unlock tables; do sleep(0.01);"
    return server.client_beside(once * 100, "brake", "brake")


def _require_progress(before: dict[str, Any], after: dict[str, Any]) -> None:
    for name in ("percent", "bytes_extracted"):
        old, new = ((o["progress"] or {}).get(name) or 0 for o in (before, after))
        assert new >= old, f"{name} went from {old} to {new}"
    if before["change"] is None:
        return
    old, new = before["change"], after["change"]
    for name in ("transactions", "inserts", "updates", "deletes", "truncates"):
        assert new[name] >= old[name], f"{name} went from {old[name]} to {new[name]}"
    assert (new["last_commit_at"] or "") >= (old["last_commit_at"] or "")
    assert position_order(new["position"]) >= position_order(old["position"])
    assert new["source_position"] != ""
    assert new["lag_seconds"] > 0 or new["lag_bytes"] == 0


def _loaded(operation: dict[str, Any]) -> int:
    return int((operation["progress"] or {}).get("rows_loaded") or 0)


def _caught_up(operation: dict[str, Any]) -> bool:
    change = operation["change"]
    return bool(change) and change["lag_seconds"] == 0 and change["lag_bytes"] == 0
