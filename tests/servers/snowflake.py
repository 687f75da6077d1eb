"""A private stand-in for Snowflake (tests/emulators/snowflake), and the vendor's client, which tells what is there."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.servers.process import Process, free_port
from tests.servers.stand import ROOT, Stand, StandMissing

PYTHON = ROOT / ".cache" / "snowflake" / "bin" / "python"  # made by scripts/servers.sh
USER, PASSWORD = "WHIMBREL", "stand-pw"
WAREHOUSE, ROLE = "WHIMBREL_WH", "WHIMBREL_ROLE"
# The client would try for minutes where tests want to know within seconds.
PATIENCE = {"login_timeout": 15, "network_timeout": 30, "socket_timeout": 30}


@dataclass
class Snowflake(Stand):
    """One stand-in with its databases in ``folder``, which a later start finds again.

    ``idle_seconds`` stands for the five minutes after which Snowflake rolls back a silent transaction that keeps others
    waiting.
    """

    title: ClassVar[str] = "Snowflake"
    folder: Path
    idle_seconds: float = 2.0
    port: int = field(default_factory=free_port)
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        if not PYTHON.exists():
            raise StandMissing("the stand-in's environment is not installed (make servers)")
        if importlib.util.find_spec("snowflake") is None:
            raise StandMissing("snowflake-connector-python is not installed (make setup)")
        self.folder = Path(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.private_key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        settings = {
            "port": self.port,
            "folder": str(self.folder),
            "statements": str(self._statements),
            "users": {USER: {"password": PASSWORD, "public_key": public.decode()}},
            "warehouses": [WAREHOUSE],
            "roles": [ROLE, "PUBLIC"],
            "idle_seconds": self.idle_seconds,
        }
        self.process = self.child(PYTHON, "tests.emulators.snowflake.serve", settings, self.folder, "server.log")
        self._client = threading.Lock()
        self._connections: dict[str, Any] = {}

    @property
    def _statements(self) -> Path:
        return self.folder / "statements.jsonl"

    def parameters(self, database: str) -> dict[str, str]:
        """What a target of the API would be given; the private key is ``private_key``."""
        return {
            "account": "whimbrel",
            "user": USER,
            "password": PASSWORD,
            "database": database,
            "warehouse": WAREHOUSE,
            "host": "127.0.0.1",
            "port": str(self.port),
            "protocol": "http",
        }

    # --- the vendor's client ------------------------------------------------------------------------------------------

    @contextmanager
    def session(self, database: str | None = None, schema: str | None = None, **settings: Any) -> Iterator[Any]:
        """A connection of the vendor's client, closed at the end."""
        with closing(self.connect(database, schema, **settings)) as connection:
            yield connection

    def connect(self, database: str | None = None, schema: str | None = None, **settings: Any) -> Any:
        """A connection of the vendor's client."""
        import snowflake.connector

        given = {**self.parameters(database or ""), "port": self.port, "schema": schema, **PATIENCE, **settings}
        return snowflake.connector.connect(**{name: value for name, value in given.items() if value})

    def run(self, sql: str, database: str = "") -> None:
        """Run statements, one after the other, each in a transaction of its own unless they say otherwise."""
        with self._client:
            for cursor in self._connection(database).execute_string(sql):
                cursor.close()

    def query(self, sql: str, database: str = "", values: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of one statement."""
        with self._client, closing(self._connection(database).cursor()) as cursor:
            found: list[tuple[Any, ...]] = cursor.execute(sql, values).fetchall()
            return found

    def create_database(self, name: str) -> None:
        """An empty database, its name as it is written; one of that name is dropped first."""
        self.run(f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}")

    def statements(self, application: str | None = None) -> list[tuple[int, str]]:
        """All that it was asked to execute since it was first started, by clients that call themselves so: session and
        SQL."""
        if not self._statements.exists():
            return []
        lines = (json.loads(line) for line in self._statements.read_text().splitlines())
        chosen = (line for line in lines if application in (None, line["application"]))
        return [(line["session"], line["sql"]) for line in chosen]

    def _connection(self, database: str) -> Any:
        if database not in self._connections:
            self._connections[database] = self.connect(database)
        return self._connections[database]

    def _forget_connections(self) -> None:
        for connection in self._connections.values():
            with closing(connection):
                pass
        self._connections.clear()
