"""The stack of ``whimbrel up``, in a home of its own and on free ports, with a worker that can be killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from api.auth import create_key
from tests.servers.process import free_port
from whimbrel.catalog.home import private_dir
from whimbrel.cli.client import ApiClient
from whimbrel.cli.session import trust
from whimbrel.cli.stack import START_SECONDS, Ports, stack


class Stack:
    """Temporal, API and worker. Sets WHIMBREL_HOME and TMPDIR of this process, which is where they find each other."""

    def __init__(self, home: Path) -> None:
        os.environ["WHIMBREL_HOME"] = str(home)
        private_dir(home)
        # What a killed worker leaves among temporary files goes with the home.
        private_dir(home / "tmp")
        os.environ["TMPDIR"] = str(home / "tmp")
        self.ports = Ports(free_port(), free_port(), free_port())
        self._children = stack(self.ports)
        self._worker = self._children[-1]

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.ports.api}"

    @property
    def api_pid(self) -> int:
        """Raises RuntimeError before it was started."""
        pid = self._children[1].pid
        if pid is None:
            raise RuntimeError("the API was never started")
        return pid

    def start(self) -> ApiClient:
        """Start all three, wait until they answer, and return a client with a key of its own."""
        for child in self._children:
            child.start()
            child.wait_until_healthy(START_SECONDS)
        return ApiClient(self.url, create_key("demo"), trust())

    def kill_worker(self) -> None:
        """SIGKILL, as the out-of-memory killer would."""
        if self._worker.pid is None:
            raise RuntimeError("the worker was never started")
        os.kill(self._worker.pid, signal.SIGKILL)
        self._worker.stop()

    def start_worker(self) -> None:
        self._worker.start()

    def check(self) -> None:
        """Raise when one of them ended by itself."""
        for child in self._children:
            if child.ended is not None:
                raise RuntimeError(f"{child.name} ended with exit code {child.ended}:\n{child.tail()}")

    def ui_url(self, migration: str) -> str:
        """Temporal's web UI, showing this migration's workflows and no others."""
        query = quote(f'WhimbrelMigration = "{migration}"')
        return f"http://127.0.0.1:{self.ports.ui}/namespaces/default/workflows?query={query}"

    def __enter__(self) -> Stack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(self._children):
            child.stop()
