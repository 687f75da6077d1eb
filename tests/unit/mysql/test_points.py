"""Points that a user may name, on real servers: between two transactions of the log as it is, and nowhere else."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.servers.mysql import MySQL
from tests.unit.mysql.moving import SOURCE, make, now
from whimbrel.connectors.mysql.source.log import file_and_offset
from whimbrel.connectors.mysql.source.reading import MySQLSource
from whimbrel.errors import PositionForeign, PositionLost
from whimbrel.model.job import Job

FOREIGN = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"


def events(server: MySQL, file: str) -> list[tuple[int, str]]:
    """Offset and kind of a file's events, as the client lists them."""
    rows = (line.split("\t") for line in server.client(f"SHOW BINLOG EVENTS IN '{file}'").splitlines())
    return [(int(row[1]), row[2]) for row in rows if len(row) > 4 and row[1].isdigit()]


def test_places_in_files(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY);")
    server.client("FLUSH BINARY LOGS")
    server.client("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2);", SOURCE)
    here = now(job)
    file, end = file_and_offset(here)
    base, _, number = file.rpartition(".")
    found = events(server, file)
    begin = next(at for at, kind in found if kind in ("Gtid", "Anonymous_Gtid"))
    inside = next(at for at, kind in found if kind in ("Table_map", "Annotate_rows"))
    with closing(MySQLSource(job.source, "op")) as source:

        def ask(text: str) -> None:
            source.require_point(source.parse_position(text))

        for good in (f"{file}:{begin}", f"{file}:{end}", f"{file}:4"):
            ask(good)
        for text, why in (
            (f"{file}:{inside}", "middle of a transaction"),
            (f"{file}:{begin + 1}", "begins there"),
            (f"{file}:{end + 1_000_000}", "ends at"),
            (f"{base}.{int(number) + 7:06d}:4", "newest is"),
            (f"elsewhere.{number}:4", "newest is"),
        ):
            with pytest.raises(PositionForeign, match=why):
                ask(text)
        server.client("FLUSH BINARY LOGS")
        ask(f"{file}:{begin}")
        with pytest.raises(PositionLost, match="no longer has"):
            ask(f"{base}.000000:4")


def test_mysql_gtid_sets(server: MySQL, job: Job) -> None:
    if server.flavor == "mariadb":
        pytest.skip("MariaDB's GTIDs are positions of domains")
    make(server, "CREATE TABLE t (id INT PRIMARY KEY);")
    executed = "".join(server.client("SELECT @@global.gtid_executed").split())
    uuid = server.client("SELECT @@server_uuid").strip()
    with closing(MySQLSource(job.source, "op")) as source:
        source.require_point(source.parse_position(executed))
        for text in (FOREIGN, f"{executed},{FOREIGN}", f"{uuid}:1-999999999"):
            with pytest.raises(PositionForeign, match="never executed"):
                source.require_point(source.parse_position(text))


def test_mariadb_domains(server: MySQL, job: Job) -> None:
    if server.flavor != "mariadb":
        pytest.skip("MySQL has no domains")
    server.client("RESET MASTER")
    make(server, "CREATE TABLE t (id INT PRIMARY KEY);")
    old = server.client("SELECT @@gtid_binlog_pos").strip()
    server.client("SET SESSION gtid_domain_id=7; INSERT INTO t VALUES (1);", SOURCE)
    before = server.client("SELECT @@gtid_binlog_pos").strip()
    server.client("FLUSH BINARY LOGS")
    server.client("INSERT INTO t VALUES (2)", SOURCE)
    here = server.client("SELECT @@gtid_binlog_pos").strip()
    main, seventh = sorted(here.split(","))
    domain, server_id, number = main.split("-")
    try:
        with closing(MySQLSource(job.source, "op")) as source:

            def ask(text: str) -> None:
                source.require_point(source.parse_position(text))

            for good in (here, before, old):  # the last one is of a time when the domain was not there
                ask(good)
            for text, why in (
                ("1-1-999999999", "has no 1-1-999999999"),
                (f"{domain}-{server_id}-{int(number) + 1},{seventh}", "has no"),
                (f"{domain}-{int(server_id) + 1}-{number},{seventh}", "has no"),
                (main, "says nothing of domain 7"),
            ):
                with pytest.raises(PositionForeign, match=why):
                    ask(text)
            newest = server.client("SHOW MASTER STATUS").split()[0]
            server.client("FLUSH BINARY LOGS")
            for _ in range(50):
                server.client(f"PURGE BINARY LOGS TO '{newest}'")
                if len([f for f in server.client("SHOW BINARY LOGS").split() if "." in f]) <= 2:
                    break
            with pytest.raises(PositionLost, match="no longer has its log"):
                ask(old)
    finally:
        server.client("RESET MASTER")
