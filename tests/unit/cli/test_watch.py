"""What status and --watch draw."""

from __future__ import annotations

import io
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from whimbrel.cli.watch import duration, picture


def drawn(operation: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=140, highlight=False)
    console.print(picture(operation))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def operation(**parts: Any) -> dict[str, Any]:
    empty = {"operation_id": "op", "mode": "data-replication", "status": "running", "paused": False, "phase": "data"}
    return {**empty, "duration": "3s", "progress": None, "change": None, "error": None, **parts}


def table(name: str, status: str, loaded: int, total: int) -> dict[str, Any]:
    return {"table": name, "status": status, "rows_loaded": loaded, "rows_total": total}


def test_rows_rate_and_eta() -> None:
    progress = {
        "percent": 41.25, "eta_seconds": 75.0, "rows_loaded": 4125, "rows_total": 10000, "rows_per_second": 1234.5,
        "tables_done": 1, "tables_total": 2,
        "tables": [table("public.done", "done", 5, 9), table("public.[b]", "copying", 4120, 9991)],
    }  # fmt: skip
    text = drawn(operation(progress=progress))
    assert "41.2 %  4,125 of 10,000 rows  1,234 rows/s  1/2 tables  ETA 1m15s" in text
    assert text.index("public.[b]") < text.index("public.done")


def test_lag() -> None:
    change = {
        "lag_seconds": 2.34, "lag_bytes": 12345, "events_per_second": 10.0, "transactions": 7, "inserts": 1,
        "updates": 2, "deletes": 3, "position": "0/16B3748",
    }  # fmt: skip
    text = drawn(operation(change=change, paused=True))
    assert "paused" in text
    assert "lag 2.3 s, 12,345 bytes" in text
    assert "+1 ~2 -3  at 0/16B3748" in text


def test_an_error_is_shown() -> None:
    error = {"code": "LOADER_FAILED", "message": "public.a is [gone]", "details": {}}
    assert "LOADER_FAILED: public.a is [gone]" in drawn(operation(status="failed", error=error))


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (42, "42s"), (190, "3m10s"), (7500, "2h05m")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
