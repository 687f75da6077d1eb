"""A user's way through /prereqs and /validate: two servers set up wrong, every statement run, and no check fails."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.results import Prerequisites, Validity
from tests.api.conftest import Client
from tests.servers.fetch_mysql import ServerMissing as MySQLMissing
from tests.servers.mysql import MySQL
from tests.servers.postgres import Postgres
from tests.servers.postgres import ServerMissing as PostgresMissing
from whimbrel.connectors.verdicts import MODES

TABLES = ["shop.orders", "shop.log"]
MAKE = "create table shop.orders (id int primary key, note text); create table shop.log (line text);"


class Wrong:
    """Both servers, and the account ``mover`` that may do nothing on either."""

    def __init__(self, folder: Path) -> None:
        self.postgres = Postgres(folder / "pg", "15", wal_level=None, max_replication_slots=None, max_wal_senders=None)
        self.mariadb = MySQL(
            folder / "my",
            "mariadb",
            log_bin="OFF",
            binlog_row_image="MINIMAL",
            local_infile="OFF",
            max_allowed_packet="1M",
        )

    def start(self) -> None:
        self.postgres.start()
        self.postgres.psql("create role mover login password 'm'; alter system set wal_level = 'minimal'")
        self.postgres.psql("alter system set max_wal_senders = 0")
        self.postgres.create_database("app")
        self.postgres.psql(f"create schema shop; {MAKE}", "app")
        self.postgres.restart()
        self.mariadb.start()
        self.mariadb.client(f"create database shop; {MAKE}")
        self.mariadb.create_user("mover", "m")

    def stop(self) -> None:
        self.postgres.stop()
        self.mariadb.stop()

    def endpoint(self, type: str) -> dict[str, Any]:
        given: dict[str, Any] = dict(self.postgres.parameters("app") if type == "postgres" else self.mariadb.parameters)
        return {"type": type, "parameters": {**given, "user": "mover", "password": "m"}}

    def run(self, type: str, sql: str) -> str:
        return self.postgres.psql(sql, "app") if type == "postgres" else self.mariadb.client(sql)

    def follow(self, type: str, statements: list[dict[str, Any]]) -> None:
        """As an administrator: SQL is run, pieces of configuration are put in, then a restart if one is asked for.

        A statement of PostgreSQL's that fails says itself what to run: nothing but senders, which have run out here.
        """
        pieces = [s["sql"] for s in statements if s["sql"].startswith("[")]
        for sql in (s["sql"] for s in statements if s["sql"] not in pieces):
            if type != "postgres":
                self.mariadb.client(sql)
                continue
            try:
                self.postgres.client("psql", "-XqAt", "-d", self.postgres.dsn("app"), "-c", sql)
            except RuntimeError as e:
                self.postgres.psql(re.findall("run: (ALTER SYSTEM SET max_wal_senders = 10)$", str(e), re.M)[0])
        if not any(s["restart"] for s in statements):
            return
        if type == "postgres":
            self.postgres.restart()
            return
        lines = [line.removeprefix("loose_").split(" = ") for piece in pieces for line in piece.splitlines()[1:]]
        self.mariadb.restart_with(**{**dict(lines), "log_bin": "ON"})


@pytest.fixture
def wrong() -> Iterator[Wrong]:
    with tempfile.TemporaryDirectory(prefix="whimbrel-wrong-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        try:
            made = Wrong(folder)
        except (PostgresMissing, MySQLMissing) as e:
            pytest.skip(f"NOT TESTED HERE: {e}")
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.mark.parametrize(("source", "target"), [("postgres", "mariadb"), ("mariadb", "postgres")])
async def test_every_statement_run_turns_every_failure_into_ok(
    client: Client, wrong: Wrong, source: str, target: str
) -> None:
    body = {"source": wrong.endpoint(source), "target": wrong.endpoint(target), "tables": TABLES}

    async def validity(mode: str) -> Validity:
        return Validity.model_validate(await client.ok("POST", "/v1/validate", {**body, "mode": mode}))

    for mode in MODES:
        before = await validity(mode)
        assert not before.valid
        failures = [c for side in (before.source, before.target) for c in side.checks if c.status != "ok"]
        assert all(c.remedy for c in failures)
    asked = {**body, "mode": "data+replication"}
    said = Prerequisites.model_validate(await client.ok("POST", "/v1/prereqs", asked))
    for type, side in ((source, said.source), (target, said.target)):
        wrong.follow(type, [s.model_dump() for s in side.statements])
    for mode in MODES:
        after = await validity(mode)
        assert after.valid, [c for side in (after.source, after.target) for c in side.checks if c.status == "fail"]
        for checked in (after.source, after.target):
            ids = [c.id for c in checked.checks]
            assert len(set(ids)) == len(ids)
        fit = {c.id: c for c in after.target.checks if c.id.startswith("target.")}
        assert fit["target.types"].status == fit["target.tables_exist"].status == "ok"
        assert fit["target.table_shape"].status != "fail"
        assert "target.keys" in fit
        assert ("target.tables_empty" in fit) is (mode != "replication")
    wrong.run(target, "alter table shop.orders drop column note; drop table shop.log")
    other = {c.id: c for c in (await validity("data")).target.checks}
    assert other["target.table_shape"].status == "fail"
    assert "shop.orders.note" in other["target.table_shape"].message
    assert other["target.tables_exist"].message.endswith(": shop.log")
