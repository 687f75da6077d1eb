"""The progress that the version before has left in a target: it is taken over as it stands, and gone on from; a worker
of that version that still runs is waited for, and then refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any, Final, Protocol

import psycopg
import pymysql
import pytest

from tests.conftest import running_end
from tests.contract.bench import Bench, position, table
from tests.engines import Side, side_of
from tests.servers.fleet import SERVERS, Fleet
from tests.servers.process import wait_until
from whimbrel.connectors.mysql.connection import execute
from whimbrel.connectors.mysql.target import ledger_layout as mysql_layout
from whimbrel.connectors.postgres.target import ledger_layout as postgres_layout
from whimbrel.connectors.protocols import Ledger, LoadState, TableLoad
from whimbrel.errors import Fenced, WhimbrelError
from whimbrel.model.chunk import Chunk
from whimbrel.model.names import TableName

NAMES: Final = {"postgres": ("schema_name", "table_name", "bytes", "schema_name", "table_name")}
"""What the version before called the columns of source and target tables, and the size of a chunk."""
LATER: Final = ("source_schema", "source_table", "planned_bytes", "target_schema", "target_table")

POSTGRES = """
create schema whimbrel;
create table whimbrel.progress (
  migration text primary key, epoch bigint not null, operation text not null default '', position text,
  data_complete boolean not null default false, snapshots integer not null default 0,
  updated_at timestamptz not null default now());
create table whimbrel.tables (
  migration text, schema_name text, table_name text, fingerprint text not null,
  finished boolean not null default false, primary key (migration, schema_name, table_name));
create table whimbrel.chunks (
  migration text, schema_name text, table_name text, number integer, bounds text not null,
  planned_rows bigint not null, bytes bigint not null, loaded_rows bigint,
  primary key (migration, schema_name, table_name, number));
create table whimbrel.dropped (
  schema_name text, table_name text, name text, position integer not null, definition text not null,
  primary key (schema_name, table_name, name));
create table whimbrel.owned (
  migration text, schema_name text, table_name text, primary key (migration, schema_name, table_name));
"""
_OPTIONS = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
_TABLE = "migration VARCHAR(64) NOT NULL, source_schema VARCHAR(128) NOT NULL, source_table VARCHAR(128) NOT NULL"
MYSQL = f"""
CREATE DATABASE whimbrel CHARACTER SET utf8mb4;
CREATE TABLE whimbrel.progress (
  migration VARCHAR(64) NOT NULL PRIMARY KEY, epoch BIGINT NOT NULL, operation VARCHAR(64) NOT NULL DEFAULT '',
  position LONGTEXT NULL, data_complete TINYINT(1) NOT NULL DEFAULT 0, snapshots INT NOT NULL DEFAULT 0,
  updated_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)) {_OPTIONS};
CREATE TABLE whimbrel.tables ({_TABLE}, fingerprint VARCHAR(64) NOT NULL, finished TINYINT(1) NOT NULL DEFAULT 0,
  PRIMARY KEY (migration, source_schema, source_table)) {_OPTIONS};
CREATE TABLE whimbrel.chunks ({_TABLE}, number INT NOT NULL, bounds LONGTEXT NOT NULL, planned_rows BIGINT NOT NULL,
  planned_bytes BIGINT NOT NULL, loaded_rows BIGINT NULL,
  PRIMARY KEY (migration, source_schema, source_table, number)) {_OPTIONS};
CREATE TABLE whimbrel.dropped (
  target_schema VARCHAR(64) NOT NULL, target_table VARCHAR(64) NOT NULL, kind VARCHAR(16) NOT NULL,
  name VARCHAR(64) NOT NULL, definition LONGTEXT NOT NULL,
  PRIMARY KEY (target_schema, target_table, kind, name)) {_OPTIONS};
CREATE TABLE whimbrel.owned (
  migration VARCHAR(64) NOT NULL, target_schema VARCHAR(64) NOT NULL, target_table VARCHAR(64) NOT NULL,
  PRIMARY KEY (migration, target_schema, target_table)) {_OPTIONS};
"""
EPOCH: Final = 1_700_000_000_000_000
OTHER: Final = TableName("contract", "other")


class Session(Protocol):
    def cursor(self) -> Any: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...


class Before:
    """The version before: its tables, with a migration that is half loaded, and what its workers send."""

    def __init__(self, b: Bench) -> None:
        self.b, self.postgres = b, b.side.is_postgres
        b.ledger.close()
        b.loader.close()
        b.side.run("drop schema if exists whimbrel cascade" if self.postgres else "drop database if exists whimbrel")
        b.side.run(POSTGRES if self.postgres else MYSQL)
        schema, name, *_ = self.names
        self.of = f"migration = '{b.job.migration}' and {schema} = '{b.name.schema}' and {name} = '{b.name.table}'"
        mark, place = f"'{b.job.migration}'", json.dumps(position(1).to_json())[1:-1].replace("\\", "")
        key = f"{mark}, '{b.name.schema}', '{b.name.table}'"
        target = b.targets[0].name
        b.side.run(
            f"insert into whimbrel.progress (migration, epoch, operation, position, snapshots) "
            f"values ({mark}, {EPOCH}, 'op', '{place}', 1);"
            f"insert into whimbrel.tables values ({key}, '{b.tables[0].fingerprint}', false),"
            f" ({mark}, 'contract', 'other', 'print', true);"
            f"insert into whimbrel.chunks values ({key}, 0, '{{\"n\": 0}}', 10, 100, 2), "
            f"({key}, 1, '{{\"n\": 1}}', 10, 100, null), ({mark}, 'contract', 'other', 0, 'null', 5, 50, 0);"
            f"insert into whimbrel.owned values ({mark}, '{target.schema}', '{target.table}')"
        )
        b.put(("1", "a", None), ("2", "b", None))  # the rows of chunk 0

    @property
    def names(self) -> tuple[str, str, str, str, str]:
        return NAMES.get(self.b.side.type, LATER)

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        return tuple(Chunk(self.b.name, n, {"n": n}, 10, 100) for n in range(2))

    def state(self, loaded: dict[int, int]) -> LoadState:
        b = self.b
        return LoadState(
            EPOCH,
            "op",
            position(1),
            data_complete=False,
            snapshots=1,
            tables={
                b.name: TableLoad(b.tables[0].fingerprint, self.chunks, loaded, finished=False),
                OTHER: TableLoad("print", (Chunk(OTHER, 0, None, 5, 50),), {0: 0}, finished=True),
            },
            layouts={b.name: b.tables[0].fingerprint, OTHER: "print"},
        )

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One that is no session of ours, as the migration's operation has another name."""
        parameters = dict(self.b.job.target.parameters)
        session: Session
        if self.postgres:
            session = psycopg.connect(self.b.side.server.dsn(parameters["database"]))  # type: ignore[union-attr]
        else:
            named = {k: parameters[k] for k in ("host", "user", "password")}
            session = pymysql.connect(**named, port=int(parameters["port"]), autocommit=False)
        with closing(session):
            yield session

    def load(self, session: Session, number: int, *rows: str) -> None:
        """All that its worker sends for a chunk, up to the commit."""
        b, lock = self.b, "for share" if self.postgres else "lock in share mode"
        cursor = session.cursor()
        chunk = f"{self.of} and number = {number}"
        cursor.execute(f"select loaded_rows from whimbrel.chunks where {chunk}")
        target = b.targets[0].name
        cursor.execute(f"insert into {target.schema}.{target.table} values {', '.join(rows)}")
        cursor.execute(f"select epoch from whimbrel.progress where migration = '{b.job.migration}' {lock}")
        cursor.execute(f"update whimbrel.chunks set loaded_rows = {len(rows)} where {chunk}")

    def store(self, session: Session, epoch: int) -> int:
        """Its worker's way to a position: how many rows of the progress were its own."""
        cursor = session.cursor()
        where = f"migration = '{self.b.job.migration}' and epoch = {epoch}"
        cursor.execute(f"update whimbrel.progress set position = '{position(7).to_json()}' where {where}")
        return int(cursor.rowcount)


@pytest.fixture(scope="module", params=["mariadb", "mysql", "postgres18"])
def side(request: pytest.FixtureRequest, fleet: Fleet) -> Side:
    found = side_of(running_end(fleet, request.param), SERVERS[request.param], "upgraded", "upgraded")
    found.drop_leftovers()
    return found


def go_on(b: Bench, before: Before, ledger: Ledger) -> None:
    """What a resumed operation does: the chunk that is left, and then changes."""
    b.ledger, b.epoch = ledger, ledger.claim()
    assert b.epoch == EPOCH + 1
    loader = b.another_loader()
    assert b.load(before.chunks[0], b.staged(("9", "again", None)), loader=loader) == 2, "it is loaded already"
    assert b.load(before.chunks[1], b.staged(("3", "c", None)), loader=loader) == 1
    ledger.table_finished(b.epoch, b.name)
    ledger.data_complete(b.epoch)
    b.apply(b.applier(), b.segment((1, ("4", "d", None))))
    state = ledger.state()
    assert (state.tables[b.name].loaded, state.tables[b.name].finished, state.data_complete) == (
        {0: 2, 1: 1},
        True,
        True,
    )
    assert (state.position, b.rows()) == (position(2), ["1|a|NULL", "2|b|NULL", "3|c|NULL", "4|d|NULL"])


def test_a_migration_goes_on_from_where_the_version_before_stood(bench: Callable[..., Bench]) -> None:
    b = bench(table("t"))
    before = Before(b)
    ledger = b.target.ledger(b.job.migration)
    assert ledger.state() == before.state({0: 2})
    assert ledger.owned() == frozenset([b.targets[0].name])
    go_on(b, before, ledger)
    with closing(b.target.ledger(b.job.migration)) as again:
        assert again.state() == ledger.state(), "an upgrade is made once"


def test_tables_that_never_had_the_list_of_owned_ones_are_upgraded(bench: Callable[..., Bench]) -> None:
    """It came later than the others."""
    b = bench(table("t"))
    before = Before(b)
    b.side.run("drop table whimbrel.owned")
    ledger = b.target.ledger(b.job.migration)
    assert (ledger.state(), ledger.owned()) == (before.state({0: 2}), frozenset())
    ledger.own([b.targets[0].name])
    assert ledger.owned() == frozenset([b.targets[0].name])
    go_on(b, before, ledger)


def test_a_worker_of_the_version_before_is_waited_for_and_then_refused(bench: Callable[..., Bench]) -> None:
    b = bench(table("t"))
    before, opened = Before(b), list[Ledger]()
    with before.session() as old:
        before.load(old, 1, "(3, 'old', null)")
        opening = threading.Thread(target=lambda: opened.append(b.target.ledger(b.job.migration)))
        opening.start()
        waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        if not before.postgres:
            waits = "select count(*) from information_schema.processlist where state like 'Waiting for table metadata%'"
        wait_until(lambda: int(b.side.run(waits)) > 0, 20, "the upgrade to wait for the old worker")
        old.commit()
        opening.join(30)
        b.ledger = opened[0]
        assert b.ledger.state() == before.state({0: 2, 1: 1}), "what it had loaded is known"
        with pytest.raises((psycopg.errors.UndefinedColumn, pymysql.err.OperationalError), match="loaded_rows"):
            before.load(old, 1, "(4, 'twice', null)")
        old.rollback()
        assert b.rows() == ["1|a|NULL", "2|b|NULL", "3|old|NULL"]
        assert before.store(old, EPOCH) == 1, "the owner may: its changes go on while it lives"
        old.commit()
        assert b.ledger.position() == position(7)
        b.ledger.claim()
        assert before.store(old, EPOCH) == 0, "and then may not"
        old.commit()
    with pytest.raises(Fenced):
        b.ledger.set_position(EPOCH, position(8))


def test_an_upgrade_that_was_cut_is_taken_again(bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole where DDL is part of a transaction; else behind any of its statements."""
    b = bench(table("t"))
    if b.side.is_postgres:
        whole_upgrade = postgres_layout._UPGRADE
        monkeypatch.setattr(postgres_layout, "_UPGRADE", f"{whole_upgrade} select 1 / 0")
        before = Before(b)
        with pytest.raises(WhimbrelError, match="division by zero"):
            b.target.ledger(b.job.migration)
        monkeypatch.setattr(postgres_layout, "_UPGRADE", whole_upgrade)
        with closing(b.target.ledger(b.job.migration)) as whole:
            assert whole.state() == before.state({0: 2})
        return
    left = 0

    def cut(session: Any, sql: str, *arguments: Any) -> int:
        nonlocal left
        if sql.startswith(("ALTER", "INSERT", "CREATE TABLE")):
            left -= 1
            if left < 0:
                raise pymysql.err.OperationalError(2013, "Lost connection")
        return execute(session, sql, *arguments)

    monkeypatch.setattr(mysql_layout, "execute", cut)
    for limit in range(5):
        before, left = Before(b), limit
        with pytest.raises(WhimbrelError, match="Lost connection"):
            b.target.ledger(b.job.migration)
        left = 100
        with closing(b.target.ledger(b.job.migration)) as whole:
            assert whole.state() == before.state({0: 2}), limit
        b.side.run(f"delete from {b.schemas['contract']}.t")
