"""The stand-in's process: ``python -m tests.emulators.oracle.serve settings.json``.

Settings: ``port``, ``dsn`` (PostgreSQL's superuser), ``statements`` (a file that gets each statement of ours, as JSON),
``node`` and ``grammar`` (where the grammar's package is, or null: then nothing is refused by it).
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.emulators.oracle.conversation import Connection
from tests.emulators.oracle.engine import Database
from tests.emulators.oracle.grammar import Grammar, exempt
from tests.emulators.oracle.sql import Refused

OURS: Final = "whimbrel"  # how the program's name begins whose statements the grammar reads


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.database = Database(settings["dsn"])
        self.numbers = iter(range(1, 1 << 30))
        self.grammar = Grammar(settings["node"], settings["grammar"]) if settings.get("grammar") else None
        self._writing = threading.Lock()
        super().__init__(("127.0.0.1", settings["port"]), Connection)

    def password(self, user: str) -> str | None:
        row = self._ask('select password from "SYS".users where name = %s', user)
        return str(row[0]) if row else None

    def may_log_in(self, user: str) -> bool:
        sql = """select 1 from "SYS".users u where name = %s and (dba or exists (select from "SYS".system_privileges p
            where p.grantee = u.name and p.privilege in ('CREATE SESSION', 'CONNECT')))"""
        return self._ask(sql, user) is not None

    def _ask(self, sql: str, user: str) -> tuple[Any, ...] | None:
        with psycopg.connect(self.database.dsn, autocommit=True) as connection:
            return connection.execute(sql.encode(), [user]).fetchone()

    def look_at(self, sql: str, program: str) -> None:
        """Write down what we send, and let the grammar refuse it."""
        if not program.startswith(OURS):
            return
        with self._writing, Path(self.settings["statements"]).open("a") as file:
            file.write(json.dumps(sql) + "\n")
        if self.grammar is None or exempt(sql):
            return
        said = self.grammar.refusal(sql)
        if said is not None:
            raise Refused(900, f"invalid SQL statement: {said}")


def main() -> None:
    Server(json.loads(Path(sys.argv[1]).read_text())).serve_forever()


if __name__ == "__main__":
    main()
