"""A replica as source: what it replicates must be in its own log, or nobody would notice that it is missing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers.mysql import ClientFailed, MySQL
from tests.servers.process import wait_until
from tests.unit.mysql.moving import SOURCE, captured, make, now, reflected
from whimbrel.connectors.mysql import config
from whimbrel.connectors.mysql.checks import CHECKS
from whimbrel.connectors.mysql.source import MySQLSource
from whimbrel.errors import LogFormatRefused
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName


@pytest.fixture
def replica(server: MySQL) -> Iterator[MySQL]:
    """A server that could become a replica of the shared one, and logs nothing of what it would replicate."""
    setting = {"log_slave_updates" if server.flavor == "mariadb" else "log_replica_updates": "OFF"}
    with tempfile.TemporaryDirectory(prefix="whimbrel-replica-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        made = MySQL(folder / "s", server.flavor, server_id="2", **setting)
        made.start()
        try:
            yield made
        finally:
            made.stop()


def replicate(server: MySQL, replica: MySQL) -> None:
    """From the end of the primary's log on."""
    server.create_user("repl", "pw", "REPLICATION SLAVE ON *.*")
    status = "SHOW MASTER STATUS" if server.flavor == "mariadb" else "SHOW BINARY LOG STATUS"
    file, offset = server.client(status).split("\t")[:2]
    word = "MASTER" if server.flavor == "mariadb" else "SOURCE"
    options = ("HOST = '127.0.0.1'", f"PORT = {server.port}", "USER = 'repl'", "PASSWORD = 'pw'")
    options += (f"LOG_FILE = '{file}'", f"LOG_POS = {offset}")
    change = ", ".join(f"{word}_{o}" for o in options)
    if server.flavor == "mariadb":
        replica.client(f"CHANGE MASTER TO {change}; START SLAVE")
    else:
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
    rows = captured(here, tables, start)[-1].steps[0]
    assert rows.data.column("id").to_pylist() == [b"2"]  # type: ignore[union-attr]
