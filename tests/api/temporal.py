"""A private Temporal server."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.servers.process import Process, free_port

ROOT = Path(__file__).resolve().parents[2]


class Temporal(Process):
    """The development server of ``temporal-dev``, headless, on a free port, its state in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        options = ["--port", str(self.port), "--db", str(folder / "temporal" / "temporal.db"), "--headless"]
        super().__init__([sys.executable, str(ROOT / "temporal-dev" / "start.py"), *options], folder / "temporal.log")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"
