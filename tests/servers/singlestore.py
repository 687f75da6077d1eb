"""A private stand-in for SingleStore (tests/emulators/singlestore) before a private MySQL, and the vendor's client,
which tells what is there."""

from __future__ import annotations

import importlib.util
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Self

from tests.servers.mysql import MySQL
from tests.servers.process import free_port
from tests.servers.stand import Stand, StandMissing

MODULE = "tests.emulators.singlestore.serve"
PASSWORD = "stand-pw"


class SingleStore(Stand):
    """One stand-in with its MySQL in ``folder``. ``certificate`` and ``key`` are files for TLS, if any.

    MySQL's root is the account ``root`` with ``PASSWORD``; ``create_user`` makes others.
    """

    title: ClassVar[str] = "SingleStore"

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
        self._write_accounts()
        self.process = self.child(
            sys.executable, "tests.emulators.singlestore.serve", settings, self.folder, "proxy.log"
        )
        self._client = threading.Lock()
        self._link: Any = None

    def parameters(self, database: str = "shop") -> dict[str, str]:
        """What a target of the API would be given."""
        given = {"host": "127.0.0.1", "port": str(self.port), "user": "root", "password": PASSWORD}
        return {**given, "ssl_mode": "disabled", "database": database}

    def start(self) -> Self:
        self.mysql.start()
        return super().start()

    def stop(self) -> None:
        super().stop()
        self.mysql.stop()

    def kill(self) -> None:
        """SIGKILL of the server behind: what was committed is there after the next start, sessions are not."""
        self.mysql.kill()
        super().kill()

    def _write_accounts(self) -> None:
        (self.folder / "accounts.json").write_text(json.dumps(self.accounts))

    def _forget_connections(self) -> None:
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
