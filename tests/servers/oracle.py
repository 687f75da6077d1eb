"""A private stand-in for Oracle (tests/emulators/oracle) before a private PostgreSQL 18, and the vendor's driver, which
tells what is there."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.emulators.oracle.tokens import literal
from tests.servers.postgres import Postgres
from tests.servers.postgres import ServerMissing as PostgresMissing
from tests.servers.process import Process, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
GRAMMAR = ROOT / ".cache" / "plsql"  # made by scripts/servers.sh
START_SECONDS = 60
PASSWORD = "stand-pw"
SERVICE = "STAND"


class StandMissing(Exception):
    """What the stand-in needs is not installed; the text says so."""


class Oracle:
    """One stand-in with its PostgreSQL in ``folder``. SYSTEM, with ``PASSWORD``, may do everything."""

    def __init__(self, folder: Path) -> None:
        node = shutil.which("node")
        if node is None:
            raise StandMissing("node is not installed, which reads what is sent to it by a grammar")
        if not (GRAMMAR / "node_modules" / "antlr4ts-sql").exists():
            raise StandMissing("the grammar antlr4ts-sql is not installed (make servers)")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.postgres = Postgres(self.folder / "postgres", "18", max_connections="200")
        except PostgresMissing as e:
            raise StandMissing(str(e)) from e
        self.port = free_port()
        settings = {
            "port": self.port,
            "dsn": self.postgres.dsn(),
            "statements": str(self.folder / "statements.jsonl"),
            "node": node,
            "grammar": str(GRAMMAR),
        }
        (self.folder / "settings.json").write_text(json.dumps(settings))
        argv = [sys.executable, "-m", "tests.emulators.oracle.serve", str(self.folder / "settings.json")]
        env = {"PATH": os.defpath, "HOME": str(self.folder), "TZ": "UTC", "PYTHONUNBUFFERED": "1"}
        self.process = Process(argv, self.folder / "stand.log", env=env, cwd=ROOT)
        self._client = threading.Lock()
        self._links: dict[str, Any] = {}

    def parameters(self, user: str = "SYSTEM", password: str = PASSWORD) -> dict[str, str]:
        """What a source of the API would be given."""
        where = {"host": "127.0.0.1", "port": str(self.port), "service_name": SERVICE}
        return {**where, "user": user, "password": password}

    def start(self) -> Oracle:
        self.postgres.start()
        self.process.start()
        wait_until(self._answers, START_SECONDS, "the stand-in for Oracle to answer")
        if not self.postgres.psql("select 1 from pg_roles where rolname = 'SYSTEM'"):
            self.postgres.psql(
                'create role "SYSTEM" superuser; create schema "SYSTEM" authorization "SYSTEM"; '
                f"""insert into "SYS".users values ('SYSTEM', {literal(PASSWORD)}, true)"""
            )
        return self

    def stop(self) -> None:
        self._forget()
        self.process.stop()
        self.postgres.stop()

    def kill(self) -> None:
        """SIGKILL: what was committed is there after the next start, sessions are not."""
        self._forget()
        self.process.kill()
        self.postgres.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _answers(self) -> bool:
        if not self.process.running:
            raise RuntimeError(f"the stand-in for Oracle ended:\n{self.process.tail()}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _forget(self) -> None:
        with self._client:
            for link in self._links.values():
                with suppress(Exception):
                    link.close()
            self._links.clear()

    # --- the vendor's driver ------------------------------------------------------------------------------------------

    def connect(self, user: str = "SYSTEM", password: str = PASSWORD) -> Any:
        import oracledb

        return oracledb.connect(user=user, password=password, dsn=f"127.0.0.1:{self.port}/{SERVICE}")

    @contextmanager
    def session(self, user: str = "SYSTEM", password: str = PASSWORD) -> Iterator[Any]:
        """A connection of the vendor's driver, closed at the end."""
        with closing(self.connect(user, password)) as connection:
            yield connection

    def query(self, sql: str, binds: Sequence[Any] = (), user: str = "SYSTEM", password: str = PASSWORD) -> list[Any]:
        """The rows of one statement, committed; LOBs as texts and bytes."""
        with self._client:
            if user not in self._links:
                self._links[user] = self.connect(user, password)
            link = self._links[user]
            with closing(link.cursor()) as cursor:
                cursor.execute(sql, list(binds), fetch_lobs=False, fetch_decimals=True)
                rows = cursor.fetchall() if cursor.description else []
            link.commit()
            return list(rows)

    def run(self, script: str, user: str = "SYSTEM", password: str = PASSWORD) -> None:
        """Statements, each ended by a line with a slash."""
        for sql in script.split("\n/\n"):
            if sql.strip():
                self.query(sql.strip().removesuffix("\n/"), user=user, password=password)

    def order(self, **fault: Any) -> None:
        """Something that is to go wrong (tests/emulators/oracle/faults.py)."""
        self.query(f"STAND {literal(json.dumps(fault))}")

    def clear_orders(self) -> None:
        self.order(kind="clear")

    def grammar(self) -> tuple[str, str]:
        """node, and the folder of the grammar that it reads by."""
        settings = json.loads((self.folder / "settings.json").read_text())
        return settings["node"], settings["grammar"]

    def statements(self) -> list[str]:
        """All that we sent to it."""
        file = self.folder / "statements.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def create_database(self, name: str) -> None:
        """An empty schema of that name, which is a user's."""
        self.create_user(name, PASSWORD, "CREATE SESSION")

    def create_user(self, name: str, password: str, *grants: str) -> dict[str, str]:
        """A user, with a schema of that name, and just these grants; returns its connection parameters."""
        self.drop_user(name)
        self.query(f'CREATE USER "{name}" IDENTIFIED BY "{password}"')
        for grant in grants:
            self.query(f'GRANT {grant} TO "{name}"')
        return self.parameters(name, password)

    def drop_user(self, name: str) -> None:
        link = self._links.pop(name, None)
        if link is not None:
            link.close()
        if self.query("SELECT USERNAME FROM ALL_USERS WHERE USERNAME = :1", [name]):
            self.query(f'DROP USER "{name}" CASCADE')
