"""The log as the server lists it: every event once, whatever character set its statements are in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.servers.mysql import MySQL
from tests.unit.mysql.moving import SOURCE, make
from whimbrel.connectors.mysql.connection import Session
from whimbrel.connectors.mysql.source import listing, log
from whimbrel.connectors.mysql.source.listing import listed_events


def test_every_event_is_listed_once_and_read_whatever_its_bytes(
    server: MySQL, opened: Callable[..., Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_BLOCK", 7)
    server.client("FLUSH BINARY LOGS")
    make(server, "CREATE TABLE t (id INT PRIMARY KEY)")
    # a byte that is no UTF-8, in a statement that the log keeps as it came
    statement = 'CONCAT("ALTER TABLE t COMMENT \'", CHAR(0xE9 USING latin1), "\'")'
    server.client(f"SET NAMES latin1; SET @s = {statement}; PREPARE p FROM @s; EXECUTE p", SOURCE)
    server.client("".join(f"INSERT INTO t VALUES ({n});" for n in range(20)), SOURCE)
    session = opened()
    status = log.log_status(session)
    assert status is not None
    file = str(status[0])
    events = list(listed_events(session, file))
    # MariaDB has made a question mark of it on its way into the log
    assert any(("?'" if server.flavor == "mariadb" else "\udce9'") in event.info for event in events)
    found = [(event.offset, event.kind) for event in events]
    told = server.client(f"SHOW BINLOG EVENTS IN '{file}'").splitlines()
    rows = [line.split("\t") for line in told if line.startswith(f"{file}\t")]
    assert found == [(int(row[1]), row[2]) for row in rows]
    assert len(found) > 3 * 7
    (second,) = listed_events(session, file, at=found[1][0], most=1)
    assert (second.offset, second.kind) == found[1]
