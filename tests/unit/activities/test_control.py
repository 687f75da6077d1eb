"""The control of one attempt: pause in, progress out, and no two attempts of an operation side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio import activity
from temporalio.testing import ActivityEnvironment

from activities import running
from activities.control import OperationControl
from activities.patience import Trouble
from tests.catalogs import new_catalog
from tests.servers.process import wait_until
from whimbrel.catalog.records import EndpointRecord, MigrationRecord, Mode, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import CatalogUnreachable, Interrupted, SourceInterrupted
from whimbrel.model.progress import TableChangeTotals, TableProgress


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = new_catalog(tmp_path)
    endpoint = {"host": "h", "user": "u", "password": "p", "database": "d"}
    opened.put_source(EndpointRecord("s", "postgres", endpoint))
    opened.put_target(EndpointRecord("t", "postgres", endpoint))
    opened.put_migration(MigrationRecord("m", "s", ("public.a",), file_target="t"))
    opened.begin_operation("m", Mode.CHANGE, "op", "hash", {})
    yield opened
    opened.close()


@pytest.fixture
def environment() -> ActivityEnvironment:
    return ActivityEnvironment()


def test_pause_is_seen_and_rest_is_shown(catalog: Catalog, environment: ActivityEnvironment) -> None:
    def step() -> None:
        with OperationControl("op", catalog) as control:
            assert not control.pause_wanted()
            catalog.request_pause("op", True)
            wait_until(control.pause_wanted, 2, "the pause to be seen")
            control.at_rest(True)
            wait_until(lambda: catalog.get_operation("op").paused, 2, "rest to be shown")

    environment.run(step)


def test_changes_are_followed_while_an_operation_that_follows_them_runs_and_does_not_rest(
    catalog: Catalog, environment: ActivityEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step() -> None:
        with OperationControl("look", catalog) as control:
            assert control.followed()
            catalog.set_paused("op", True)
            assert not control.followed()
            catalog.set_paused("op", False)
            with monkeypatch.context() as broken:
                broken.setattr(catalog, "running_operation", away)
                assert control.followed(), "nobody knows"
            catalog.finish_operation("op", Status.COMPLETED)
            assert not control.followed()

    def away(_: str) -> None:
        raise CatalogUnreachable("database is locked")

    catalog.begin_operation("m", Mode.VALIDATE, "look", "other", {})
    environment.run(step)


def test_a_rest_that_a_killed_attempt_left_behind_is_forgotten(
    catalog: Catalog, environment: ActivityEnvironment
) -> None:
    catalog.set_paused("op", True)

    def step() -> None:
        with OperationControl("op", catalog):
            pass

    environment.run(step)
    assert not catalog.get_operation("op").paused


def test_cancel_interrupts_in_every_thread(catalog: Catalog, environment: ActivityEnvironment) -> None:
    seen: list[str] = []

    @activity.defn(no_thread_cancel_exception=True)
    def step() -> None:
        with OperationControl("op", catalog) as control:
            control.check()
            environment.cancel()

            def other() -> None:
                with pytest.raises(Interrupted):
                    control.check()
                seen.append("other")

            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            with pytest.raises(Interrupted):
                control.check()
            seen.append("own")

    environment.run(step)
    assert seen == ["other", "own"]


def test_it_heartbeats_on_its_own(catalog: Catalog, environment: ActivityEnvironment) -> None:
    beats: list[object] = []
    environment.on_heartbeat = lambda *details: beats.append(details)

    def step() -> None:
        with OperationControl("op", catalog, Trouble(2, 7.0)) as control:
            wait_until(lambda: len(beats) >= 2, 5, "two heartbeats")
            assert beats[0] == ({"failures": 2, "since": 7.0},)
            control.table(TableProgress("public.a", "copying", 10, 0, 0))
            assert control.trouble.failures == 2
            control.table(TableProgress("public.a", "copying", 10, 5, 5))
            assert control.trouble == Trouble()

    environment.run(step)


def test_a_catalog_that_is_away_stops_nothing(
    catalog: Catalog, environment: ActivityEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bool:
        raise CatalogUnreachable("database is locked")

    def step() -> None:
        with OperationControl("op", catalog) as control:
            with monkeypatch.context() as broken:
                tried = threading.Event()
                broken.setattr(catalog, "set_phase", lambda *_: tried.set() or refuse())
                broken.setattr(catalog, "pause_wanted", refuse)
                control.phase("data")
                assert tried.wait(2)
                control.check()
            wait_until(lambda: catalog.get_operation("op").phase == "data", 3, "the phase to be shown later")

    environment.run(step)


def test_a_new_attempt_hears_what_the_ones_before_told(catalog: Catalog, environment: ActivityEnvironment) -> None:
    totals = TableChangeTotals("public.a", inserts=3, deletes=1, truncates=2)

    def step() -> None:
        with OperationControl("op", catalog) as control:
            assert control.earlier().totals == {}
            control.change_totals(totals)
        with OperationControl("op", catalog) as control:
            assert control.earlier().totals == {"public.a": totals}

    environment.run(step)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("a bug")])
def test_nothing_that_cannot_be_shown_keeps_a_pause_from_being_seen(
    catalog: Catalog, environment: ActivityEnvironment, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        tried.set()
        raise error

    tried = threading.Event()
    monkeypatch.setattr(catalog, "append_log", refuse)

    def step() -> None:
        with OperationControl("op", catalog) as control:
            control.log("loader", "a line")
            assert tried.wait(2)
            catalog.request_pause("op", True)
            wait_until(control.pause_wanted, 2, "the pause to be seen")

    environment.run(step)


def test_a_log_file_that_cannot_be_written_stands_in_the_tail_once(
    catalog: Catalog, environment: ActivityEnvironment
) -> None:
    (catalog.workdir("m") / "logs").mkdir(parents=True)
    (catalog.workdir("m") / "logs" / "op.loader.log").mkdir()  # so that opening it fails

    def step() -> None:
        with OperationControl("op", catalog) as control:
            control.log("loader", "a line")

    environment.run(step)
    assert catalog.get_operation("op").logs == {"loader": "a line\n"}


def test_a_newer_attempt_sends_the_older_one_home(catalog: Catalog) -> None:
    older, newer = OperationControl("op", catalog), OperationControl("op", catalog)
    order: list[str] = []
    entered = threading.Event()

    def first() -> None:
        with running.alone("op", older):
            entered.set()
            wait_until(lambda: older.superseded, 5, "the older one to be sent home")
            order.append("older left")

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(2)
    with running.alone("op", newer):
        order.append("newer in")
    thread.join()
    assert order == ["older left", "newer in"]
    assert not newer.superseded


def test_an_older_attempt_that_does_not_leave_is_told(catalog: Catalog) -> None:
    with (
        running.alone("op", OperationControl("op", catalog)),
        pytest.raises(SourceInterrupted, match="not come to rest"),
    ):
        running.wait_until_left("op", 0.05)
