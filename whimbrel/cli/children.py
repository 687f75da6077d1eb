"""Child processes of ``whimbrel up``: they die with their parent, and are stopped in order."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from whimbrel.errors import InternalError

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Runs in the child: a parent that is killed takes its children along."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Child:
    """``healthy`` is asked until it says yes; ``grace`` is how many seconds it gets to end by itself."""

    name: str
    argv: Sequence[str]
    log: Path
    healthy: Callable[[], bool]
    grace: float = 15.0
    env: dict[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def ended(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as out:
            self._process = subprocess.Popen(
                list(self.argv),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env},
                preexec_fn=_die_with_parent,
                start_new_session=True,  # Ctrl-C is for the parent, which stops its children in order
            )

    def wait_until_healthy(self, seconds: float, give_up: Callable[[], bool] = lambda: False) -> None:
        """Raises InternalError with the end of its log when it ends or does not answer in time."""
        deadline = time.monotonic() + seconds
        while not give_up() and not self.healthy():
            if self.ended is not None:
                raise InternalError(
                    f"{self.name} ended with exit code {self.ended}", log=str(self.log), end=self.tail()
                )
            if time.monotonic() > deadline:
                raise InternalError(
                    f"{self.name} does not answer after {seconds:g} s", log=str(self.log), end=self.tail()
                )
            time.sleep(0.1)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that is not enough. No error when it does not run."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(self.grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def tail(self, lines: int = 12) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""
