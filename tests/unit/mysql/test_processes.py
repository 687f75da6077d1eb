"""The server's other sessions are seen whatever they are running."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from tests.servers.mysql import MySQL
from tests.servers.process import wait_until
from whimbrel.connectors.mysql.connection import at_work, connect, end_sessions, sessions
from whimbrel.connectors.mysql.processes import processes

BIRD = "select sleep(30), '🐦 beyond the server''s own utf8mb3'"


def test_beside_a_statement_with_any_character(server: MySQL, parameters: dict[str, Any]) -> None:
    server.create_user("birds", "bird-pw", "USAGE ON *.*")
    flying = server.client_beside(BIRD, "birds", "bird-pw")
    try:
        with closing(connect(parameters, "watching")) as session, closing(connect(parameters, "watched")) as other:
            wait_until(lambda: any("🐦" in p.statement for p in processes(session)), 10, "the statement to be seen")
            seen = next(p for p in processes(session) if p.user == "birds")
            assert (seen.executing, seen.statement[:12]) == (True, BIRD[:12])
            assert sessions(session, "watched", "source") == (other.thread_id(),)
            assert at_work(parameters, "watched", "source") == 0
            assert end_sessions(parameters, "watched", "source") == 1
            assert sessions(session, "watched", "source") == ()
    finally:
        flying.terminate()
        flying.wait(10)
