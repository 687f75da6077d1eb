"""Prerequisites: what fails is made good by the statements, on a server that starts with nothing."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.servers.postgres import Postgres, ServerMissing
from tests.unit.postgres.conftest import VERSIONS
from whimbrel.connectors.postgres.checks.checking import CHECKS
from whimbrel.connectors.postgres.checks.prerequisites import statements
from whimbrel.connectors.postgres.connection import connect, mapped
from whimbrel.connectors.protocols import CheckResult
from whimbrel.errors import SourcePermissionDenied
from whimbrel.model.job import Endpoint
from whimbrel.model.names import TableName

Role = Literal["source", "target"]
DOCUMENTED = Path("docs/prerequisites.md").read_text()

ODD = "we'ird $whimbrel$ \\ x"
TABLES = [TableName("shop", t) for t in ("orders", "log", ODD, "hidden", "parts", "twice")]
SHOP = """
create role shop_owner; create role mover login noinherit password 'm'; grant shop_owner to mover;
create schema shop authorization shop_owner;
create table shop.orders (id int primary key, place point); alter table shop.orders owner to shop_owner;
create table shop.log (line text); alter table shop.log owner to shop_owner;
create unlogged table shop."we'ird $whimbrel$ \\ x" (id int primary key);
create sequence shop.numbers;
create table shop.hidden (id int default nextval('shop.numbers') primary key);
alter table shop.hidden enable row level security;
create table shop.parts (day int, line text) partition by range (day); alter table shop.parts replica identity full;
create table shop.parts_1 partition of shop.parts for values from (1) to (100);
create table shop.twice (a int not null, b int not null);
create unique index first on shop.twice (a); create unique index second on shop.twice (b);
alter table shop.twice replica identity using index second;
"""


@pytest.fixture(params=VERSIONS)
def bare(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A server as it comes, whose settings ALTER SYSTEM can change, with a shop and a user without rights."""
    with tempfile.TemporaryDirectory(prefix="whimbrel-checks-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        try:
            server = Postgres(folder / "pg", request.param)
        except ServerMissing as e:
            pytest.skip(str(e))
        ours = ("wal_level=", "max_replication_slots=", "max_wal_senders=")
        argv = list(server.argv)
        while at := next((n for n, a in enumerate(argv) if a.startswith(ours)), 0):
            del argv[at - 1 : at + 1]
        server.argv = argv
        server.start()
        try:
            server.create_database("app")
            server.psql(SHOP, "app")
            yield server
        finally:
            server.stop()


def endpoint(server: Postgres) -> Endpoint:
    return Endpoint("x", "postgres", {**server.parameters("app"), "user": "mover"})


def run(server: Postgres, role: Role, mode: str, tables: list[TableName]) -> dict[str, CheckResult]:
    return {c.id: c for c in CHECKS.run(endpoint(server), role, mode, tables)}


def failed(checks: dict[str, CheckResult]) -> set[str]:
    return {c.id for c in checks.values() if c.status == "fail"}


def follow(server: Postgres, role: Role, mode: str, tables: list[TableName]) -> None:
    """Do what /prereqs says, as the administrator with any client: one statement at a time, nothing that only psql
    knows; and what a statement itself says to run."""
    said = CHECKS.statements(endpoint(server), role, mode, tables)
    restart = any(statement.restart for statement in said)
    for statement in said:
        try:
            server.client("psql", "-XqAt", "-d", server.dsn("app"), "-c", statement.sql)
        except RuntimeError as e:
            told = re.search(r"run: (ALTER SYSTEM SET \w+ = \d+)$", str(e), re.M)
            if told is None:
                raise
            server.psql(told[1])
            restart = True
    if restart:
        server.restart()


def test_statements_make_a_source_ready(bare: Postgres) -> None:
    before = run(bare, "source", "data+replication", TABLES)
    assert failed(before) >= {
        *("postgres.wal_level", "postgres.replication_role", "postgres.publication_rights", "postgres.schema_usage"),
        *("postgres.table_select", "postgres.table_ownership", "postgres.unlogged_tables", "postgres.replica_identity"),
        "postgres.row_security",
    }
    assert all(c.remedy for c in before.values() if c.status != "ok")
    assert ODD in before["postgres.unlogged_tables"].message
    assert before["postgres.replica_identity"].message.endswith("in: shop.log, shop.parts_1, shop.twice")
    assert before["postgres.row_security"].message.endswith(": shop.hidden")
    assert before["postgres.sequence_select"].message.endswith(': "shop"."numbers"')
    assert before["postgres.long_transactions"].status == "warn", "what cannot be seen must not be called good"

    follow(bare, "source", "data+replication", TABLES)
    after = run(bare, "source", "data+replication", TABLES)
    assert {c.id for c in after.values() if c.status != "ok"} == {"postgres.tables_without_key", "postgres.types"}
    assert "shop.orders.place (point)" in after["postgres.types"].message
    assert bare.psql("select relreplident from pg_class where relname = 'log'", "app") == "f"
    assert bare.psql("select relreplident from pg_class where relname = 'orders'", "app") == "d"
    bare.psql("create publication p for table shop.parts; update shop.parts set line = 'x' where day = 1", "app")
    member = "select pg_has_role('mover', 'postgres', 'member')"
    assert bare.psql(member, "app") == "f", "the statements must not make the user a superuser"
    follow(bare, "source", "data+replication", TABLES)  # twice is no error


def test_the_user_can_really_capture_after_the_statements(bare: Postgres) -> None:
    follow(bare, "source", "data+replication", [TableName("shop", "*")])
    assert failed(run(bare, "source", "data+replication", [TableName("shop", "*")])) == set()
    as_mover = bare.dsn("app").replace("user=postgres", "user=mover")
    publish = "create publication p for table shop.orders, shop.log with (publish_via_partition_root = true)"
    bare.client("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", as_mover, "-c", publish)
    slot = "select slot_name from pg_create_logical_replication_slot('s', 'pgoutput')"
    assert bare.client("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", as_mover, "-c", slot) == "s"


def test_data_mode_asks_for_reading_only(bare: Postgres) -> None:
    assert not any(s.restart for s in CHECKS.statements(endpoint(bare), "source", "data", TABLES))
    bare.psql("alter role mover connection limit 3")
    assert run(bare, "source", "data", TABLES)["postgres.free_connections"].message.startswith("only 2 connections are")
    bare.psql("alter role mover connection limit -1; insert into shop.hidden values (1)", "app")
    bare.psql("grant usage on schema shop to mover; grant select on shop.hidden to mover", "app")
    with pytest.raises(SourcePermissionDenied, match="row-level security"), mapped("source"):
        list(connect(endpoint(bare).parameters, "x").execute("select * from shop.hidden"))
    follow(bare, "source", "data", TABLES)
    checks = run(bare, "source", "data", TABLES)
    assert failed(checks) == set()
    assert "postgres.wal_level" not in checks


def test_statements_make_a_target_ready(bare: Postgres) -> None:
    bare.psql("revoke temporary on database app from public", "app")
    before = run(bare, "target", "data+replication", TABLES)
    expected = {"postgres.progress_schema", "postgres.schema_create", "postgres.table_ownership"}
    expected |= {"postgres.session_replication_role", "postgres.temporary_tables", "postgres.row_security"}
    assert failed(before) == expected
    named = {*before, *run(bare, "source", "replication", TABLES)}
    assert [id for id in named if f"| `{id}` |" not in DOCUMENTED] == []
    follow(bare, "target", "data+replication", TABLES)
    assert failed(run(bare, "target", "data+replication", TABLES)) == set()
    bare.psql("create schema whimbrel; create table whimbrel.progress (i int)", "app")
    bare.psql("revoke create on database app from mover", "app")
    taken = run(bare, "target", "data", [*TABLES, TableName("more", "t")])
    assert failed(taken) == {"postgres.progress_schema", "postgres.schema_create"}
    assert "whimbrel.progress" in taken["postgres.progress_schema"].message
    assert "schema more" in taken["postgres.schema_create"].message
    follow(bare, "target", "data", TABLES)
    assert failed(run(bare, "target", "data", TABLES)) == set()
    as_mover = bare.dsn("app").replace("user=postgres", "user=mover")
    use = "set session_replication_role = replica; delete from whimbrel.progress; create table shop.more (i int)"
    bare.client("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", as_mover, "-c", use)


def test_a_server_with_no_log_at_all_is_made_ready_and_more_than_enough_is_left_alone(bare: Postgres) -> None:
    for setting, value in (("wal_level", "minimal"), ("max_wal_senders", "0"), ("max_replication_slots", "120")):
        bare.psql(f"alter system set {setting} = '{value}'")
    bare.restart()
    before = run(bare, "source", "replication", TABLES)
    assert failed(before) >= {"postgres.wal_level", "postgres.wal_senders"}
    follow(bare, "source", "replication", TABLES)
    assert failed(run(bare, "source", "replication", TABLES)) == set()
    assert bare.psql("show max_wal_senders") == "10"
    assert bare.psql("show max_replication_slots") == "120"


def test_slots_that_are_all_in_use_get_company(bare: Postgres) -> None:
    follow(bare, "source", "replication", TABLES)
    bare.psql("alter system set max_replication_slots = 25")
    bare.restart()
    bare.psql("select count(pg_create_physical_replication_slot('s' || n)) from generate_series(1, 25) n")
    assert failed(run(bare, "source", "replication", TABLES)) == {"postgres.replication_slots", "postgres.slot_trial"}
    follow(bare, "source", "replication", TABLES)
    assert failed(run(bare, "source", "replication", TABLES)) == set()


def test_prepared_transactions_are_seen(bare: Postgres) -> None:
    follow(bare, "source", "replication", TABLES)
    bare.psql("alter system set max_prepared_transactions = 2")
    bare.restart()
    bare.psql("begin; insert into shop.orders values (1); prepare transaction 'forgotten'", "app")
    seen = run(bare, "source", "replication", TABLES)["postgres.long_transactions"]
    assert seen.status == "warn"
    assert "forgotten" in seen.message


def test_what_runs_out_and_what_stays_open_is_seen(bare: Postgres) -> None:
    follow(bare, "source", "data+replication", TABLES)
    bare.psql("alter system set max_replication_slots = 1; ", "app")
    bare.psql("alter system set max_slot_wal_keep_size = '64MB'", "app")
    bare.restart()
    bare.psql("select pg_create_logical_replication_slot('taken', 'pgoutput')", "app")
    checks = run(bare, "source", "replication", TABLES)
    assert checks["postgres.replication_slots"].status == "fail"
    assert checks["postgres.max_slot_wal_keep_size"].status == "warn"
    assert "64" in checks["postgres.max_slot_wal_keep_size"].message


def test_missing_tables_are_named(bare: Postgres) -> None:
    follow(bare, "source", "data", TABLES)
    checks = run(bare, "source", "data", [TableName("shop", "nowhere"), TableName("shop", "orders")])
    assert checks["postgres.tables_exist"].status == "fail"
    assert "nowhere" in checks["postgres.tables_exist"].message


def test_names_in_statements_are_quoted() -> None:
    nowhere: dict[str, Any] = {"host": "192.0.2.1", "port": 1, "user": 'a"b', "password": "p", "database": "d"}
    said = statements(Endpoint("x", "postgres", nowhere), "source", "data", [])
    assert any('TO "a""b"' in s.sql for s in said)
