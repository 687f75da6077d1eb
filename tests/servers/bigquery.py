"""A private stand-in for BigQuery (tests/emulators/bigquery), and the vendor's client, which tells what is there."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.servers.process import Process, free_port
from tests.servers.stand import ROOT, Stand, StandMissing

FOLDER = ROOT / ".cache" / "bigquery"  # made by scripts/servers.sh
PYTHON = FOLDER / "bin" / "python"
PROJECT = "stand-project"
ACCOUNT = f"mover@{PROJECT}.iam.gserviceaccount.com"
OWN = "_whimbrel"  # behind the name of a dataset: that of ours beside it


@dataclass
class BigQuery(Stand):
    """One stand-in with its datasets and jobs in ``folder``, which a later start finds again."""

    title: ClassVar[str] = "BigQuery"
    start_seconds: ClassVar[float] = 90
    folder: Path
    token_seconds: float = 3600.0
    port: int = field(default_factory=free_port)
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        if not PYTHON.exists():
            raise StandMissing("the stand-in's environment is not installed (make servers)")
        with suppress(ModuleNotFoundError):
            if importlib.util.find_spec("google.cloud.bigquery") is not None:
                self._prepare()
                return
        raise StandMissing("google-cloud-bigquery is not installed (make setup)")

    def _prepare(self) -> None:
        self.folder = Path(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.key = a_key(f"http://127.0.0.1:{self.port}/token")
        settings = {
            "port": self.port,
            "folder": str(self.folder),
            "project": PROJECT,
            "statements": str(self._statements),
            "accounts": {ACCOUNT: self.key[1]},
            "token_seconds": self.token_seconds,
        }
        self.process = self.child(PYTHON, "tests.emulators.bigquery.serve", settings, FOLDER / "home", "server.log")

    @property
    def _statements(self) -> Path:
        return self.folder / "statements.jsonl"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def parameters(self, dataset: str) -> dict[str, str]:
        """What a target of the API would be given."""
        return {
            "project": PROJECT,
            "dataset": dataset,
            "credentials_json": self.key[0],
            "endpoint": self.endpoint,
        }

    def order(self, kind: str, **fault: Any) -> None:
        """Order a fault; see tests/emulators/bigquery/mends.py."""
        httpx.post(f"{self.endpoint}/_stand/faults", json={"kind": kind, **fault}).raise_for_status()

    # --- the vendor's client ------------------------------------------------------------------------------------------

    @cached_property
    def client(self) -> Any:
        from google.cloud import bigquery
        from google.oauth2 import service_account

        credentials = service_account.Credentials.from_service_account_info(
            json.loads(self.key[0]), scopes=["https://www.googleapis.com/auth/bigquery"]
        )
        options = {"api_endpoint": self.endpoint}
        return bigquery.Client(project=PROJECT, credentials=credentials, client_options=options)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of one statement or script."""
        job = self.client.query(sql, retry=None, job_retry=None)
        return [tuple(row.values()) for row in job.result(retry=None, job_retry=None)]

    def create_database(self, name: str) -> None:
        """An empty dataset; one of that name is dropped first, and ours beside it."""
        for one in (name, f"{name}{OWN}"):
            self.client.delete_dataset(one, delete_contents=True, not_found_ok=True)
        self.client.create_dataset(name)

    def staged(self, dataset: str) -> list[str]:
        """The tables of staged rows that lie beside the dataset."""
        found = [t.table_id for t in self.client.list_tables(f"{dataset}{OWN}")]
        return sorted(name for name in found if name.startswith("rows_"))

    def statements(self, prefix: str = "") -> list[str]:
        """All statements and scripts that it was asked since it was first started, by jobs whose id begins so."""
        return [sql for job, sql in self._asked() if job.startswith(prefix)]

    def _asked(self) -> Iterator[tuple[str, str]]:
        if self._statements.exists():
            for line in self._statements.read_text().splitlines():
                found = json.loads(line)
                yield found["job"], found["sql"]


def a_key(token_uri: str, account: str = ACCOUNT) -> tuple[str, str]:
    """A service account's key file, and the public key in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    file = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "stand",
        "private_key": private,
        "client_email": account,
        "client_id": "1",
        "token_uri": token_uri,
    }
    return json.dumps(file), public.decode()
