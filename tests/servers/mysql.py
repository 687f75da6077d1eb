"""A private MariaDB or MySQL server, and its own command-line client, which is where expected values come from."""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.servers.fetch_mysql import Binaries, ServerMissing, fetch
from tests.servers.process import Process, free_port, unprivileged_user, wait_until
from tests.servers.reachable import reachable

Flavor = Literal["mariadb", "mysql"]
START_SECONDS = 60

SETTINGS = {
    "bind-address": "127.0.0.1",
    "server-id": "1",
    "binlog-format": "ROW",
    "binlog-row-image": "FULL",
    "binlog-row-metadata": "FULL",
    "local-infile": "ON",
    "character-set-server": "utf8mb4",
    "innodb-buffer-pool-size": "128M",
    "innodb-flush-log-at-trx-commit": "2",
    "sync-binlog": "0",
    "max-allowed-packet": "64M",
}
MARIADB_SETTINGS = {"gtid-strict-mode": "ON", "skip-name-resolve": "ON"}
MYSQL_SETTINGS = {
    "gtid-mode": "ON",
    "enforce-gtid-consistency": "ON",
    "mysqlx": "OFF",
    "performance-schema": "OFF",
    "secure-file-priv": "NULL",
}

_initialised: dict[Flavor, Path] = {}  # new data of this process's first server, of which others get a copy


class ClientFailed(Exception):
    """The command-line client reported an error; the text is its own."""


@dataclass
class MySQL:
    """One server with its data in ``folder``. ``settings`` replace or add server options (``log_bin="OFF"``).

    ``password`` is root's. The account ``whimbrel`` (password ``password`` of ``user``) is made by ``create_user``.
    """

    folder: Path
    flavor: Flavor = "mariadb"
    password: str = "root-pw"
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    process: Process = field(init=False)

    def __init__(
        self,
        folder: Path,
        flavor: Flavor = "mariadb",
        *,
        password: str = "root-pw",
        port: int | None = None,
        **settings: str,
    ) -> None:
        self.folder = Path(folder)
        self.flavor = flavor
        self.password = password
        self.port = port or free_port()
        self.settings = {name.replace("_", "-"): value for name, value in settings.items()}
        self.user = unprivileged_user("mysql")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._give(self.folder)
        self.process = Process(self._server_argv(), self.folder / "server.log", self.user, env=_environment())

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        return self.folder / "s"

    @property
    def parameters(self) -> dict[str, str]:
        """What a source or target of the API would be given, as root."""
        return {"host": "127.0.0.1", "port": str(self.port), "user": "root", "password": self.password}

    def start(self) -> MySQL:
        """Initialise on first use, start, and wait until the server answers over TCP. Raises ServerMissing."""
        fresh = not self.data.exists()
        if fresh:
            self._initialise()
        self.process.start()
        self._wait(password="" if fresh else self.password)
        if fresh:
            self._secure()
        return self

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def restart_with(self, **settings: str) -> None:
        """Restart with these settings in the place of those it was made with."""
        self.settings |= {name.replace("_", "-"): value for name, value in settings.items()}
        self.stop()
        self.process.argv = self._server_argv()
        self.start()

    def client(self, sql: str, db: str | None = None, *, user: str = "root", password: str | None = None) -> str:
        """What the command-line client prints: tab-separated, unescaped, no heading. Raises ClientFailed."""
        argv = [*self._client_argv(user), *([db] if db else [])]
        env = self._client_environment(self.password if password is None else password)
        done = subprocess.run(argv, input=sql.encode(), capture_output=True, env=env, timeout=120)
        if done.returncode != 0:
            raise ClientFailed(done.stderr.decode(errors="replace").strip())
        return done.stdout.decode(errors="backslashreplace")

    def client_beside(self, sql: str, user: str, password: str) -> subprocess.Popen[bytes]:
        """A client that runs the script while the caller goes on, and ends with it or when it is terminated."""
        nowhere = subprocess.DEVNULL
        return subprocess.Popen(
            [*self._client_argv(user), f"--execute={sql}"],
            stdin=nowhere,
            stdout=nowhere,
            stderr=nowhere,
            env=self._client_environment(password),
        )

    def _client_argv(self, user: str) -> list[str]:
        argv = [*self._client_program(), "--no-defaults", "--default-character-set=utf8mb4", "--protocol=TCP"]
        argv += ["--host=127.0.0.1", f"--port={self.port}", f"--user={user}"]
        return [*argv, "--batch", "--raw", "--skip-column-names"]

    def _client_environment(self, password: str) -> dict[str, str]:
        return {**_environment(), "MYSQL_PWD": password}

    def create_database(self, name: str) -> None:
        """An empty database; one of that name is dropped first."""
        quoted = "`" + name.replace("`", "``") + "`"
        self.client(f"DROP DATABASE IF EXISTS {quoted}; CREATE DATABASE {quoted}")

    def create_user(self, name: str, password: str, *grants: str) -> dict[str, str]:
        """An account with just these grants (``"SELECT ON *.*"``); returns its connection parameters."""
        self.client(
            f"DROP USER IF EXISTS '{name}'@'%'; CREATE USER '{name}'@'%' IDENTIFIED BY '{password}';"
            + "".join(f"GRANT {grant} TO '{name}'@'%';" for grant in grants)
        )
        return {**self.parameters, "user": name, "password": password}

    # --- how it is started --------------------------------------------------------------------------------------------

    def _initialise(self) -> None:
        (self.folder / "tmp").mkdir(exist_ok=True)
        self._give(self.folder / "tmp")
        if self.flavor in _initialised:
            copied = subprocess.run(["cp", "-a", _initialised[self.flavor], self.data], capture_output=True, text=True)
            if copied.returncode != 0:
                raise RuntimeError(f"{self.flavor}: {copied.stderr}")
            return
        self._make_data()
        place = Path(tempfile.mkdtemp(prefix="whimbrel-data-"))
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        subprocess.run(["cp", "-a", self.data, place / "data"], check=True)
        (place / "data" / "auto.cnf").unlink(missing_ok=True)  # each server makes its own identity
        _initialised[self.flavor] = place / "data"

    def _make_data(self) -> None:
        if self.flavor == "mysql":
            self.data.mkdir()
            self._give(self.data)
            argv = [*self._server_program(), f"--datadir={self.data}", "--initialize-insecure"]
        else:
            program = shutil.which("mariadb-install-db")
            if program is None:
                raise ServerMissing("MariaDB: mariadb-install-db is not installed (package mariadb-server)")
            argv = [program, "--no-defaults", f"--datadir={self.data}", "--skip-test-db"]
            argv += ["--auth-root-authentication-method=normal", f"--tmpdir={self.folder / 'tmp'}"]
        log = self.folder / "initialise.log"
        with log.open("wb") as out:
            group = pwd.getpwnam(self.user).pw_gid if self.user else None
            extra: list[int] | None = [] if self.user else None
            done = subprocess.run(
                argv,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                user=self.user,
                group=group,
                extra_groups=extra,
                cwd="/",
                timeout=180,
                env=_environment(),
            )
        if done.returncode != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            raise RuntimeError(f"{self.flavor} did not initialise: {log.read_text(errors='replace')[-2000:]}")

    def _server_program(self) -> list[str]:
        if self.flavor == "mysql":
            binaries = Binaries(reachable(fetch().root, self.user))
            usr = binaries.root / "usr"
            return [
                *binaries.command("sbin/mysqld"),
                "--no-defaults",
                f"--basedir={usr}",
                f"--lc-messages-dir={usr / 'share/mysql'}",
                f"--plugin-dir={usr / 'lib/mysql/plugin'}",
                f"--tmpdir={self.folder / 'tmp'}",
            ]
        program = shutil.which("mariadbd") or shutil.which("mariadbd", path="/usr/sbin")
        if program is None:
            raise ServerMissing("MariaDB: mariadbd is not installed (package mariadb-server)")
        return [program, "--no-defaults", f"--tmpdir={self.folder / 'tmp'}"]

    def _server_argv(self) -> list[str]:
        flavored = MYSQL_SETTINGS if self.flavor == "mysql" else MARIADB_SETTINGS
        options = {"log-bin": str(self.data / "binlog"), **SETTINGS, **flavored, **self.settings}
        if options["log-bin"] == "ON":
            options["log-bin"] = str(self.data / "binlog")
        if options["log-bin"] == "OFF":
            del options["log-bin"]
            options |= {"skip-log-bin": "1"} if self.flavor == "mysql" else {}
        places = [f"--datadir={self.data}", f"--socket={self.socket}", f"--port={self.port}"]
        places += [f"--pid-file={self.folder / 'pid'}"]
        return [*self._server_program(), *places, *(f"--{name}={value}" for name, value in options.items())]

    def _client_program(self) -> list[str]:
        if self.flavor == "mysql":
            return fetch().command("bin/mysql")
        program = shutil.which("mariadb")
        if program is None:
            raise ServerMissing("MariaDB: the client is not installed (package mariadb-client)")
        return [program]

    def _wait(self, password: str) -> None:
        def answers() -> bool:
            if not self.process.running:
                raise RuntimeError(f"{self.flavor} ended: {self.process.tail()}")
            try:
                return self.client("SELECT 1", password=password) == "1\n"
            except ClientFailed:
                return False

        wait_until(answers, START_SECONDS, f"{self.flavor} on port {self.port}", every=0.1)

    def _secure(self) -> None:
        """Give the root account that we reach over TCP a password."""
        name, _, host = self.client("SELECT CURRENT_USER()", password="").strip().partition("@")
        self.client(f"ALTER USER '{name}'@'{host}' IDENTIFIED BY '{self.password}'", password="")

    def _give(self, path: Path) -> None:
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(path, account.pw_uid, account.pw_gid)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "HOME": "/nonexistent", "TZ": "UTC"}
