"""How long a server keeps the log behind a position, by its own clock and settings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.servers.mysql import MySQL
from whimbrel.connectors.mysql.connection import connect
from whimbrel.connectors.mysql.source import log
from whimbrel.connectors.mysql.source.retention import Expiry
from whimbrel.model.position import Position

KEPT = 5000


@pytest.fixture
def kept(server: MySQL) -> Iterator[MySQL]:
    before = server.client("select @@global.binlog_expire_logs_seconds").strip()
    server.client(f"set global binlog_expire_logs_seconds = {KEPT}")
    yield server
    server.client(f"set global binlog_expire_logs_seconds = {before}")


def here(server: MySQL) -> Position:
    with closing(connect(server.parameters, "here")) as session:
        return log.current_position(session)


def test_the_age_of_a_file_counts_from_its_end(kept: MySQL) -> None:
    expiry = Expiry(kept.parameters, "age")
    position = here(kept)
    assert expiry.left(position) is None, "the newest file grows younger with each event"
    kept.client("flush binary logs")
    ended = time.time()
    time_left = expiry.left(position)
    assert time_left is not None
    assert KEPT - 10 < time_left <= KEPT
    assert expiry.left(here(kept)) is None
    kept.client("set global binlog_expire_logs_seconds = 1")
    deadline = ended + 30
    while expiry.left(position) != 0 and time.time() < deadline:
        time.sleep(0.1)
    assert expiry.left(position) == 0
    kept.client("set global binlog_expire_logs_seconds = 0")
    assert expiry.left(position) is None
