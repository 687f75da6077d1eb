"""Starting is atomic over threads, over catalogs and over processes."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from whimbrel.catalog.records import MigrationRecord, Mode, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import InvalidRequest, OperationConflict

REQUESTS = 200


def outcomes(start: Callable[[int], str]) -> Counter[str]:
    """Run all requests at once, 32 at a time, and count what came of them."""
    with ThreadPoolExecutor(32) as pool:
        return Counter(pool.map(start, range(REQUESTS)))


def test_identical_requests_make_one_operation(shop: Catalog, open_catalog: Callable[[], Catalog]) -> None:
    catalogs = (shop, open_catalog())

    def start(i: int) -> str:
        record, created = catalogs[i % 2].begin_operation("shop", Mode.DATA, "same", "h", {})
        assert record.id == "same"
        return "created" if created else "found"

    assert outcomes(start) == {"created": 1, "found": REQUESTS - 1}
    assert shop.list_operations()[1] == 1


def test_of_rivals_one_starts(shop: Catalog, open_catalog: Callable[[], Catalog]) -> None:
    catalogs = (shop, open_catalog())

    def start(i: int) -> str:
        try:
            catalogs[i % 2].begin_operation("shop", Mode.DATA, f"id-{i}", "h", {})
        except OperationConflict as e:
            return str(e.extra["operation_id"])
        return "started"

    counted = outcomes(start)
    running = shop.running_operation("shop")
    assert running is not None
    assert counted == {"started": 1, running.id: REQUESTS - 1}
    assert shop.list_operations()[1] == 1


def test_one_id_on_two_migrations_serves_one_of_them(shop: Catalog, open_catalog: Callable[[], Catalog]) -> None:
    shop.put_migration(MigrationRecord("other", "old", ("a.b",), file_target="new"))
    catalogs = (shop, open_catalog())

    def start(i: int) -> str:
        migration = ("shop", "other")[i // 2 % 2]
        try:
            _, created = catalogs[i % 2].begin_operation(migration, Mode.DATA, "same", migration, {})
        except InvalidRequest:
            return "refused"
        return "created" if created else "found"

    assert outcomes(start) == {"created": 1, "found": REQUESTS // 2 - 1, "refused": REQUESTS // 2}


def test_of_two_ends_one_is_kept(shop: Catalog, open_catalog: Callable[[], Catalog]) -> None:
    catalogs = (shop, open_catalog())
    shop.begin_operation("shop", Mode.DATA, "id", "h", {})
    ends = (Status.COMPLETED, Status.CANCELLED, Status.STOPPED, Status.FAILED)
    counted = outcomes(lambda i: catalogs[i % 2].finish_operation("id", ends[i % 4]).status)
    assert counted == {shop.get_operation("id").status: REQUESTS}


def test_deleting_and_starting_exclude_each_other(shop: Catalog, open_catalog: Callable[[], Catalog]) -> None:
    catalogs = (shop, open_catalog())

    def act(i: int) -> str:
        try:
            if i % 20:
                catalogs[i % 2].begin_operation("shop", Mode.DATA, f"id-{i}", "h", {})
                return "started"
            catalogs[i % 2].retire_migration("shop")
        except OperationConflict:
            return "refused"
        return "retired"

    counted = outcomes(act)
    assert (counted["started"] == 1) != (counted["retired"] > 0)


def test_processes_open_a_new_home_at_once(tmp_path: Path) -> None:
    """All make the tables and the secret key at the same time, and all can read each other's secrets."""
    program = (
        "import sys; from pathlib import Path; from whimbrel.catalog.store import Catalog;"
        "from whimbrel.catalog.records import EndpointRecord;"
        "c = Catalog.open(Path(sys.argv[1])); c.put_source(EndpointRecord(sys.argv[2], 'mysql', {'password': 'pw'}))"
    )
    argv = [sys.executable, "-c", program, str(tmp_path / "home")]
    children = [subprocess.Popen([*argv, f"s{i}"]) for i in range(6)]
    assert [c.wait(60) for c in children] == [0] * 6
    catalog = Catalog.open(tmp_path / "home")
    assert [s.parameters for s in catalog.list_sources()] == [{"password": "pw"}] * 6
    catalog.close()
