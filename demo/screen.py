"""What people see: a live picture on a terminal, plain lines anywhere else."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from whimbrel.cli.watch import picture

PLAIN_EVERY = 3.0  # seconds between progress lines where there is no terminal
PICTURE_WIDTH = 104


class Screen:
    """``say`` tells what happens, ``show`` how far it is. ``frame`` keeps one moment for the README's picture."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.frame: RenderableType | None = None
        self._started = time.monotonic()
        self._told: list[RenderableType] = []
        self._shown_at = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rest()

    def say(self, text: str, style: str = "") -> None:
        """One line, with the seconds since the beginning."""
        line = self._timed(text, style)
        self._told.append(line)
        self.console.print(line, soft_wrap=True)

    def detail(self, text: str) -> None:
        """A line that may lose its end where the terminal is narrow."""
        self.console.print(Text(f"          {text}", "dim"), no_wrap=True, overflow="ellipsis")

    def show(self, operation: Mapping[str, Any], written: int) -> None:
        """Progress of the running operation; ``written`` is how many transactions the writer has committed."""
        if not self.console.is_terminal:
            self._show_plain(operation, written)
            return
        if self._live is None:
            self._live = Live(console=self.console, refresh_per_second=8, transient=True)
            self._live.start()
        self._live.update(live_picture(operation, written))

    def rest(self) -> None:
        """Take the moving part away, so that plain output can follow."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def keep_frame(self, operation: Mapping[str, Any], written: int) -> None:
        self.frame = Group(*self._told, Text(), live_picture(operation, written))

    def save_picture(self, file: Path, last: RenderableType) -> None:
        """The kept frame and the last table as an SVG."""
        with Path("/dev/null").open("w") as nowhere:
            canvas = Console(
                record=True, width=PICTURE_WIDTH, file=nowhere, force_terminal=True, color_system="truecolor"
            )
            for part in (Text("$ make demo", "bold"), self.frame or Group(*self._told), Text("\n…\n", "dim"), last):
                canvas.print(part, no_wrap=True, overflow="ellipsis")
            picture = canvas.export_svg(title="make demo")
        # Whoever looks at the picture need not fetch a font for it; any fixed-width one will do.
        file.write_text(re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL), encoding="utf-8")

    def _show_plain(self, operation: Mapping[str, Any], written: int) -> None:
        if time.monotonic() - self._shown_at < PLAIN_EVERY:
            return
        self._shown_at = time.monotonic()
        self.console.print(self._timed(plain_line(operation, written)), soft_wrap=True)

    def _timed(self, text: str, style: str = "") -> Text:
        return Text.assemble((f"{time.monotonic() - self._started:6.1f} s  ", "dim"), (text, style))


def live_picture(operation: Mapping[str, Any], written: int) -> RenderableType:
    """The command line's own picture of the operation, and the writer below it."""
    return Group(picture(dict(operation)), Text(f"writer: {written:,} transactions committed at the source", "magenta"))


def plain_line(operation: Mapping[str, Any], written: int) -> str:
    """The same in one line."""
    parts = [f"{operation['phase'] or 'starting'}:"]
    progress, change = operation["progress"], operation["change"]
    if progress and progress["rows_total"] is not None:
        parts.append(f"{progress['percent']:.0f} %, {progress['rows_loaded']:,} rows loaded,")
        parts.append(f"{progress['rows_per_second']:,.0f} rows/s,")
    if change:
        parts.append(f"lag {change['lag_seconds']:.1f} s and {change['lag_bytes']:,} bytes,")
        parts.append(f"{change['transactions']:,} transactions applied,")
    return " ".join((*parts, f"{written:,} written at the source"))
