"""A private Temporal development server, started by temporal-dev/start.py as people do."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError

from tests.servers.process import Process, free_port, wait_until

SCRIPT = Path(__file__).resolve().parents[2] / "temporal-dev" / "start.py"


@dataclass
class Temporal:
    """``kill`` and ``start`` again go on with the same state file on the same port."""

    folder: Path
    port: int
    process: Process

    @classmethod
    def make(cls, folder: Path, arguments: Sequence[str] = ()) -> Temporal:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        argv = [
            sys.executable,
            str(SCRIPT),
            "--headless",
            "--port",
            str(port),
            "--db",
            str(folder / "t" / "temporal.db"),
        ]
        return cls(folder, port, Process([*argv, *arguments], folder / "temporal.log"))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process.start()
        wait_until(self.answers, 30, f"Temporal to answer at {self.address}: {self.process.tail()}")

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        self.process.kill()

    def answers(self) -> bool:
        async def ask() -> bool:
            return await (await Client.connect(self.address)).service_client.check_health()

        try:
            return asyncio.run(asyncio.wait_for(ask(), 5))
        except (RuntimeError, RPCError, TimeoutError):
            return False
