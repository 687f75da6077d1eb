"""The stream of changes itself: where it may start, what stops it, and what it leaves, on a real server."""

from __future__ import annotations

import subprocess
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.servers.mysql import MySQL
from tests.servers.process import wait_until
from tests.unit.mysql.moving import SOURCE, captured, make, now, reflected, rows_of
from whimbrel.codecs.binlog import Event
from whimbrel.codecs.changes import SegmentBuilder
from whimbrel.connectors.mysql import config
from whimbrel.connectors.mysql.connection import connect, end_sessions
from whimbrel.connectors.mysql.source import changes, log
from whimbrel.connectors.mysql.source.transactions import Follower
from whimbrel.errors import (
    LogFormatRefused,
    PositionForeign,
    PositionLost,
    SourceInterrupted,
    SourcePermissionDenied,
)
from whimbrel.model.change import DELETE
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.position import Position


def test_a_purged_log_and_a_foreign_position(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY);")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    with pytest.raises(PositionForeign):
        changes.open_changes(job, [table], replace(start, server="another"))
    file, offset = log.file_and_offset(start)
    with pytest.raises(PositionLost, match="ends before"):
        changes.open_changes(job, [table], replace(start, text=f"{file}:{offset + 10_000_000}"))
    other = "0-1-1" if server.flavor == "mariadb" else f"{start.extra},3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"
    with pytest.raises(PositionForeign, match="GTID"):
        changes.open_changes(job, [table], replace(start, extra=other))
    server.client("FLUSH BINARY LOGS; FLUSH BINARY LOGS")
    newest = now(job).text.partition(":")[0]

    def purged() -> bool:  # MariaDB keeps a file until its storage engines have said that they do not need it
        server.client(f"PURGE BINARY LOGS TO '{newest}'")
        return file not in server.client("SHOW BINARY LOGS")

    wait_until(purged, 30, f"{file} purged")
    with pytest.raises(PositionLost, match=file):
        changes.open_changes(job, [table], start)


def test_a_log_that_was_reset_is_another_one(server: MySQL, job: Job) -> None:
    """Files and transactions are numbered from one again: only what stands at the place tells the two logs apart."""
    reset = "RESET MASTER" if server.flavor == "mariadb" else "RESET BINARY LOGS AND GTIDS"
    server.client(reset)
    make(server, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT);")
    server.client("FLUSH BINARY LOGS")
    table, begun = reflected(job, SOURCE)[0], now(job)
    server.client("INSERT INTO t VALUES (1, 'a'); INSERT INTO t VALUES (2, 'b')", SOURCE)
    middle = now(job)
    server.client("INSERT INTO t VALUES (3, 'c')", SOURCE)
    for start in (begun, middle, now(job)):
        changes.open_changes(job, [table], start).close()

    server.client(reset)
    rows = [f"INSERT INTO t VALUES ({n}, REPEAT('x', {500 + n}));" for n in range(10, 50)]
    server.client(f"{''.join(rows[:20])} FLUSH BINARY LOGS; {''.join(rows[20:])}", SOURCE)
    file, offset = log.file_and_offset(middle)
    assert log.file_and_offset(begun)[0] == file
    begins = [int(pos) for pos, kind in _events(server, file) if kind == "Gtid" and int(pos) >= offset]
    earlier = [int(pos) for pos, kind in _events(server, "binlog.000001") if kind == "Gtid"]
    places = [(file, begins[0]), ("binlog.000001", earlier[1]), ("binlog.000001", earlier[1] + 1)]
    for text in (begun.text, middle.text, *(f"{name}:{at}" for name, at in places)):
        with pytest.raises(PositionForeign, match="reset"):
            changes.open_changes(job, [table], replace(middle, text=text))


def _events(server: MySQL, file: str) -> list[list[str]]:
    """Where each event of a log file begins, and its kind."""
    return [line.split("\t")[1:3] for line in server.client(f"SHOW BINLOG EVENTS IN '{file}'").splitlines()]


def _read_on(stream: changes.BinlogStream, start: Position) -> None:
    """Read until the stream raises; the test's own time limit ends it otherwise."""
    while True:
        stream.read(SegmentBuilder(start), 5.0, 1 << 20)


def read_from(job: Job, start: Position) -> Position:
    """Where reading all changes from there on ends."""
    return captured(job, reflected(job, SOURCE), start)[-1].position


def test_a_position_knows_when_its_file_was_begun(server: MySQL, job: Job) -> None:
    """Wherever in it a dump begins: a copy of a server has the same files and GTIDs, up to where it was started."""
    make(server, "CREATE TABLE t (id INT PRIMARY KEY);")
    start = now(job)
    server.client("INSERT INTO t VALUES (1)", SOURCE)
    first = read_from(job, start)
    server.client("INSERT INTO t VALUES (2)", SOURCE)
    second = read_from(job, first)
    assert start.began == 0 < first.began == second.began
    assert Position.from_json(second.to_json()) == second
    began = server.client("SELECT UNIX_TIMESTAMP()").strip()
    server.client("FLUSH BINARY LOGS; INSERT INTO t VALUES (3)", SOURCE)
    third = read_from(job, second)
    assert int(began) <= third.began <= int(began) + 20
    server.client("INSERT INTO t VALUES (4)", SOURCE)
    with pytest.raises(PositionForeign, match="copy of that server"):
        read_from(job, replace(third, began=third.began - 1))


@pytest.mark.long
def test_a_copy_of_a_server_is_told_from_it_once_both_have_gone_on(server: MySQL, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="whimbrel-twins-") as name:
        Path(name).chmod(0o711)
        first = MySQL(Path(name) / "a", server.flavor).start()
        end = Endpoint("a", first.flavor, config.parse(first.flavor, first.parameters))
        job = Job("m", "twins", end, end, (), tmp_path)
        make(first, "CREATE TABLE t (id INT PRIMARY KEY);")
        at = read_from(job, now(job))
        first.stop()
        twin = MySQL(Path(name) / "b", server.flavor)
        subprocess.run(["cp", "-a", f"{first.folder}/.", str(twin.folder)], check=True)
        index = twin.data / "binlog.index"
        index.write_text(index.read_text().replace(str(first.folder), str(twin.folder)))
        first.start()
        try:
            first.client("INSERT INTO t VALUES (1)", SOURCE)
            behind = read_from(job, at)
            first.stop()
            wait_until(lambda: time.time() > behind.began + 1, 5, "another second")
            twin.start()
            there = replace(job, source=Endpoint("b", twin.flavor, config.parse(twin.flavor, twin.parameters)))
            twin.client("INSERT INTO t VALUES (2)", SOURCE)  # as long as the other's, with the same GTID
            twin.client("INSERT INTO t VALUES (3)", SOURCE)
            assert read_from(there, at) > at, "what is common to both is read on either"
            with pytest.raises(PositionForeign, match="copy of that server"):
                read_from(there, behind)
        finally:
            first.stop()
            twin.stop()


def test_closing_and_cleanup_leave_no_session(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY);")
    table = reflected(job, SOURCE)[0]
    start = now(job)

    def dumps() -> int:
        shown = server.client("SHOW PROCESSLIST")
        return shown.count("Binlog Dump")

    stream = changes.open_changes(job, [table], start)
    assert dumps() == 1
    stream.close()
    stream.close()
    wait_until(lambda: dumps() == 0, 5, "the dump ended")
    stream = changes.open_changes(job, [table], start)
    assert end_sessions(job.source.parameters, job.operation, "source") == 2
    wait_until(lambda: dumps() == 0, 5, "the dump was killed")
    with pytest.raises(SourceInterrupted):
        _read_on(stream, start)
    stream.close()


def test_a_second_stream_of_the_operation_ends_the_first(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY);")
    table = reflected(job, SOURCE)[0]
    start = now(job)
    zombie = changes.open_changes(job, [table], start)
    with closing(changes.open_changes(job, [table], start)) as newer:
        with pytest.raises(SourceInterrupted):
            _read_on(zombie, start)
        server.client("INSERT INTO t VALUES (1)", SOURCE)
        builder = SegmentBuilder(start)
        while not builder.transactions:
            assert newer.read(builder, 10.0, 1 << 20)
    zombie.close()


def test_missing_grants_are_named(server: MySQL, job: Job) -> None:
    make(server, "CREATE TABLE t (id INT PRIMARY KEY);")
    monitor = "BINLOG MONITOR" if server.flavor == "mariadb" else "REPLICATION CLIENT"
    for grants, missing in (((), "REPLICATION CLIENT"), ((f"{monitor} ON *.*",), "REPLICATION SLAVE")):
        parameters = {**job.source.parameters, **server.create_user("weak", "pw", "SELECT ON *.*", *grants)}
        with pytest.raises(SourcePermissionDenied, match=missing):
            log.check_capture(parameters, "check", ())
    parameters = {**job.source.parameters, **server.create_user("weak", "pw", "REPLICATION SLAVE ON *.*", *grants)}
    log.check_capture(parameters, "check", ())
    weak = replace(job, source=Endpoint("weak", server.flavor, parameters))
    with closing(connect(weak.source.parameters, "x")) as session:
        assert log.current_position(session).order == now(job).order


def test_settings_that_stop_capture_are_named(server: MySQL, job: Job) -> None:
    for name, value in (("binlog_format", "MIXED"), ("binlog_row_image", "NOBLOB")):
        before = server.client(f"SELECT @@global.{name}").strip()
        server.client(f"SET GLOBAL {name} = '{value}'")
        try:
            with pytest.raises(LogFormatRefused, match=name):
                log.check_capture(job.source.parameters, "check", ())
        finally:
            server.client(f"SET GLOBAL {name} = '{before}'")
    log.check_capture(job.source.parameters, "check", ())


def test_cascades_that_the_log_does_not_show_are_refused(server: MySQL, job: Job) -> None:
    make(
        server,
        "CREATE TABLE p (id INT PRIMARY KEY); CREATE TABLE c (id INT PRIMARY KEY, p INT,"
        " CONSTRAINT gone FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE);"
        "INSERT INTO p VALUES (1); INSERT INTO c VALUES (10, 1);",
    )
    tables = reflected(job, SOURCE)
    start = now(job)
    server.client("DELETE FROM p", SOURCE)
    shown = rows_of(captured(job, tables, start), "c")
    if shown:
        assert shown == [(DELETE, "10", None)]
        log.check_capture(job.source.parameters, "check", tables)
    else:
        with pytest.raises(LogFormatRefused, match=r"c\.gone"):
            log.check_capture(job.source.parameters, "check", tables)


def test_offsets_beyond_four_gibibytes() -> None:
    start = log.position("s", "binlog.000009", (1 << 32) - 100)
    follower = Follower({}, None, start, checksums=False, mariadb=False)  # type: ignore[arg-type]
    follower._skip_to = 0
    follower._move(Event(16, 0, 50, False, b""))
    assert follower.position.order == (9, (1 << 32) + 50)
    follower._move(Event(16, 0, 90, False, b""))
    assert follower.position.order == (9, (1 << 32) + 90)
    assert log.position("s", "binlog.1000000", 4).order > log.position("s", "binlog.999999", 1 << 33).order
