"""A private stand-in for a Databricks warehouse (tests/emulators/databricks), and the vendor's client, which tells what
is there."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import httpx

from tests.servers.process import Process, free_port
from tests.servers.stand import ROOT, Stand, StandMissing

PYTHON = ROOT / ".cache" / "stands" / "bin" / "python"  # made by scripts/servers.sh
TOKEN = "dapi-stand-in-token"
CLIENT, SECRET = "6f1d3f0a-service-principal", "stand-in-secret"
HTTP_PATH = "/sql/1.0/warehouses/stand"


@dataclass
class Databricks(Stand):
    """One stand-in with its catalogs and volumes in ``folder``, which a later start finds again.

    ``transactions``: whether it has transactions over several tables; ``token_seconds``: how long a service principal's
    token lasts.
    """

    title: ClassVar[str] = "Databricks"
    folder: Path
    transactions: bool = False
    token_seconds: int = 3600
    port: int = field(default_factory=free_port)
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        if not PYTHON.exists():
            raise StandMissing("the stand-in's environment is not installed (make servers)")
        if importlib.util.find_spec("databricks") is None:
            raise StandMissing("databricks-sql-connector is not installed (make setup)")
        self.folder = Path(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "port": self.port,
            "folder": str(self.folder),
            "statements": str(self._statements),
            "tokens": [TOKEN],
            "clients": {CLIENT: SECRET},
            "token_seconds": self.token_seconds,
            "transactions": self.transactions,
        }
        self.process = self.child(PYTHON, "tests.emulators.databricks.serve", settings, self.folder, "server.log")
        self._client = threading.Lock()
        self._connections: dict[str, Any] = {}

    @property
    def _statements(self) -> Path:
        return self.folder / "statements.jsonl"

    def parameters(self, catalog: str) -> dict[str, str]:
        """What a target of the API would be given."""
        return {
            "server_hostname": "127.0.0.1",
            "port": str(self.port),
            "scheme": "http",
            "http_path": HTTP_PATH,
            "catalog": catalog,
            "access_token": TOKEN,
        }

    def kill(self) -> None:
        """SIGKILL: what was committed is there after the next start, sessions are not."""
        self._connections.clear()
        self.process.kill()

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    def order(self, kind: str, **fault: Any) -> None:
        """Order a fault; see tests/emulators/faults.py."""
        url = f"http://127.0.0.1:{self.port}/_stand/faults"
        httpx.post(url, json={"kind": kind, **fault}).raise_for_status()

    def no_faults(self) -> None:
        httpx.delete(f"http://127.0.0.1:{self.port}/_stand/faults").raise_for_status()

    # --- the vendor's client ------------------------------------------------------------------------------------------

    @contextmanager
    def session(self, catalog: str | None = None) -> Iterator[Any]:
        """A connection of the vendor's client, closed at the end."""
        with closing(self.connect(catalog)) as connection:
            yield connection

    def connect(self, catalog: str | None = None) -> Any:
        """A connection of the vendor's client."""
        from databricks import sql

        return sql.connect(
            server_hostname="127.0.0.1",
            http_path=HTTP_PATH,
            access_token=TOKEN,
            catalog=catalog,
            _connection_uri=f"http://127.0.0.1:{self.port}{HTTP_PATH}",
            enable_telemetry=False,
            _retry_delay_max=5,
            _retry_stop_after_attempts_duration=15,
            user_agent_entry="tests",
        )

    def run(self, sql: str, catalog: str = "") -> None:
        self.query(sql, catalog)

    def query(self, sql: str, catalog: str = "") -> list[tuple[Any, ...]]:
        """The rows of one statement."""
        with self._client, closing(self._connection(catalog).cursor()) as cursor:
            cursor.execute(sql)
            table = cursor.fetchall_arrow()
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def create_database(self, name: str) -> None:
        """An empty catalog; one of that name is dropped first, with its volumes."""
        with self._client, suppress(Exception):
            self._connections.pop(name).close()
        self.run(f"DROP CATALOG IF EXISTS {name} CASCADE")
        self.run(f"CREATE CATALOG {name}")

    def staged(self) -> list[str]:
        """The files that lie in volumes."""
        folder = self.folder / "volumes"
        return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())

    def statements(self, client: str = "") -> list[str]:
        """All that it was asked since it was first started, by clients whose name holds this."""
        if not self._statements.exists():
            return []
        lines = (json.loads(line) for line in self._statements.read_text().splitlines())
        return [line["sql"] for line in lines if client in line["client"]]

    def _connection(self, catalog: str) -> Any:
        if catalog not in self._connections:
            self._connections[catalog] = self.connect(catalog or None)
        return self._connections[catalog]

    def _forget_connections(self) -> None:
        for connection in self._connections.values():
            with suppress(Exception):
                connection.close()
        self._connections.clear()
