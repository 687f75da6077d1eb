from __future__ import annotations

import time

import pytest

from whimbrel.catalog.records import MigrationRecord, Mode, OperationRecord, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import InvalidRequest, MigrationNotFound, OperationConflict, OperationNotFound


def begin(catalog: Catalog, id: str, mode: Mode = Mode.DATA, migration: str = "shop") -> OperationRecord:
    return catalog.begin_operation(migration, mode, id, f"hash of {mode}", {"resume": False})[0]


def test_a_repeated_request_finds_its_operation(shop: Catalog) -> None:
    first, created = shop.begin_operation("shop", Mode.DATA, "id-1", "h", {"resume": True})
    assert created
    assert (first.status, first.body, first.workflow_started) == (Status.RUNNING, {"resume": True}, False)
    assert shop.begin_operation("shop", Mode.DATA, "id-1", "h", {"resume": True}) == (first, False)
    shop.mark_started("id-1", "run-1")
    shop.finish_operation("id-1", Status.COMPLETED, {"rows": 1})
    again, created = shop.begin_operation("shop", Mode.DATA, "id-1", "h", {"resume": True})
    assert not created
    assert (again.status, again.result, again.run_id) == (Status.COMPLETED, {"rows": 1}, "run-1")


def test_an_id_serves_one_request_only(shop: Catalog) -> None:
    shop.put_migration(MigrationRecord("other", "old", ("a.b",), file_target="new"))
    begin(shop, "id-1")
    for migration, mode, digest in (
        ("shop", Mode.CHANGE, "hash of data"),
        ("other", Mode.DATA, "hash of data"),
        ("shop", Mode.DATA, "another body"),
        ("gone", Mode.DATA, "hash of data"),
    ):
        with pytest.raises(InvalidRequest, match="X-Request-Id"):
            shop.begin_operation(migration, mode, "id-1", digest, {})


def test_one_operation_runs_at_a_time(shop: Catalog) -> None:
    begin(shop, "id-1")
    with pytest.raises(OperationConflict) as refused:
        begin(shop, "id-2", Mode.RESET)
    assert refused.value.extra["operation_id"] == "id-1"
    with pytest.raises(OperationNotFound):
        shop.get_operation("id-2")
    shop.finish_operation("id-1", Status.FAILED, error={"code": "DATA_FAILED"})
    assert begin(shop, "id-2", Mode.RESET).id == "id-2"
    running, last = shop.running_operation("shop"), shop.last_operation("shop")
    assert (running and running.id, last and last.id) == ("id-2", "id-1")


def test_nothing_starts_on_an_unknown_migration(catalog: Catalog) -> None:
    with pytest.raises(MigrationNotFound):
        begin(catalog, "id-1")


def test_a_migration_stays_as_it_is_while_something_runs(shop: Catalog) -> None:
    begin(shop, "id-1")
    for change in (
        lambda: shop.put_migration(MigrationRecord("shop", "old", ("x.y",), file_target="new")),
        lambda: shop.retire_migration("shop"),
        lambda: shop.delete_migration("shop"),
    ):
        with pytest.raises(OperationConflict) as refused:
            change()
        assert refused.value.extra["operation_id"] == "id-1"
    assert shop.get_migration("shop").tables == ("public.*",)


def test_nothing_starts_on_a_migration_that_is_being_deleted(shop: Catalog) -> None:
    shop.retire_migration("shop")
    with pytest.raises(OperationConflict, match="being deleted"):
        begin(shop, "id-1")
    shop.retire_migration("shop", False)
    begin(shop, "id-1")
    shop.finish_operation("id-1", Status.COMPLETED)
    shop.delete_migration("shop")
    with pytest.raises(OperationNotFound):
        shop.get_operation("id-1")


def test_the_first_end_stays(shop: Catalog) -> None:
    begin(shop, "id-1")
    shop.request_pause("id-1", True)
    shop.set_paused("id-1", True)
    assert shop.finish_operation("id-1", Status.CANCELLED).paused is False
    late = shop.finish_operation("id-1", Status.COMPLETED, {"rows": 1})
    assert (late.status, late.result) == (Status.CANCELLED, None)
    assert late.finished_at is not None
    assert late.finished_at >= late.started_at
    with pytest.raises(OperationNotFound):
        shop.finish_operation("none", Status.COMPLETED)


def test_an_ended_operation_is_not_touched(shop: Catalog) -> None:
    begin(shop, "id-1")
    shop.set_phase("id-1", "data")
    shop.finish_operation("id-1", Status.STOPPED)
    shop.set_phase("id-1", "change")
    shop.request_pause("id-1", True)
    shop.set_paused("id-1", True)
    assert shop.mark_started("id-1", "run") is False
    ended = shop.get_operation("id-1")
    assert (ended.phase, ended.pause_wanted, ended.paused) == ("data", False, False)
    assert shop.pause_wanted("id-1") is False


def test_what_failed_at_once_is_not_taken_up_again(shop: Catalog) -> None:
    """Its workflow may record the end before the API has noted that it started."""
    begin(shop, "id-1")
    shop.finish_operation("id-1", Status.FAILED, error={"code": "DATA_FAILED"})
    shop.mark_started("id-1", "run-1")
    again, created = shop.begin_operation("shop", Mode.DATA, "id-1", "hash of data", {"resume": False})
    assert (again.status, again.run_id, created) == (Status.FAILED, "run-1", False)


def test_pause_is_asked_for_and_seen(shop: Catalog) -> None:
    begin(shop, "id-1")
    shop.request_pause("id-1", True)
    assert shop.pause_wanted("id-1") is True
    assert shop.get_operation("id-1").paused is False
    shop.set_paused("id-1", True)
    assert shop.get_operation("id-1").paused is True
    shop.request_pause("id-1", False)
    assert shop.pause_wanted("id-1") is False


def test_what_was_never_started_is_found_and_taken_up_again(shop: Catalog) -> None:
    begin(shop, "id-1")
    assert shop.unstarted(60) == []
    assert [o.id for o in shop.unstarted(0)] == ["id-1"]
    assert shop.fail_unstarted("id-1", {"code": "ORCHESTRATOR_FAILED"})
    assert shop.unstarted(0) == []
    assert shop.get_operation("id-1").error == {"code": "ORCHESTRATOR_FAILED"}
    again, created = shop.begin_operation("shop", Mode.DATA, "id-1", "hash of data", {"resume": False})
    assert created
    assert (again.status, again.error, again.finished_at) == (Status.RUNNING, None, None)
    shop.mark_started("id-1", "run-1")
    assert shop.fail_unstarted("id-1", {}) is False
    assert shop.unstarted(0) == []
    assert [o.id for o in shop.running_operations()] == ["id-1"]


def test_lists_are_filtered_and_paged_newest_first(shop: Catalog) -> None:
    shop.put_migration(MigrationRecord("other", "old", ("a.b",), file_target="new"))
    for i in range(5):
        begin(shop, f"id-{i}", Mode.DATA if i % 2 else Mode.RESET)
        shop.finish_operation(f"id-{i}", Status.COMPLETED)
        time.sleep(0.001)  # the clock's own step
    begin(shop, "id-o", migration="other")
    page, total = shop.list_operations("shop", limit=2, offset=1)
    assert ([o.id for o in page], total) == (["id-3", "id-2"], 5)
    found, total = shop.list_operations(mode=Mode.RESET, status=Status.COMPLETED)
    assert ([o.id for o in found], total) == (["id-4", "id-2", "id-0"], 3)
    assert [o.id for o in shop.list_operations(status=Status.RUNNING)[0]] == ["id-o"]
    assert shop.list_operations("nope") == ([], 0)
    assert shop.list_operations(offset=100) == ([], 6)
