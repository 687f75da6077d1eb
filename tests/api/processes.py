"""API and worker processes that share one home and one catalog, and can be killed."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from pathlib import Path

import httpx

from tests.servers.process import Process, free_port, wait_until
from whimbrel.catalog.home import certificate_files

ROOT = Path(__file__).resolve().parents[2]
NOBODY = "127.0.0.1:1"  # where no Temporal listens


def environment(home: Path, temporal: str = NOBODY, url: str | None = None) -> dict[str, str]:
    """What a process of ours reads; ``url`` is the catalog's, None for SQLite in the home folder."""
    found = {**os.environ, "WHIMBREL_HOME": str(home), "WHIMBREL_TEMPORAL_ADDRESS": temporal}
    found.pop("WHIMBREL_CATALOG_URL", None)
    return {**found, "WHIMBREL_CATALOG_URL": url} if url else found


class Api(Process):
    """``python -m api`` on a free port."""

    def __init__(self, home: Path, *arguments: str, temporal: str = NOBODY, url: str | None = None) -> None:
        self.home, self.port = home, free_port()
        argv = [sys.executable, "-m", "api", "--port", str(self.port), *arguments]
        log = home.parent / f"api-{self.port}.log"
        super().__init__(argv, log, env=environment(home, temporal, url), cwd=ROOT)

    def start(self) -> None:
        super().start()
        wait_until(self._answers, 30, "the API")

    def _answers(self) -> bool:
        if not self.running:
            raise RuntimeError(self.tail())
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(certificate_files(self.home)[0]))

    def client(self, key: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, verify=self.trust(), headers=headers, timeout=60)


class Worker(Process):
    """``python -m worker``."""

    def __init__(self, home: Path, number: int, temporal: str, url: str | None = None) -> None:
        argv = [sys.executable, "-m", "worker"]
        super().__init__(argv, home.parent / f"worker-{number}.log", env=environment(home, temporal, url), cwd=ROOT)

    def polls(self) -> bool:
        if not self.running:
            raise RuntimeError(self.tail())
        return "polling" in self.tail()


class BlackHole:
    """A listener that accepts and never answers: a start sent there stays under way until its process gives up."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._socket.getsockname()[1]}"

    def close(self) -> None:
        self._socket.close()
