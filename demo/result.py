"""What is printed last: what moved, how fast, and whether it is equal."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from demo.stack import Stack
from demo.story import MIGRATION, Moved

NUMBERS = ("rows", "loaded", "inserts", "updates", "deletes")


def last_words(moved: Moved, title: str, seconds: float, stack: Stack) -> Group:
    """The table, then the sums and where to look further."""
    loaded, applied = moved.progress["rows_loaded"] or 0, moved.change
    killed = ", a killed worker included" if moved.killed else ""
    lines = (
        f"{loaded:,} rows loaded in {moved.load_seconds:.1f} s{killed}",
        f"{applied['transactions']:,} transactions followed; lag 0 came {moved.catch_up_seconds:.1f} s after the last",
        f"{seconds:.0f} s in all, servers and proof included",
        f"API docs     {stack.url}/docs",
        f"Temporal UI  {stack.ui_url(MIGRATION)}",
        "(both end with the demo; make demo ARGS=--keep leaves them running until Ctrl-C)",
    )
    return Group(table_of(moved, title), *(Text(line, overflow="fold") for line in lines))


def table_of(moved: Moved, title: str) -> Table:
    """One row a table; the last two columns are Whimbrel's own word and the servers'."""
    table = Table(title=title, title_style="bold", title_justify="left")
    table.add_column("table", no_wrap=True)
    for name in NUMBERS:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("validate", no_wrap=True)
    table.add_column("sums", no_wrap=True)
    figures = {t["table"].rpartition(".")[2]: t for t in moved.progress["tables"]}
    checked = {name.rpartition(".")[2]: t["status"] for name, t in moved.validation.items()}
    for name, total in moved.source.items():
        counts = [f"{figures[name][key] or 0:,}" for key in ("rows_loaded", "inserts", "updates", "deletes")]
        same = moved.target.get(name) == total
        table.add_row(
            Text(name),
            f"{total.rows:,}",
            *counts,
            checked.get(name, "not checked"),
            Text("equal", "green") if same else Text("DIFFERENT", "bold red"),
        )
    return table
