"""Google's own emulator of Spanner, private to the tests, and the vendor's client, which tells what is there.

It keeps everything in memory, so that one which was killed comes back empty. What it does otherwise than the service is
said in docs/engines/spanner.md.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from tests.servers.process import Process, free_port, wait_until
from tests.servers.stand import StandMissing

PROGRAM = "emulator_main"
PROJECT, INSTANCE = "stand-project", "stand-instance"
START_SECONDS = 30
_IN_SDK = Path("bin/cloud_spanner_emulator") / PROGRAM
_SDKS = ("/usr/lib/google-cloud-sdk", "/usr/share/google-cloud-sdk", "/opt/google-cloud-sdk", "~/google-cloud-sdk")
_names = itertools.count(1)


@cache
def emulator() -> Path:
    """Where the program is: on the PATH, or in Google Cloud's SDK. Raises StandMissing."""
    found = shutil.which(PROGRAM)
    places = [Path(found)] if found else []
    places += [Path(folder).expanduser() / _IN_SDK for folder in _SDKS]
    for place in places:
        if os.access(place, os.X_OK):
            return place
    if gcloud := shutil.which("gcloud"):  # takes seconds to say where it is
        asked = [gcloud, "info", "--format=value(installation.sdk_root)"]
        with suppress(OSError, subprocess.SubprocessError):
            said = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
            if said and os.access(Path(said) / _IN_SDK, os.X_OK):
                return Path(said) / _IN_SDK
    raise StandMissing(
        "Spanner: Google's emulator of it (emulator_main) is neither on the PATH nor in Google Cloud's SDK "
        "(gcloud components install cloud-spanner-emulator, or the package google-cloud-cli-spanner-emulator)"
    )


@dataclass
class Spanner:
    """One emulator with one instance."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        program = emulator()
        with suppress(ModuleNotFoundError):
            if importlib.util.find_spec("google.cloud.spanner_v1") is not None:
                self.folder = Path(self.folder)
                self.folder.mkdir(parents=True, exist_ok=True)
                argv = [str(program), f"--host_port=127.0.0.1:{self.port}"]
                self.process = Process(argv, self.folder / "server.log", env={"PATH": os.defpath, "TZ": "UTC"})
                self._databases: dict[str, str] = {}
                return
        raise StandMissing("Spanner: google-cloud-spanner is not installed (make setup)")

    def parameters(self, database: str) -> dict[str, str]:
        """What a target of the API would be given."""
        return {
            "project": PROJECT,
            "instance": INSTANCE,
            "database": self.real_name(database),
            "emulator_host": f"127.0.0.1:{self.port}",
        }

    def real_name(self, database: str) -> str:
        """A database is made anew under another name: dropping one leaves its schemas in a client's memory."""
        if database not in self._databases:
            self.create_database(database)
        return self._databases[database]

    def start(self) -> Spanner:
        """Start, and wait until it answers."""
        if self.process.running:
            os.kill(self.process.pid, signal.SIGCONT)
            return self
        self.process.start()
        wait_until(self._answers, START_SECONDS, "the emulator of Spanner to answer")
        instance = self.client.instance(
            INSTANCE, f"projects/{PROJECT}/instanceConfigs/emulator-config", node_count=1, display_name="stand"
        )
        instance.create().result(30)
        return self

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """It answers nobody until it is started again, as one that ended would have lost everything."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def restart(self) -> None:
        self.kill()
        self.start()

    def _answers(self) -> bool:
        if not self.process.running:
            raise RuntimeError(f"the emulator of Spanner ended:\n{self.process.tail()}")
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False

    # --- the vendor's client ------------------------------------------------------------------------------------------

    @cached_property
    def client(self) -> Any:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import spanner

        os.environ["SPANNER_EMULATOR_HOST"] = f"127.0.0.1:{self.port}"  # it reads the address from nowhere else
        try:
            made = spanner.Client(
                project=PROJECT,
                credentials=AnonymousCredentials(),
                disable_builtin_metrics=True,
            )
            made.instance(INSTANCE).exists()
            _ = made.database_admin_api, made.instance_admin_api
            return made
        finally:
            del os.environ["SPANNER_EMULATOR_HOST"]

    def database(self, name: str) -> Any:
        """The vendor's own handle."""
        os.environ["SPANNER_EMULATOR_HOST"] = f"127.0.0.1:{self.port}"
        try:
            found = self._handles.get(self.real_name(name))
            if found is None:
                found = self._handles[self.real_name(name)] = self.client.instance(INSTANCE).database(
                    self.real_name(name)
                )
                _ = found.spanner_api
            return found
        finally:
            del os.environ["SPANNER_EMULATOR_HOST"]

    @cached_property
    def _handles(self) -> dict[str, Any]:
        return {}

    def create_database(self, name: str) -> None:
        """An empty one; what it was before is dropped."""
        if (before := self._databases.get(name)) is not None:
            self._handles.pop(before, None)
            self.client.database_admin_api.drop_database(
                database=f"projects/{PROJECT}/instances/{INSTANCE}/databases/{before}"
            )
        real = f"{name[:20].lower()}_{next(_names)}"
        self.client.instance(INSTANCE).database(real).create().result(30)
        self._databases[name] = real

    def query(self, sql: str, database: str = "") -> list[tuple[Any, ...]]:
        with self.database(database).snapshot() as snapshot:
            return [tuple(row) for row in snapshot.execute_sql(sql)]

    def define(self, statements: Sequence[str], database: str) -> None:
        self.database(database).update_ddl(list(statements)).result(60)

    def write(self, sql: str, database: str) -> int:
        """One statement that writes, in a transaction of its own."""
        return int(self.database(database).run_in_transaction(lambda t: t.execute_update(sql)))
