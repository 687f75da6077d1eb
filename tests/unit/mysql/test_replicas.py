"""A replica as source: what it replicates must be in its own log, or nobody would notice that it is missing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers.mysql import ClientFailed, MySQL
from tests.servers.process import wait_until
from tests.unit.mysql.moving import SOURCE, captured, make, now, reflected
from whimbrel.connectors.mysql import config
from whimbrel.connectors.mysql.checks.checking import CHECKS
from whimbrel.connectors.mysql.source import changes
from whimbrel.connectors.mysql.source.reading import MySQLSource
from whimbrel.errors import LogFormatRefused, PositionForeign, PositionLost
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.position import Position
from whimbrel.model.table import Table


@pytest.fixture
def replica(server: MySQL) -> Iterator[MySQL]:
    """A server that could become a replica of the shared one, and logs nothing of what it would replicate."""
    setting = {"log_slave_updates" if server.flavor == "mariadb" else "log_replica_updates": "OFF"}
    with tempfile.TemporaryDirectory(prefix="whimbrel-replica-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        made = MySQL(folder / "s", server.flavor, **{"server_id": "2", **setting})  # type: ignore[arg-type]
        made.start()
        try:
            yield made
        finally:
            made.stop()


def replicate(server: MySQL, replica: MySQL) -> None:
    """From the end of the primary's log on."""
    server.create_user("repl", "pw", "REPLICATION SLAVE ON *.*")
    status = "SHOW MASTER STATUS" if server.flavor == "mariadb" else "SHOW BINARY LOG STATUS"
    file, offset, *_, executed = server.client(status).rstrip("\n").split("\t")
    word = "MASTER" if server.flavor == "mariadb" else "SOURCE"
    options: tuple[str, ...] = ("HOST = '127.0.0.1'", f"PORT = {server.port}", "USER = 'repl'", "PASSWORD = 'pw'")
    options += (f"LOG_FILE = '{file}'", f"LOG_POS = {offset}")
    change = ", ".join(f"{word}_{o}" for o in options)
    if server.flavor == "mariadb":
        replica.client(f"CHANGE MASTER TO {change}; START SLAVE")
    else:  # as who makes a replica of a copy does
        replica.client(f"SET GLOBAL gtid_purged = '+{executed}'")
        replica.client(f"CHANGE REPLICATION SOURCE TO {change}, GET_SOURCE_PUBLIC_KEY = 1; START REPLICA")


def wait_for(replica: MySQL, rows: int) -> None:
    def there() -> bool:
        try:
            return replica.client(f"SELECT COUNT(*) FROM {SOURCE}.t") == f"{rows}\n"
        except ClientFailed:
            return False

    wait_until(there, 30, "the replica to have it")


def test_a_replica_is_a_source_only_if_it_logs_what_it_replicates(server: MySQL, replica: MySQL, job: Job) -> None:
    """The account has the rights that /prereqs lists, with which MariaDB does not show how replication is set up."""
    rights = ("SELECT, RELOAD, PROCESS, REPLICATION SLAVE, REPLICATION CLIENT ON *.*",)
    mover = replica.create_user("mover", "pw", *rights)
    here = replace(job, source=Endpoint("replica", replica.flavor, config.parse(replica.flavor, mover)))

    def verdict() -> str:
        name = TableName(SOURCE, "t")
        found = CHECKS.run(here.source, "source", "replication", [name])
        return next(c.status for c in found if c.id == "mysql.log_slave_updates")

    assert verdict() == ("warn" if server.flavor == "mariadb" else "ok")  # not a replica yet, as far as is seen
    replicate(server, replica)
    make(server, "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (1);")
    wait_for(replica, 1)
    assert verdict() == "fail"
    tables = reflected(here, SOURCE)
    source = MySQLSource(here.source, here.operation)
    for refused in (lambda: source.check_capture(tables), lambda: source.prepare_changes(here, tables)):
        with pytest.raises(LogFormatRefused, match="log_slave_updates"):
            refused()
    source.close()

    replica.restart_with(**{"log_slave_updates" if server.flavor == "mariadb" else "log_replica_updates": "ON"})
    assert verdict() == "ok"
    start = now(here)
    server.client("INSERT INTO t VALUES (2)", SOURCE)
    wait_for(replica, 2)
    assert inserted(here, tables, start) == [b"2"]
    failover(server, replica, job, here, tables)


def inserted(job: Job, tables: Sequence[Table], start: Position) -> list[bytes]:
    steps = [step for segment in captured(job, tables, start) for step in segment.steps]
    return [n for step in steps for n in step.data.column("id").to_pylist()]  # type: ignore[union-attr]


def failover(server: MySQL, replica: MySQL, job: Job, here: Job, tables: Sequence[Table]) -> None:
    """A stored position is refused by the server that has taken over, with the GTID by which it goes on exactly; what
    only the old one had, and what the new one no longer has, is refused too."""
    stored = now(job)
    server.client("INSERT INTO t VALUES (3)", SOURCE)
    wait_for(replica, 3)
    replica.client("STOP SLAVE" if server.flavor == "mariadb" else "STOP REPLICA")
    replica.client("INSERT INTO t VALUES (4)", SOURCE)
    with pytest.raises(PositionForeign, match="belongs to") as refused:
        changes.open_changes(here, tables, stored)
    assert f'"position": "{stored.extra}"' in refused.value.how_to_fix
    server.client("INSERT INTO t VALUES (5)", SOURCE)  # which nobody replicates any more
    ahead = now(job)
    with closing(MySQLSource(here.source, here.operation)) as source:
        point = source.parse_position(stored.extra)
        source.require_point(point)
        assert inserted(here, tables, point) == [b"3", b"4"]
        with pytest.raises(PositionForeign):
            source.require_point(source.parse_position(ahead.extra))
        replica.client("FLUSH BINARY LOGS; FLUSH BINARY LOGS")
        newest = now(here).text.partition(":")[0]

        def purged() -> bool:  # MariaDB keeps a file until its storage engines have said that they do not need it
            replica.client(f"PURGE BINARY LOGS TO '{newest}'")
            return len(replica.client("SHOW BINARY LOGS").splitlines()) == 1

        wait_until(purged, 30, "the log of before to be purged")
        with pytest.raises(PositionLost):
            source.require_point(source.parse_position(stored.extra))
    if server.flavor == "mariadb":  # the same server_id and domain, as any two servers have that nobody has configured
        replica.restart_with(server_id="1")
        with pytest.raises((PositionForeign, PositionLost)):
            changes.open_changes(here, tables, ahead)
        replica.client("INSERT INTO t VALUES (6)", SOURCE)
        with pytest.raises(PositionForeign, match="another server's"):  # should files and offsets agree, GTIDs do not
            changes.open_changes(here, tables, replace(now(here), extra=ahead.extra))
