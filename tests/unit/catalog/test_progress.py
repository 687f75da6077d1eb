from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from whimbrel.catalog import operations
from whimbrel.catalog.logs import TAIL_CHARACTERS
from whimbrel.catalog.records import Mode, Status
from whimbrel.catalog.store import Catalog
from whimbrel.errors import OperationNotFound
from whimbrel.model.progress import ChangeProgress, Earlier, TableChangeTotals, TablePhase, TableProgress

CHANGE = ChangeProgress("0/10", "0/20", 1.5, 16, 3, 4, 5, 6, 1, 0, 12.5, 1_763_888_400_000_000)


class Clock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.us = time.time_ns() // 1000

    def __call__(self, _: object) -> int:
        return self.us

    def move(self, seconds: float) -> None:
        self.us += int(seconds * 1e6)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(operations, "now_us", made)
    return made


@pytest.fixture
def running(shop: Catalog) -> Catalog:
    shop.begin_operation("shop", Mode.DATA_REPLICATION, "id", "h", {})
    return shop


def copying(table: str, total: int, loaded: int, status: TablePhase = TablePhase.COPYING) -> TableProgress:
    return TableProgress(table, status, total, loaded, loaded, loaded * 10, 1, 2)


def figures(catalog: Catalog) -> dict[str, Any]:
    found = catalog.progress("id")
    assert found is not None
    return found


def test_no_figures_no_progress(running: Catalog) -> None:
    assert running.progress("id") is None
    assert running.get_operation("id").change is None


def test_figures_are_absolute(running: Catalog) -> None:
    running.save_table_progress("id", [copying("s.b", 100, 10), copying("s.a", 50, 0)])
    for _ in range(3):
        running.save_table_progress("id", [copying("s.b", 100, 40)])
    running.save_table_progress("id", [copying("s.a", 50, 5), copying("s.a", 50, 20)])
    found = figures(running)
    sums = ("tables_total", "tables_done", "rows_total", "rows_extracted", "rows_loaded", "bytes_extracted")
    assert [found[k] for k in sums] == [2, 0, 150, 60, 60, 600]
    assert [(t["table"], t["rows_loaded"]) for t in found["tables"]] == [("s.a", 20), ("s.b", 40)]


def test_percent_counts_done_tables_whole_and_estimates_never_too_much(running: Catalog) -> None:
    running.save_table_progress("id", [copying("a", 98, 500), copying("b", 100, 0)])
    assert figures(running)["percent"] == pytest.approx(98 / 200 * 100)
    running.save_table_progress("id", [copying("a", 98, 90, TablePhase.DONE)])
    assert figures(running)["percent"] == pytest.approx(99 / 200 * 100)
    running.save_table_progress("id", [copying("b", 100, 100)])
    assert figures(running)["percent"] < 100
    running.save_table_progress("id", [copying("b", 100, 100, TablePhase.DONE)])
    assert (figures(running)["percent"], figures(running)["eta_seconds"]) == (100.0, 0.0)


def test_percent_never_goes_back(running: Catalog) -> None:
    running.save_table_progress("id", [copying("a", 100, 80)])
    high = figures(running)["percent"]
    running.save_table_progress("id", [copying("a", 100, 0)])
    assert figures(running)["percent"] == high
    running.save_table_progress("id", [copying("a", 1000, 0)])
    assert figures(running)["percent"] == high
    assert figures(running)["rows_loaded"] == 0


def test_empty_tables_alone_come_to_an_end_too(running: Catalog) -> None:
    running.save_table_progress("id", [copying("a", 0, 0), copying("b", 0, 0)])
    assert figures(running)["percent"] == 0
    running.save_table_progress("id", [copying("a", 0, 0, TablePhase.DONE)])
    assert figures(running)["percent"] == 50


def test_rate_and_remaining_time(running: Catalog, clock: Clock) -> None:
    running.save_table_progress("id", [copying("a", 10_000, 0)])
    assert (figures(running)["rows_per_second"], figures(running)["eta_seconds"]) == (0, None)
    clock.move(4)
    running.save_table_progress("id", [copying("a", 10_000, 2_000)])
    assert (figures(running)["rows_per_second"], figures(running)["eta_seconds"]) == (500, 16)
    running.save_table_progress("id", [copying("a", 10_000, 10_000)])  # all rows there, indexes are not
    assert figures(running)["eta_seconds"] is None
    running.save_table_progress("id", [copying("a", 10_000, 2_000)])
    clock.move(0.5)  # too short to measure
    running.save_table_progress("id", [copying("a", 10_000, 2_000)])
    assert figures(running)["rows_per_second"] == 500
    clock.move(60)  # nobody has said anything for a minute
    assert (figures(running)["rows_per_second"], figures(running)["eta_seconds"]) == (0, None)


def test_changes_stand_beside_what_was_loaded(running: Catalog) -> None:
    running.save_table_progress("id", [copying("a", 10, 10, TablePhase.DONE)])
    running.save_change("id", None, [TableChangeTotals("a", 1, 2, 3, 0, 1), TableChangeTotals("b", 9)])
    running.save_change("id", None, [TableChangeTotals("a", 2, 2, 3, 0, 1)])
    a, b = figures(running)["tables"]
    assert (a["status"], a["rows_loaded"], a["inserts"], a["updates"], a["deletes"], a["errors"]) == (
        *("done", 10),
        *(2, 2, 3, 1),
    )
    assert (b["table"], b["status"], b["rows_total"], b["inserts"]) == ("b", "replicating", None, 9)


def test_replication_alone_has_no_percentage(running: Catalog) -> None:
    running.save_change("id", None, [TableChangeTotals("a", 1)])
    found = figures(running)
    assert (found["percent"], found["rows_total"], found["tables_total"]) == (None, None, 1)


def test_change_is_shown_as_measured_and_ages_when_nobody_measures(running: Catalog, clock: Clock) -> None:
    running.save_change("id", CHANGE)
    shown = running.get_operation("id").change
    assert shown is not None
    assert shown["last_commit_at"] == "2025-11-23T09:00:00Z"
    assert (shown["lag_seconds"], shown["events_per_second"], shown["source_position"]) == (1.5, 12.5, "0/20")
    clock.move(30)
    aged = running.get_operation("id").change
    assert aged is not None
    assert (aged["lag_seconds"], aged["events_per_second"]) == (31.5, 0)
    running.finish_operation("id", Status.CANCELLED)
    ended = running.get_operation("id").change
    assert ended is not None
    assert ended["lag_seconds"] == 1.5


def test_what_has_ended_has_no_rate(running: Catalog, clock: Clock) -> None:
    running.save_table_progress("id", [copying("a", 10_000, 0)])
    clock.move(4)
    running.save_table_progress("id", [copying("a", 10_000, 2_000)])
    running.save_change("id", CHANGE)
    running.finish_operation("id", Status.CANCELLED)
    ended = running.get_operation("id")
    assert ended.progress is not None
    assert ended.change is not None
    assert (ended.progress["percent"], ended.progress["rows_loaded"]) == (20.0, 2_000)
    assert (ended.progress["rows_per_second"], ended.progress["eta_seconds"]) == (0, None)
    assert (ended.change["events_per_second"], ended.change["lag_seconds"]) == (0, 1.5)


def test_an_attempt_goes_on_from_what_was_saved_last(running: Catalog, clock: Clock) -> None:
    assert running.earlier("id") == Earlier()
    loaded = [copying("a", 10, 5), copying("b", 20, 20, TablePhase.DONE)]
    applied = [TableChangeTotals("a", 1, 2, 3, 4, 5)]
    running.save_table_progress("id", loaded)
    running.save_change("id", CHANGE, applied)
    clock.move(7)
    expected = Earlier({p.table: p for p in loaded}, {t.table: t for t in applied}, CHANGE, 7.0)
    assert running.earlier("id") == expected


def test_the_log_that_sources_keep_counts_while_operations_run(running: Catalog) -> None:
    assert running.totals().retained == {}
    running.save_retained("id", 5 << 40)
    assert running.totals().retained == {"shop": 5 << 40}
    running.finish_operation("id", Status.FAILED)
    running.save_retained("id", 7)
    assert running.totals().retained == {}


def test_clocks_of_machines_do_not_meet(running: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose clock is an hour behind the API's shares the catalog's, where that is a server."""
    if running._database._sqlite:
        pytest.skip("one machine, one clock")
    real = time.time_ns
    with monkeypatch.context() as behind:
        behind.setattr(time, "time_ns", lambda: real() - 3600 * 10**9)
        running.save_change("id", CHANGE)
    shown = running.get_operation("id").change
    assert shown is not None
    assert (shown["lag_seconds"], shown["events_per_second"]) == (1.5, 12.5)


def test_a_list_has_sums_but_neither_tables_nor_logs(running: Catalog) -> None:
    running.save_table_progress("id", [copying("a", 10, 5)])
    running.append_log("id", "loader", "a line")
    listed = running.list_operations()[0][0]
    assert listed.progress is not None
    assert (listed.progress["rows_loaded"], listed.progress["tables"], listed.logs) == (5, None, {})
    full = running.get_operation("id")
    assert full.progress is not None
    assert len(full.progress["tables"]) == 1


def test_logs_have_a_bounded_tail_here_and_a_whole_file_there(running: Catalog) -> None:
    line = "x" * 99 + "\n"
    for _ in range(10):
        running.append_log("id", "loader", line * 100)
    running.append_log("id", "loader", "the end\x00")
    running.append_log("id", "extractor", "only line")
    logs = running.get_operation("id").logs
    assert logs["extractor"] == "only line\n"
    assert len(logs["loader"]) <= TAIL_CHARACTERS
    assert len(logs["loader"]) > TAIL_CHARACTERS - 200
    assert logs["loader"].endswith("x\nthe end\ufffd\n")
    assert logs["loader"].splitlines()[0] == line.strip()
    file = running.workdir("shop") / "logs" / "id.loader.log"
    assert file.stat().st_size == 10 * 100 * 100 + len("the end\x00\n")
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "write",
    [
        lambda c: c.save_table_progress("none", [copying("a", 1, 0)]),
        lambda c: c.save_change("none", None, [TableChangeTotals("a")]),
        lambda c: c.save_change("none", CHANGE),
        lambda c: c.append_log("none", "loader", "x"),
    ],
)
def test_figures_of_an_operation_that_is_gone(catalog: Catalog, write: Callable[[Catalog], None]) -> None:
    with pytest.raises(OperationNotFound):
        write(catalog)


def test_ten_thousand_tables_cost_what_changed(running: Catalog) -> None:
    """A write of ten tables must not read or write the other 9,990: compared with the same on a small operation."""

    def seconds() -> float:
        began = time.perf_counter()
        for i in range(20):
            running.save_table_progress("id", [copying(f"s.t{j}", 100, i) for j in range(10)])
            running.progress("id", with_tables=False)
        return time.perf_counter() - began

    small = min(seconds() for _ in range(3))
    running.save_table_progress("id", [copying(f"s.t{i}", 100, 0) for i in range(10_000)])
    assert min(seconds() for _ in range(3)) < 20 * small  # of 1,000 times the tables
    assert figures(running)["rows_loaded"] == 190
