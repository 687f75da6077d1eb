"""A private stand-in for Firebolt (tests/emulators/firebolt), and the vendor's driver, which tells what is there."""

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
ACCOUNT, ENGINE, CLIENT, SECRET = "acme", "loads", "6f1d3f0a-service-account", "stand-in-secret"
LOCATION, BUCKET = "staged", "lake"


@dataclass
class Firebolt(Stand):
    """One stand-in with its databases in ``folder``, which a later start finds again."""

    title: ClassVar[str] = "Firebolt"
    folder: Path
    token_seconds: int = 3600
    port: int = field(default_factory=free_port)
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        if not PYTHON.exists():
            raise StandMissing("the stand-in's environment is not installed (make servers)")
        if importlib.util.find_spec("firebolt") is None:
            raise StandMissing("firebolt-sdk is not installed (make setup)")
        self.folder = Path(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "port": self.port,
            "folder": str(self.folder),
            "statements": str(self._statements),
            "accounts": [ACCOUNT],
            "engines": [ENGINE],
            "clients": {CLIENT: SECRET},
            "token_seconds": self.token_seconds,
            "locations": {LOCATION: BUCKET},
        }
        self.process = self.child(PYTHON, "tests.emulators.firebolt.serve", settings, self.folder, "server.log")
        self._one = threading.Lock()
        self._connections: dict[str, Any] = {}

    @property
    def _statements(self) -> Path:
        return self.folder / "statements.jsonl"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def parameters(self, database: str) -> dict[str, str]:
        """What a target of the API would be given for Core."""
        return {"url": self.url, "database": database, "schemas": "any"}

    def of_account(self, database: str) -> dict[str, str]:
        """The same for an engine of an account, with a bucket to stage in."""
        return {
            "account_name": ACCOUNT,
            "engine": ENGINE,
            "database": database,
            "client_id": CLIENT,
            "client_secret": SECRET,
            "api_endpoint": self.url,
            "schemas": "any",
            "staging": f"s3://{BUCKET}",
            "staging_location": LOCATION,
            "stage_credentials": json.dumps(
                {"access_key_id": "a", "secret_access_key": "s", "endpoint": f"{self.url}/_s3", "region": "us-east-1"}
            ),
        }

    # --- what goes wrong ----------------------------------------------------------------------------------------------

    def order(self, kind: str, **fault: Any) -> None:
        """Order a fault; see tests/emulators/faults.py."""
        httpx.post(f"{self.url}/_stand/faults", json={"kind": kind, **fault}).raise_for_status()

    def no_faults(self) -> None:
        httpx.delete(f"{self.url}/_stand/faults").raise_for_status()

    # --- the vendor's driver ------------------------------------------------------------------------------------------

    @contextmanager
    def session(self, database: str = "firebolt", *, autocommit: bool = True) -> Iterator[Any]:
        """A connection of the vendor's driver, closed at the end."""
        with closing(self._connect(database, autocommit=autocommit)) as made:
            yield made

    def _connect(self, database: str, *, autocommit: bool = True) -> Any:
        from firebolt.client.auth.firebolt_core import FireboltCore
        from firebolt.db.connection import connect

        return connect(auth=FireboltCore(), url=self.url, database=database, autocommit=autocommit, disable_cache=True)

    def run(self, sql: str, database: str = "firebolt") -> None:
        self.query(sql, database)

    def query(self, sql: str, database: str = "firebolt") -> list[tuple[Any, ...]]:
        """The rows of one statement."""
        with self._one:
            if database not in self._connections:  # each of which takes most of a tenth of a second
                self._connections[database] = self._connect(database)
            with closing(self._connections[database].cursor()) as cursor:
                cursor.execute(sql, skip_parsing=True)
                return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    def _forget_connections(self) -> None:
        for connection in self._connections.values():
            with suppress(Exception):
                connection.close()
        self._connections.clear()

    def create_database(self, name: str) -> None:
        """An empty database; one of that name is dropped first."""
        self.run(f'DROP DATABASE IF EXISTS "{name}"')
        self.run(f'CREATE DATABASE "{name}"')

    def staged(self) -> list[str]:
        """The objects that lie in buckets."""
        folder = self.folder / "buckets"
        return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())

    def statements(self, label: str = "") -> list[str]:
        """All that it was asked since it was first started, with labels that hold this."""
        if not self._statements.exists():
            return []
        lines = (json.loads(line) for line in self._statements.read_text().splitlines())
        return [line["sql"] for line in lines if label in line["client"]]
