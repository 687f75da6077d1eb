"""Parameters, sessions, quoting, and what each refusal of a server becomes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from tests.servers.postgres import Postgres, ServerMissing, running
from tests.servers.process import free_port
from whimbrel import errors
from whimbrel.connectors.postgres import ENGINE
from whimbrel.connectors.postgres.connection import connect, identifier, literal, mapped
from whimbrel.model.job import Endpoint

PASSWORD = "correct ' \\ : horse"
GIVEN = {"host": "h", "username": "u", "password": "p", "database": "d", "port": "6543"}


def test_parse_resolves_aliases_and_fills_defaults() -> None:
    assert ENGINE.parse("postgres", GIVEN) == {
        "host": "h",
        "user": "u",
        "password": "p",
        "database": "d",
        "port": 6543,
        "sslmode": "prefer",
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"hots": "x"}, "hots"),
        ({"password": None}, "password"),
        ({"database": ""}, "database"),
        ({"port": 0}, "port"),
        ({"port": "5432x"}, "port"),
        ({"port": True}, "port"),
        ({"user": "again"}, "user"),
        ({"host": 7}, "host"),
        ({"sslmode": "maybe"}, "sslmode"),
        ({"sslrootcert": 1}, "sslrootcert"),
    ],
)
def test_parse_names_the_field_it_refuses(change: dict[str, Any], field: str) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        ENGINE.parse("postgres", {**GIVEN, **change})
    assert caught.value.details["field"] == f"parameters.{field}"
    assert "correct" not in caught.value.message


@pytest.fixture(scope="module")
def guarded() -> Iterator[Postgres]:
    """A server that wants a password."""
    try:
        with running("15", auth="scram-sha-256", password=PASSWORD) as started:
            started.psql("create role reader login password 'reader'; create table secret (a int primary key, b text)")
            yield started
    except ServerMissing as e:
        pytest.skip(str(e))


def test_test_names_server_and_version(guarded: Postgres) -> None:
    info = ENGINE.test(Endpoint("e", "postgres", ENGINE.parse("postgres", guarded.parameters())))
    assert info.title == "PostgreSQL " + guarded.psql("show server_version").split()[0]
    assert info.identity == guarded.psql("select system_identifier from pg_control_system()")


@pytest.mark.parametrize(
    ("change", "leaf"),
    [
        ({"password": "wrong"}, errors.AuthenticationFailed),
        ({"user": "nobody at all"}, errors.AuthenticationFailed),
        ({"database": "no such db"}, errors.DatabaseMissing),
        ({"host": "no-such-host.invalid"}, errors.HostUnreachable),
        ({"port": free_port()}, errors.HostUnreachable),
        ({"sslmode": "require"}, errors.TlsFailed),
    ],
)
def test_refused_connections(guarded: Postgres, change: dict[str, Any], leaf: type[errors.WhimbrelError]) -> None:
    parameters = ENGINE.parse("postgres", {**guarded.parameters(), **change})
    with pytest.raises(leaf) as caught:
        ENGINE.test(Endpoint("e", "postgres", parameters))
    assert type(caught.value) is leaf
    assert str(parameters["host"]) in caught.value.message
    assert str(parameters["password"]) not in str(caught.value.to_json())


def test_too_many_connections_may_be_tried_again(guarded: Postgres) -> None:
    guarded.psql("create role single login connection limit 0 password 'single'")
    parameters = {**guarded.parameters(), "user": "single", "password": "single"}
    with pytest.raises(errors.HostUnreachable, match="too many connections") as caught:
        connect(parameters, "op")
    assert caught.value.retryable


def test_a_session_is_named_and_set_up(guarded: Postgres) -> None:
    with connect(guarded.parameters(), "op-1") as connection:
        row = connection.execute(
            "select current_setting('application_name'), now()::text, '1 day'::interval::text, '\\x0a'::bytea::text"
        ).fetchone()
    assert row is not None
    assert row[0] == "whimbrel:op-1"
    assert row[1].endswith("+00")
    assert row[2:] == ("1 day", "\\x0a")


def test_a_session_relies_on_nothing_that_is_set_for_the_role(guarded: Postgres) -> None:
    """Above all it may write, as a source's publication has to be made, and an error does not end it."""
    odd = {"default_transaction_read_only": "on", "default_transaction_isolation": "serializable"}
    odd |= {"exit_on_error": "on", "statement_timeout": "1", "lock_timeout": "1", "DateStyle": "SQL, DMY"}
    odd |= {
        "idle_in_transaction_session_timeout": "1",
        "extra_float_digits": "-10",
        "standard_conforming_strings": "off",
    }
    guarded.psql("create role odd login superuser password 'odd-pw'")
    for name, value in odd.items():
        guarded.psql(f"alter role odd set {name} = '{value}'")
    parameters = {**guarded.parameters(), "user": "odd", "password": "odd-pw"}
    try:
        for role in ("source", "target"):
            with closing(connect(parameters, "odd", role=role)) as connection:
                shown = [connection.execute(f"show {name}".encode()).fetchone() for name in odd]
                lock = "30s" if role == "target" else "0"
                known = ["off", "read committed", "off", "0", lock, "ISO, YMD", "0", "3", "on"]
                assert shown == [(value,) for value in known]
                with pytest.raises(psycopg.errors.DivisionByZero):
                    connection.execute("select 1 / 0")
                connection.execute("create publication odd; drop publication odd")
        with closing(connect(parameters, "odd", replication=True)) as walsender:
            assert walsender.execute("show default_transaction_read_only").fetchone() == ("off",)
    finally:
        guarded.psql("drop role odd")


@pytest.mark.parametrize(
    ("sql", "source", "target"),
    [
        ("select * from absent", errors.TableMissing, errors.TableMissing),
        ("select absent from secret", errors.SchemaMismatch, errors.SchemaMismatch),
        ("set role reader; select * from secret", errors.SourcePermissionDenied, errors.TargetPermissionDenied),
        ("insert into secret values (1, 'x'), (1, 'hidden')", errors.ExtractorFailed, errors.ValueRefused),
        ("select 'hidden'::int", errors.ExtractorFailed, errors.ValueRefused),
        ("select pg_terminate_backend(pg_backend_pid())", errors.SourceInterrupted, errors.TargetInterrupted),
        ("set lock_timeout = 1; lock table secret", errors.SourceInterrupted, errors.TargetInterrupted),
    ],
)
def test_server_errors(
    guarded: Postgres, sql: str, source: type[errors.WhimbrelError], target: type[errors.WhimbrelError]
) -> None:
    with connect(guarded.parameters(), "holder", autocommit=False) as holder:
        if "lock table" in sql:
            holder.execute("lock table secret")
        with pytest.raises(source) as caught, connect(guarded.parameters(), "op") as connection, mapped("source"):
            connection.execute(sql.encode())
        assert type(caught.value) is source
        with pytest.raises(target) as caught, connect(guarded.parameters(), "op") as connection, mapped("target"):
            connection.execute(sql.encode())
        assert type(caught.value) is target
        assert "hidden" not in str(caught.value.to_json())


def test_a_refused_value_names_table_column_and_line_but_not_the_value(guarded: Postgres) -> None:
    with (
        pytest.raises(errors.ValueRefused) as caught,
        connect(guarded.parameters(), "op") as connection,
        mapped("target"),
        connection.cursor().copy("copy secret (a, b) from stdin") as copy,
    ):
        copy.write(b"1\tfine\nhidden\tx\n")
    assert caught.value.details["table"] == "secret"
    assert caught.value.details["column"] == "a"
    assert caught.value.details["line"] == "2"
    assert "hidden" not in str(caught.value.to_json())


def test_a_killed_server_is_an_interruption() -> None:
    with running("15") as server, connect(server.parameters(), "op") as connection:
        server.kill()
        with pytest.raises(errors.TargetInterrupted) as caught, mapped("target"):
            connection.execute("select 1")
        assert caught.value.retryable


AWKWARD = ['a"b', "select", "UPPER lower", "täble ☃", "a'b", "a\\b", "semi;colon--", "%s", " "]


@pytest.mark.parametrize("name", AWKWARD)
def test_quoting_survives_the_server(guarded: Postgres, name: str) -> None:
    with connect(guarded.parameters(), "op") as connection:
        sql = f"select {literal(name)} as {identifier(name)}"
        cursor = connection.execute(sql.encode())
        assert cursor.description is not None
        assert cursor.description[0].name == name
        assert cursor.fetchone() == (name,)


def test_names_that_cannot_be() -> None:
    for name in ("", "a\0b"):
        with pytest.raises(errors.IdentifierRefused):
            identifier(name)


def test_psycopg_errors_alone_are_mapped() -> None:
    with pytest.raises(ZeroDivisionError), mapped("source"):
        raise ZeroDivisionError
    with pytest.raises(errors.SourceInterrupted), mapped("source"):
        raise psycopg.OperationalError("the connection is closed")
