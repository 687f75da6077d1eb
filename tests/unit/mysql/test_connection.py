"""Parameters, sessions and errors, on real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pymysql
import pytest

from tests.servers.mysql import MySQL
from tests.servers.process import free_port, wait_until
from whimbrel import errors
from whimbrel.connectors.mysql import ENGINE, config
from whimbrel.connectors.mysql.connection import (
    Session,
    connect,
    end_sessions,
    execute,
    mapped,
    query,
    quote_identifier,
    quote_literal,
    sessions,
)
from whimbrel.connectors.mysql.refusals import server_refusal
from whimbrel.connectors.mysql.source.schema import reflect
from whimbrel.connectors.mysql.target.infile import infile_clause, load_local
from whimbrel.connectors.mysql.target.writing import MySQLTarget
from whimbrel.model.job import Endpoint, Job
from whimbrel.model.names import TableName
from whimbrel.model.table import Index

GIVEN = {"host": "h", "user": "u", "password": "p"}


def test_parse_fills_defaults_and_reads_aliases() -> None:
    assert config.parse("mysql", {"host": "h", "username": "u", "password": "", "port": "3307"}) == {
        "host": "h",
        "user": "u",
        "password": "",
        "port": 3307,
        "ssl_mode": "preferred",
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"host": ""}, "host"),
        ({"user": None}, "user"),
        ({"port": 0}, "port"),
        ({"port": True}, "port"),
        ({"port": "x"}, "port"),
        ({"ssl_mode": "maybe"}, "ssl_mode"),
        ({"database": ""}, "database"),
        ({"password": 7}, "password"),
        ({"sslmode": "require"}, "sslmode"),
        ({"username": "twice"}, "username"),
    ],
)
def test_parse_names_the_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        config.parse("mariadb", {**GIVEN, **change})
    assert caught.value.details["field"] == f"parameters.{field}"


def test_test_names_the_server(server: MySQL, parameters: dict[str, Any]) -> None:
    info = ENGINE.test(Endpoint("a", server.flavor, parameters))
    version = server.client("SELECT VERSION()").partition("-")[0].strip()
    assert info.title == f"{'MariaDB' if server.flavor == 'mariadb' else 'MySQL'} {version}"
    assert info.flavor == server.flavor
    assert info.identity


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"password": "wrong-one"}, errors.AuthenticationFailed),
        ({"database": "no_such_database"}, errors.DatabaseMissing),
        ({"host": "no-such-host.invalid"}, errors.HostUnreachable),
        ({"ssl_mode": "verify_ca"}, errors.TlsFailed),
        ({"ssl_mode": "verify_ca", "ssl_ca": "/no/such/file"}, errors.TlsFailed),
    ],
)
def test_refused_connections(
    server: MySQL, parameters: dict[str, Any], change: dict[str, Any], expected: type[errors.WhimbrelError]
) -> None:
    with pytest.raises(expected) as caught:
        ENGINE.test(Endpoint("a", server.flavor, {**parameters, **change}))
    assert "wrong-one" not in str(caught.value.to_json())


def test_closed_port(parameters: dict[str, Any]) -> None:
    with pytest.raises(errors.HostUnreachable):
        connect({**parameters, "port": free_port()}, "x")


def test_sessions_speak_utc_strictly(opened: Callable[..., Session]) -> None:
    mode, zone, charset = query(
        opened(), "SELECT @@session.sql_mode, @@session.time_zone, @@session.character_set_connection"
    )[0]
    assert "STRICT_ALL_TABLES" in mode
    assert "NO_ZERO_DATE" not in mode
    assert (zone, charset) == ("+00:00", "utf8mb4")


@pytest.fixture
def peculiar(server: MySQL) -> Iterator[None]:
    """A server whose defaults are nobody's, with a table ``odd.t``."""
    odd = {"autocommit": "0", "completion_type": "1", "foreign_key_checks": "0", "sql_notes": "0"}
    odd |= {"innodb_lock_wait_timeout": "1", "max_error_count": "0", "sql_mode": "''", "sql_safe_updates": "1"}
    odd["tx_isolation" if server.flavor == "mariadb" else "transaction_isolation"] = "'SERIALIZABLE'"
    odd["tx_read_only" if server.flavor == "mariadb" else "transaction_read_only"] = "1"
    server.client("DROP DATABASE IF EXISTS odd; CREATE DATABASE odd; CREATE TABLE odd.t (id INT PRIMARY KEY, v INT)")
    known = {}
    for name, value in odd.items():
        if name != "sql_notes" or server.flavor == "mysql":  # MariaDB has it for sessions only
            known[name] = server.client(f"SELECT @@global.{name}").strip()
            server.client(f"SET GLOBAL {name} = {value}")
    yield
    server.client(";".join(f"SET GLOBAL {name} = {v if v.isdigit() else repr(v)}" for name, v in known.items()))


@pytest.mark.usefixtures("peculiar")
def test_sessions_rely_on_nothing_that_is_set_for_the_whole_server(
    server: MySQL, opened: Callable[..., Session], job: Job
) -> None:
    """A question keeps no table locked, so that its indexes can be built by another session."""
    isolation = "tx_isolation" if server.flavor == "mariadb" else "transaction_isolation"
    names = ["autocommit", "completion_type", "foreign_key_checks", "sql_notes", isolation]
    shown = ", ".join(f"@@session.{n}" for n in names)
    expected = (1, "NO_CHAIN", 1, 1, "REPEATABLE-READ")
    assert query(opened(role="target"), f"SELECT {shown}") == [expected]
    assert query(opened(autocommit=False), "SELECT @@session.autocommit") == [(0,)]
    with closing(MySQLTarget(job.target, "one")) as one, closing(MySQLTarget(job.target, "two")) as two:
        there = reflect(one.session, [TableName("odd", "t")])
        assert one.nonempty([TableName("odd", "t")]) == ()
        wanted = replace(there[0], indexes=(Index("by_v", ("v",)),))
        two.finisher.indexes(wanted, wanted, lambda: False)
        with closing(one.ledger("odd")) as ledger:
            assert ledger.claim() > 0
    assert "by_v" in server.client("SHOW CREATE TABLE odd.t")


def test_end_sessions_finds_only_its_operation_and_side(
    opened: Callable[..., Session], parameters: dict[str, Any]
) -> None:
    doomed = [opened("op-1", role="target") for _ in range(3)]
    other, source = opened("op-2", role="target"), opened("op-1")
    assert len(sessions(other, "op-1", "target")) == 3
    assert end_sessions(parameters, "op-1", "target") == 3
    assert end_sessions(parameters, "op-1", "target") == 0
    assert query(other, "SELECT 1") == query(source, "SELECT 1") == [(1,)]
    with pytest.raises(errors.TargetInterrupted), mapped("target"):
        execute(doomed[0], "SELECT 1")
    doomed[0].close()
    doomed[0].close()


def test_end_sessions_needs_no_privilege(server: MySQL) -> None:
    low = config.parse(server.flavor, server.create_user("low_user", "low-pw", "SELECT ON *.*"))
    with closing(connect(low, "op-3")):
        assert end_sessions(low, "op-3", "source") == 1


def test_a_lost_client_leaves_nothing_to_find(opened: Callable[..., Session]) -> None:
    watcher, lost = opened("op-4"), opened("op-5")
    assert sessions(watcher, "op-5", "source")
    lost._sock.close()
    lost._force_close()
    wait_until(lambda: not sessions(watcher, "op-5", "source"), 10, "the server to notice")


def test_errors_never_carry_values() -> None:
    messages = {
        1062: "Duplicate entry 'hush-hush' for key 't.PRIMARY'",
        1366: "Incorrect integer value: 'hush-hush for column x' for column `d`.`t`.`c` at row 7",
        1292: "Incorrect datetime value: 'hush-hush' for column 'c' at row 1",
        1300: "Invalid utf8mb4 character string: 'hush-hush'",
        3140: "Invalid JSON text: \"hush-hush\" at position 0 in value for column 't.c'.",
        1064: "You have an error in your SQL syntax near 'hush-hush' at line 1",
        1406: "Data too long for column 'c' at row 3",
    }
    for number, text in messages.items():
        found = server_refusal(pymysql.err.DataError(number, text), "target", "d.t")
        assert "hush-hush" not in str(found.to_json()), number
        assert found.message.startswith("d.t")
    found = server_refusal(pymysql.err.DataError(1366, messages[1366]), "target", "d.t")
    assert (found.extra["column"], found.extra["line"]) == ("c", 7)


@pytest.mark.parametrize(
    ("number", "text", "expected"),
    [
        (1142, "SELECT command denied", errors.TargetPermissionDenied),
        (1146, "Table 'd.t' doesn't exist", errors.TableMissing),
        (1213, "Deadlock found", errors.TargetInterrupted),
        (1205, "Lock wait timeout exceeded", errors.TargetInterrupted),
        (2013, "Lost connection", errors.TargetInterrupted),
        (1114, "The table 't' is full", errors.TargetFull),
        (1026, "Error writing file 'x' (Errcode: 28 \"No space left on device\")", errors.TargetFull),
        (1030, "Got error 28 from storage engine", errors.TargetFull),
        (1030, "Got error 122 from storage engine", errors.LoaderFailed),
        (3948, "Loading local data is disabled", errors.LoaderFailed),
    ],
)
def test_numbers_and_leaves(number: int, text: str, expected: type[errors.WhimbrelError]) -> None:
    assert type(server_refusal(pymysql.err.OperationalError(number, text), "target")) is expected


def test_only_our_stream_is_sent(server: MySQL, opened: Callable[..., Session]) -> None:
    server.create_database("infile")
    server.client("CREATE TABLE infile.t (a VARCHAR(100))")
    session = opened(local_infile=True)
    with pytest.raises(RuntimeError):
        execute(session, "LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE infile.t")
    session = opened(local_infile=True)
    with pytest.raises(errors.LoaderFailed):
        load_local(session, "LOAD DATA LOCAL INFILE '/etc/hostname' INTO TABLE infile.t", [b"x\n"])
    assert server.client("SELECT COUNT(*) FROM infile.t") == "0\n"


def test_a_broken_stream_loads_nothing(server: MySQL, opened: Callable[..., Session]) -> None:
    server.create_database("infile")
    server.client("CREATE TABLE infile.t (a INT) ENGINE=InnoDB")
    session = opened(local_infile=True)

    def blocks() -> Any:
        yield b"1\n2\n"
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        load_local(session, f"LOAD DATA {infile_clause()} INTO TABLE infile.t", blocks())
    assert not session.open
    assert server.client("SELECT COUNT(*) FROM infile.t") == "0\n"


def test_quoting(opened: Callable[..., Session]) -> None:
    text = "a'b\\c\"d\n\0é😀"
    assert query(opened(), f"SELECT {quote_literal(text)}") == [(text,)]
    assert quote_identifier("a`b") == "`a``b`"
    for impossible in ("", "a\0", "a ", "😀"):
        with pytest.raises(errors.IdentifierRefused):
            quote_identifier(impossible)
