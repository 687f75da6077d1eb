"""What all stand-ins are as processes: started, killed and found again on their port."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from tests.servers.process import Process, wait_until

ROOT = Path(__file__).resolve().parents[2]


class StandMissing(Exception):
    """The stand-in's environment, or the client, is not installed; the text says so."""


class Stand:
    """One process with its files in ``folder``, which a later start finds again."""

    title: ClassVar[str]  # of what it stands in for
    start_seconds: ClassVar[float] = 60
    folder: Path
    port: int
    process: Process

    def child(self, python: Path | str, module: str, settings: Mapping[str, Any], home: Path, log: str) -> Process:
        """The process of a module of the emulators; secrets among its settings are seen by nobody else."""
        file = self.folder / "settings.json"
        file.write_text(json.dumps(settings))
        env = {"PATH": os.defpath, "HOME": str(home), "TZ": "UTC", "PYTHONUNBUFFERED": "1"}
        return Process([str(python), "-m", module, str(file)], self.folder / log, env=env, cwd=ROOT)

    def start(self) -> Self:
        """Start, and wait until it answers."""
        self.process.start()
        wait_until(self._answers, self.start_seconds, f"the stand-in for {self.title} to answer")
        return self

    def stop(self) -> None:
        self._forget_connections()
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL: what was committed is there after the next start; sessions, and what is at work, are not."""
        self._forget_connections()
        self.process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _forget_connections(self) -> None:
        """Close those of the vendor's client that are kept."""

    def _answers(self) -> bool:
        if not self.process.running:
            raise RuntimeError(f"the stand-in for {self.title} ended:\n{self.process.tail()}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False
