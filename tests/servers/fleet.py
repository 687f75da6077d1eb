"""The servers of a test session: each started when first asked for, all stopped at the end."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from tests.servers.bigquery import BigQuery
from tests.servers.databricks import Databricks
from tests.servers.fetch_mysql import ServerMissing as MySQLMissing
from tests.servers.firebolt import Firebolt
from tests.servers.mysql import MySQL
from tests.servers.oracle import Oracle
from tests.servers.oracle import StandMissing as OracleMissing
from tests.servers.postgres import Postgres
from tests.servers.postgres import ServerMissing as PostgresMissing
from tests.servers.singlestore import SingleStore
from tests.servers.snowflake import Snowflake
from tests.servers.spanner import Spanner
from tests.servers.stand import StandMissing

Server = Postgres | MySQL | Snowflake | Databricks | Firebolt | SingleStore | BigQuery | Oracle | Spanner
SERVERS = {  # name -> the type of an endpoint on it
    "postgres15": "postgres",
    "postgres18": "postgres",
    "mariadb": "mariadb",
    "mysql": "mysql",
    "snowflake": "snowflake",
    "databricks": "databricks",
    "firebolt": "firebolt",
    "singlestore": "singlestore",
    "bigquery": "bigquery",
    "oracle": "oracle",
    "spanner": "spanner",
}

# servers that only stand in for the engine
STANDS = frozenset({"snowflake", "databricks", "firebolt", "singlestore", "bigquery", "oracle", "spanner"})


class Missing(Exception):
    """This machine does not have the server, or was told not to use it; the text says why."""


def server(name: str, folder: Path) -> Server:
    """A server of that name, not yet started. Raises Missing."""
    try:
        if name == "mariadb":
            return MySQL(folder, "mariadb")
        if name == "mysql":
            return MySQL(folder, "mysql")
        if name == "snowflake":
            return Snowflake(folder)
        if name == "databricks":
            return Databricks(folder)
        if name == "firebolt":
            return Firebolt(folder)
        if name == "singlestore":
            return SingleStore(folder)
        if name == "bigquery":
            return BigQuery(folder)
        if name == "oracle":
            return Oracle(folder)
        if name == "spanner":
            return Spanner(folder)
        return Postgres(folder, name.removeprefix("postgres"))
    except (
        PostgresMissing,
        MySQLMissing,
        StandMissing,
        OracleMissing,
    ) as e:
        raise Missing(str(e)) from e


class Fleet:
    """Servers by name. ``chosen`` limits which of them may be used; ``reasons`` says why one cannot be had."""

    def __init__(self, chosen: frozenset[str], reasons: dict[str, str]) -> None:
        self._chosen = chosen
        self._reasons = reasons
        self._running: dict[str, Server] = {}
        # Servers run under accounts of their own when we are root, so the way to their folders must be open.
        self._folder = Path(tempfile.mkdtemp(prefix="whimbrel-servers-"))
        self._folder.chmod(0o711)

    def chosen(self, name: str) -> bool:
        return name in self._chosen

    def get(self, name: str) -> Server:
        """The running server of that name. Raises Missing."""
        if name not in self._chosen:
            raise Missing(f"left out by --engines={','.join(sorted(self._chosen))}")
        if name not in self._running:
            try:
                started = server(name, self._folder / name)
                started.start()
            except Missing as e:
                raise Missing(self._reasons.get(name, str(e))) from e
            self._running[name] = started
        return self._running[name]

    def running(self, name: str) -> Server | None:
        """The server of that name if it was started."""
        return self._running.get(name)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for running in self._running.values():
            running.stop()
        # What a stand-in stumbled over is an error of its own, or a statement that it should have refused: whoever
        # asked may have taken the broken connection for a fault that was ordered.
        stumbled = [
            f"the stand-in {name} printed\n{told}"
            for name in STANDS & self._running.keys()
            if (told := self._running[name].process.unforeseen())  # type: ignore[union-attr]
        ]
        shutil.rmtree(self._folder, ignore_errors=True)
        if stumbled:
            raise AssertionError("\n\n".join(stumbled))
