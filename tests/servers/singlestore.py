"""A private stand-in for SingleStore (tests/emulators/singlestore) before a private MySQL, and the vendor's client,
which tells what is there."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.servers.mysql import MySQL
from tests.servers.process import Process, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
PASSWORD = "stand-pw"


class StandMissing(Exception):
    """The client is not installed; the text says so."""


class SingleStore:
    """One stand-in with its MySQL in ``folder``. ``certificate`` and ``key`` are files for TLS, if any.

    MySQL's root is the account ``root`` with ``PASSWORD``; ``create_user`` makes others.
    """

    def __init__(self, folder: Path, *, certificate: Path | None = None, key: Path | None = None) -> None:
        if importlib.util.find_spec("singlestoredb") is None:
            raise StandMissing("singlestoredb is not installed (make setup)")
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.mysql = MySQL(
            self.folder / "mysql", "mysql", password=PASSWORD, log_bin="OFF", local_infile="ON", mysqlx="OFF"
        )
        self.port = free_port()
        self.accounts = {"root": PASSWORD}
        settings = {
            "port": self.port,
            "socket": str(self.mysql.socket),
            "accounts": str(self.folder / "accounts.json"),
            "statements": str(self.folder / "statements.jsonl"),
            "certificate": str(certificate) if certificate else None,
            "key": str(key) if key else None,
        }
        (self.folder / "settings.json").write_text(json.dumps(settings))
        self._write_accounts()
        argv = [sys.executable, "-m", "tests.emulators.singlestore.serve", str(self.folder / "settings.json")]
        env = {"PATH": os.defpath, "HOME": str(self.folder), "TZ": "UTC", "PYTHONUNBUFFERED": "1"}
        self.process = Process(argv, self.folder / "proxy.log", env=env, cwd=ROOT)
        self._client = threading.Lock()
        self._link: Any = None

    def parameters(self, database: str = "shop") -> dict[str, str]:
        """What a target of the API would be given."""
        given = {"host": "127.0.0.1", "port": str(self.port), "user": "root", "password": PASSWORD}
        return {**given, "ssl_mode": "disabled", "database": database}

    def start(self) -> SingleStore:
        self.mysql.start()
        self.process.start()
        wait_until(self._answers, START_SECONDS, "the stand-in for SingleStore to answer")
        return self

    def stop(self) -> None:
        self._forget()
        self.process.stop()
        self.mysql.stop()

    def kill(self) -> None:
        """SIGKILL of the server behind: what was committed is there after the next start, sessions are not."""
        self._forget()
        self.mysql.kill()
        self.process.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _answers(self) -> bool:
        if not self.process.running:
            raise RuntimeError(f"the stand-in for SingleStore ended:\n{self.process.tail()}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _write_accounts(self) -> None:
        (self.folder / "accounts.json").write_text(json.dumps(self.accounts))

    def _forget(self) -> None:
        with self._client:
            link, self._link = self._link, None
            if link is not None:
                with suppress(Exception):
                    link.close()

    # --- the vendor's client ------------------------------------------------------------------------------------------

    @contextmanager
    def session(self, **settings: Any) -> Iterator[Any]:
        """A connection of the vendor's client, closed at the end."""
        with closing(self.connect(**settings)) as connection:
            yield connection

    def connect(self, **settings: Any) -> Any:
        from singlestoredb.connection import connect

        given = {"host": "127.0.0.1", "port": self.port, "user": "root", "password": PASSWORD, "autocommit": True}
        return connect(**{"parse_json": False, "pure_python": True, **given, **settings})

    def query(self, sql: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """The rows of one statement."""
        with self._client:
            if self._link is None:
                self._link = self.connect()
            with closing(self._link.cursor()) as cursor:
                if database:
                    cursor.execute(f"use `{database}`")
                cursor.execute(sql)
                return [tuple(row) for row in cursor.fetchall() or ()]

    def order(self, **fault: Any) -> None:
        """Something that is to go wrong (tests/emulators/singlestore/faults.py)."""
        self.query(f"STAND {json.dumps(fault)}")

    def clear_orders(self) -> None:
        self.query("STAND clear")

    def statements(self) -> list[str]:
        """All that was sent to it."""
        text = (self.folder / "statements.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def create_database(self, name: str) -> None:
        """An empty database; one of that name is dropped first."""
        quoted = "`" + name.replace("`", "``") + "`"
        self.query(f"drop database if exists {quoted}")
        self.query(f"create database {quoted}")

    def create_user(self, name: str, password: str, *grants: str) -> dict[str, str]:
        """An account with just these grants (``"SELECT ON *.*"``); returns its connection parameters."""
        self.mysql.create_user(name, password, *grants)
        self.accounts[name] = password
        self._write_accounts()
        return {**self.parameters(), "user": name, "password": password}
