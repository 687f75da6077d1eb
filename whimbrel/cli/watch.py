"""Live progress of an operation: bars while rows are copied, rates and lag while changes flow."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from whimbrel.cli import show
from whimbrel.cli.contract import Contract
from whimbrel.cli.session import current
from whimbrel.cli.shapes import MigrationStatus, Operation
from whimbrel.errors import HostUnreachable, from_json

EVERY = 0.5  # seconds
TABLES = 15  # bars shown at once
COLOURS = {"running": "cyan", "completed": "green", "failed": "red", "cancelled": "yellow", "stopped": "yellow"}


def migration(name: str) -> int:
    """Follow what runs on the migration until it ends; an exit code."""
    with current().client() as api:
        found = api.status(name)
    if found["operation"] is not None:
        return operation(found["operation"]["operation_id"])
    if current().as_json:
        show.result(found)
    else:
        print_once(found)
    return show.OK


def operation(id: str) -> int:
    """Follow an operation until it ends (or Ctrl-C, which leaves it running); an exit code.

    With ``--json`` it is drawn nowhere, and printed once it has ended.
    """
    with current().client() as api:
        last = _follow(lambda: _fetch(api, id))
    if current().as_json:
        show.result(last)
    elif last["error"]:
        show.failure(from_json(dict(last["error"])))
    if last["status"] == "running":
        show.goes_on(id)
        return show.OK
    return show.OK if last["status"] == "completed" else show.FAILED


def print_once(found: MigrationStatus) -> None:
    """The answer of /status, once."""
    shown = found["operation"] or found["last_operation"]
    current().console.print(f"[bold]{show.escape(found['migration'])}[/] is {found['state']}")
    if shown:
        current().console.print(picture(shown))
    if found["held"] and shown:
        sentence = (
            f"{show.held(found['held'], shown['operation_id'])} (seen {duration(found['held']['age_seconds'])} ago)"
        )
        current().console.print(show.escape(sentence), style="yellow", soft_wrap=True)
    if found["let_go"]:
        current().console.print(show.escape(found["let_go"]["why"]), style="yellow", soft_wrap=True)


def _follow(fetch: Callable[[], Operation | None]) -> Operation:
    last: Operation | None = None
    console = Console(quiet=True) if current().as_json else current().console
    with Live(Text("…"), console=console, refresh_per_second=4, transient=False) as live:
        try:
            while last is None or last["status"] == "running":
                found = fetch()
                if found is None:
                    live.update(Group(picture(last) if last else Text(), Text("the API does not answer …", "yellow")))
                else:
                    last = found
                    live.update(picture(last))
                if last is None or last["status"] == "running":
                    time.sleep(EVERY)
        except KeyboardInterrupt:
            if last is None:
                raise
    return last


def _fetch(api: Contract, id: str) -> Operation | None:
    """The operation, or None while the API is away: it may be restarted under our eyes."""
    try:
        return api.get_operation(id)
    except HostUnreachable:
        return None


def picture(operation: Mapping[str, Any]) -> RenderableType:
    """One operation, drawn."""
    parts: list[RenderableType] = [_headline(operation)]
    if operation["progress"] and operation["progress"].get("rows_total") is not None:
        parts.append(_load(operation["progress"]))
    if operation["change"]:
        parts.append(_change(operation["change"]))
    if operation["error"]:
        parts.append(Text(f"{operation['error']['code']}: {operation['error']['message']}", "red"))
    return Group(*parts)


def _headline(operation: Mapping[str, Any]) -> Text:
    state = "paused" if operation["paused"] else operation["status"]
    return Text.assemble(
        (operation["mode"], "bold"),
        " ",
        (state, COLOURS.get(state, "yellow")),
        f"  {operation['phase'] or ''}  {operation['duration'] or ''}  ",
        (operation["operation_id"], "dim"),
    )


def _load(progress: Mapping[str, Any]) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    tables = sorted(progress.get("tables") or (), key=_interest)
    for t in tables[:TABLES]:
        total = t["rows_total"] or 0
        bar = ProgressBar(total=max(total, 1), completed=_done(t), width=30)
        grid.add_row(show.escape(t["table"]), bar, f"{t['rows_loaded'] or 0:,} / {total:,}", t["status"])
    if len(tables) > TABLES:
        grid.add_row(f"… and {len(tables) - TABLES} more", "", "", "")
    percent = progress["percent"] or 0.0
    eta = progress["eta_seconds"]
    summary = (
        f"{percent:.1f} %  {progress['rows_loaded'] or 0:,} of {progress['rows_total'] or 0:,} rows  "
        f"{progress['rows_per_second'] or 0:,.0f} rows/s  "
        f"{progress['tables_done'] or 0}/{progress['tables_total'] or 0} tables"
    )
    tail = f"  ETA {duration(eta)}" if eta else ""
    return Group(grid, Text(summary + tail))


def _done(table: Mapping[str, Any]) -> int:
    """Estimates may be off: a table that is done has a full bar."""
    return max(int(table["rows_total"] or 0), 1) if table["status"] == "done" else int(table["rows_loaded"] or 0)


def _interest(table: Mapping[str, Any]) -> tuple[int, int]:
    """What moves first, then the large ones."""
    order = {"copying": 0, "indexing": 1, "waiting": 2, "replicating": 3, "done": 4}
    return order.get(table["status"], 5), -int(table["rows_total"] or 0)


def _change(change: Mapping[str, Any]) -> Text:
    lag = float(change["lag_seconds"])
    return Text.assemble(
        ("lag ", "bold"),
        (f"{lag:.1f} s, {change['lag_bytes']:,} bytes", "green" if lag < 1 else "yellow"),
        f"  {change['events_per_second']:,.0f} changes/s  {change['transactions']:,} transactions  "
        f"+{change['inserts']:,} ~{change['updates']:,} -{change['deletes']:,}  at {change['position']}",
    )


def duration(seconds: float) -> str:
    """``42s``, ``3m10s``, ``2h05m``."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{whole % 60:02d}s" if minutes else f"{whole}s"
