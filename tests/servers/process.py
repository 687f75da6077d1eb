"""One child process that cannot outlive its parent."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom

PR_SET_PDEATHSIG = 1
_TRACEBACK = "Traceback (most recent call last)"
PORTS = (10_000, 32_000)


def free_port() -> int:
    """A port on loopback that was free a moment ago and that no other process of the tests is given while we live.

    From below the range of ports that the kernel gives to outgoing connections: a server that is killed and started
    again must not find its port taken by somebody's connection.
    """
    random = SystemRandom()
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if _reserve(port):
            return port


def _reserve(port: int) -> bool:
    """Take the port among all processes of the tests; the kernel gives it back when we end.

    By a socket whose name lives in the kernel: it has the scope of the ports themselves and leaves no file behind.
    """
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0whimbrel-port-{port}")
    except OSError as error:
        claim.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    _held.append(claim)
    return True


_held: list[socket.socket] = []  # open as long as we live


def wait_until(condition: Callable[[], bool], seconds: float, what: str, every: float = 0.05) -> None:
    """Poll until true; TimeoutError naming ``what`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(every)


def unprivileged_user(name: str) -> str | None:
    """The account a server should run as: None (ourselves) unless we are root; then ``name`` or 'nobody'."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(name)
    except KeyError:
        return "nobody"
    return name


def _die_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Process:
    """A server process: start, stop (SIGTERM, then SIGKILL after ``grace`` seconds), kill, and start again."""

    argv: Sequence[str]
    log: Path
    user: str | None = None
    env: dict[str, str] | None = None
    cwd: Path | None = None
    stop_signal: int = signal.SIGTERM
    grace: float = 20.0
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        if self._child is None:
            raise RuntimeError("not started")
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self._child = subprocess.Popen(
                [str(a) for a in self.argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                user=self.user,
                group=pwd.getpwnam(self.user).pw_gid if self.user else None,
                extra_groups=[] if self.user else None,
                env=self.env,
                cwd=self.cwd or "/",
                preexec_fn=_die_with_parent,
                start_new_session=True,
            )

    def stop(self) -> None:
        if self._child is None or self._child.poll() is not None:
            return
        self._child.send_signal(self.stop_signal)
        try:
            self._child.wait(self.grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait(30)

    def unforeseen(self) -> str:
        """The last traceback in the log, and what follows it; '' where there is none."""
        _, mark, told = (self.log.read_text(errors="replace") if self.log.exists() else "").rpartition(_TRACEBACK)
        return "\n".join((mark + told).splitlines()[:60]) if mark else ""

    def tail(self, lines: int = 20) -> str:
        """The end of the log, for messages."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
